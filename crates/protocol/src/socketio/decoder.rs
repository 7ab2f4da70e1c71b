use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::args::Args;
use super::error::DecodeError;
use super::json::Scanner;
use super::packet::{Ack, Event, Header, Kind, Limits, Packet, Revision, parse_elements};
use super::placeholder;
use super::surrogates;

/// Decodes the packets of one connection: text messages, and the binary messages that follow as attachments.
///
/// It has the size of a pointer, and allocates only for a packet with attachments.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Option<Box<Pending>>,
}

/// A packet whose text has arrived and whose attachments follow.
#[derive(Debug)]
struct Pending {
    text: Box<str>,
    /// How many attachments the text announces.
    expected: usize,
    attachments: Vec<Bytes>,
    /// The attachments that the placeholders name, in the order of the placeholders.
    named: Vec<usize>,
}

impl Decoder {
    /// Creates a decoder.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: None }
    }

    /// Whether attachments of a packet are missing.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.missing() > 0)
    }

    /// How many bytes of memory a packet with attachments takes, of which some may be missing.
    #[must_use]
    pub fn memory(&self) -> usize {
        let Some(pending) = &self.pending else { return 0 };
        let attachments: usize =
            pending.attachments.iter().map(|attachment| attachment.len() + size_of::<Bytes>()).sum();
        size_of::<Pending>() + pending.text.len() + attachments
    }

    /// Frees the memory of a completed packet with attachments, as the next call of a decode function does, too. A
    /// packet whose attachments are missing stays.
    pub fn release(&mut self) {
        if !self.is_waiting() {
            self.pending = None;
        }
    }

    /// Reads a text message, without the leading `4` of Engine.IO.
    ///
    /// Returns `None` if attachments must follow, or for an acknowledgement without an id, which answers no event.
    ///
    /// # Errors
    /// Close the connection after any error, as the reference implementation does.
    pub fn decode_text<'a>(&'a mut self, text: &'a str, limits: &Limits) -> Result<Option<Packet<'a>>, DecodeError> {
        if let Some(pending) = &self.pending
            && pending.missing() > 0
        {
            return Err(DecodeError::AttachmentsMissing { missing: pending.missing() });
        }
        self.pending = None;
        let header = Header::parse(text, limits)?;
        if header.attachments == 0 {
            return parse_packet(&header, &[], limits);
        }
        parse_packet(&header, &[], limits)?;
        let named = placeholder::named_attachments(header.payload, header.attachments)?;
        self.pending =
            Some(Box::new(Pending { text: text.into(), expected: header.attachments, attachments: Vec::new(), named }));
        Ok(None)
    }

    /// Reads a binary message, which must be the next attachment of a packet.
    ///
    /// Returns `None` if more attachments must follow, or for an acknowledgement without an id. `limits` must be the
    /// same as for the text.
    ///
    /// # Errors
    /// Close the connection after any error, as the reference implementation does.
    pub fn decode_binary(&mut self, data: &[u8], limits: &Limits) -> Result<Option<Packet<'_>>, DecodeError> {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.missing() > 0) else {
            return Err(DecodeError::UnexpectedBinary);
        };
        if pending.bytes().saturating_add(data.len()) > limits.max_attachment_bytes {
            return Err(DecodeError::AttachmentsTooLarge { limit: limits.max_attachment_bytes });
        }
        pending.attachments.push(Bytes::copy_from_slice(data));
        if pending.missing() > 0 {
            return Ok(None);
        }
        if pending.named_bytes() > limits.max_attachment_bytes {
            return Err(DecodeError::AttachmentsTooLarge { limit: limits.max_attachment_bytes });
        }
        parse_packet(&Header::parse(&pending.text, limits)?, &pending.attachments, limits)
    }
}

impl Pending {
    fn missing(&self) -> usize {
        self.expected.saturating_sub(self.attachments.len())
    }

    /// The total size of the attachments that have arrived, in bytes.
    fn bytes(&self) -> usize {
        self.attachments.iter().map(Bytes::len).sum()
    }

    /// The total size of the attachments in bytes, where each counts once per placeholder that names it: decoding may
    /// copy it for each.
    fn named_bytes(&self) -> usize {
        let named = self.named.iter().filter_map(|&index| self.attachments.get(index));
        named.map(Bytes::len).fold(0, usize::saturating_add)
    }
}

fn parse_packet<'a>(
    header: &Header<'a>,
    attachments: &'a [Bytes],
    limits: &Limits,
) -> Result<Option<Packet<'a>>, DecodeError> {
    let &Header { namespace, query, id, payload, .. } = header;
    Ok(Some(match header.kind {
        Kind::Connect => {
            let payload = if payload.is_empty() { None } else { Some(parse_value(payload, "{", limits)?) };
            Packet::Connect { namespace, query, payload }
        }
        Kind::Disconnect if payload.is_empty() => Packet::Disconnect { namespace },
        Kind::Disconnect => return Err(DecodeError::InvalidPayload("a disconnect packet must not have one")),
        Kind::ConnectError => {
            let allowed = if limits.revision == Revision::V5 { "{\"" } else { "" };
            Packet::ConnectError { namespace, payload: parse_value(payload, allowed, limits)? }
        }
        Kind::Event => {
            let (name, elements, count) = parse_elements(payload, true, limits.max_depth)?;
            Packet::Event(Event { namespace, ack: id, name, args: Args::json(elements, count, attachments) })
        }
        Kind::Ack => {
            let (_, elements, count) = parse_elements(payload, false, limits.max_depth)?;
            let Some(id) = id else { return Ok(None) };
            Packet::Ack(Ack { namespace, id, args: Args::json(elements, count, attachments) })
        }
    }))
}

/// Reads one JSON value that starts with a character of `allowed`; an empty `allowed` allows all.
fn parse_value<'a>(text: &'a str, allowed: &str, limits: &Limits) -> Result<Cow<'a, RawValue>, DecodeError> {
    let mut scanner = Scanner::new(text, limits.max_depth);
    let value = scanner.value()?;
    if !scanner.rest().is_empty() {
        return Err(DecodeError::InvalidPayload("text follows the JSON value"));
    }
    if !allowed.is_empty() && !value.starts_with(|first| allowed.contains(first)) {
        return Err(DecodeError::InvalidPayload(
            "a connect packet needs an object; a connect error needs an object or a string",
        ));
    }
    let payload = match surrogates::to_well_formed(value) {
        Some(value) => RawValue::from_string(value).map(Cow::Owned),
        None => serde_json::from_str(value).map(Cow::Borrowed),
    };
    payload.map_err(|_| DecodeError::InvalidPayload("it is not valid JSON"))
}
