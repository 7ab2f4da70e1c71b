use std::string::FromUtf8Error;

use bytes::Bytes;
use sockeye_protocol::engineio::{Packet, Revision, payload};

use crate::{Frame, Handshake, log_throttled, outgoing::outbox::Outbox};

/// The answer to a polling GET.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) body: Vec<u8>,
    /// Whether the body is in the binary form of revision 3.
    pub(crate) binary: bool,
    /// The only packet, if it was not taken from the outbox: noop or close.
    pub(crate) control: Option<&'static [u8]>,
}

impl Payload {
    /// Takes packets from the outbox as long as the body stays within `limit` bytes and `max_packets` packets. Takes at
    /// least one packet if there is one.
    pub(crate) fn drain(
        outbox: &mut Outbox,
        revision: Revision,
        text_only: bool,
        limit: usize,
        max_packets: usize,
    ) -> Self {
        let mut frames = Vec::new();
        let mut length = 0;
        while !outbox.is_empty()
            && (frames.is_empty() || (length + outbox.front_len() <= limit && frames.len() < max_packets))
        {
            length += outbox.front_len();
            let Some(frame) = outbox.pop() else { break };
            frames.push(frame);
        }
        let binary = revision == Revision::V3 && !text_only && frames.iter().any(Frame::is_binary);
        let mut body = Vec::with_capacity(length);
        for frame in &frames {
            append(&mut body, frame, revision, binary);
        }
        Self { body, binary, control: None }
    }

    /// An answer that only ends the poll.
    pub(crate) fn noop(revision: Revision) -> Self {
        Self::single(revision, b"6")
    }

    /// An answer that ends the session.
    pub(crate) fn close(revision: Revision) -> Self {
        Self::single(revision, b"1")
    }

    fn single(revision: Revision, packet: &'static [u8]) -> Self {
        let mut body = Vec::new();
        append(&mut body, &Frame::text(packet), revision, false);
        Self { body, binary: false, control: Some(packet) }
    }
}

fn append(body: &mut Vec<u8>, frame: &Frame, revision: Revision, binary: bool) {
    let packet = if frame.is_binary() {
        Packet::Binary(frame.packet().into())
    } else {
        // The packet of a text frame is text.
        let text = std::str::from_utf8(frame.packet()).unwrap_or_default();
        match Packet::parse_text(text, revision) {
            Ok(packet) => packet,
            Err(error) => {
                log_throttled!(error, &error.to_string(), %error, "left out an invalid packet of the server");
                return;
            }
        }
    };
    match (revision, binary) {
        (Revision::V4, _) => payload::encode_v4(&packet, body),
        (Revision::V3, true) => payload::encode_v3_binary(&packet, body),
        (Revision::V3, false) => payload::encode_v3_text(&packet, body),
    }
}

/// The most packets that python-engineio accepts in one answer. More of them end the session, and only the client's own
/// process can raise the limit (`Payload.max_decode_packets`).
const MAX_PACKETS_OF_PYTHON: usize = 16;

/// The most packets that one answer may contain for the client that sent this handshake.
pub(crate) fn max_packets(handshake: &Handshake) -> usize {
    if may_be_python(handshake) { MAX_PACKETS_OF_PYTHON } else { usize::MAX }
}

/// Whether python-engineio may have sent this handshake. Its users can set every header, but not the parameter `t`,
/// which it appends to the query against caches: a decimal number of seconds, or nothing if the user turns it off.
/// Other clients, including those in browsers, write a number in base 36 or 64, which begins with a letter.
fn may_be_python(handshake: &Handshake) -> bool {
    let timestamp = handshake.query().filter(|(name, _)| name == "t").last();
    timestamp.is_none_or(|(_, value)| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// The body of a POST. A part of it may have been decoded already.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    /// The number of bytes at the end that are not decoded yet.
    remaining: usize,
}

#[derive(Debug)]
enum Content {
    Text(String),
    /// The binary form of revision 3.
    Binary(Bytes),
}

impl Body {
    /// A body that is in the binary form of revision 3, or text.
    ///
    /// # Errors
    /// If it is text and not UTF-8.
    pub(crate) fn new(bytes: Bytes, binary: bool) -> Result<Self, FromUtf8Error> {
        Ok(if binary {
            Self { remaining: bytes.len(), content: Content::Binary(bytes) }
        } else {
            String::from_utf8(bytes.into())?.into()
        })
    }

    /// How much memory the body takes.
    pub(crate) fn memory(&self) -> usize {
        match &self.content {
            Content::Text(text) => text.capacity(),
            Content::Binary(bytes) => bytes.len(),
        }
    }

    /// The packets that are not decoded yet.
    pub(crate) fn packets(&self, revision: Revision) -> payload::Packets<'_> {
        let text = match &self.content {
            Content::Binary(bytes) => {
                let begin = bytes.len() - self.remaining;
                return payload::decode_v3_binary(bytes.get(begin..).unwrap_or_default());
            }
            Content::Text(text) => text.get(text.len() - self.remaining..).unwrap_or_default(),
        };
        match revision {
            Revision::V3 => payload::decode_v3_text(text),
            Revision::V4 => payload::decode_v4(text),
        }
    }

    /// Sets the number of bytes at the end that are not decoded yet, and returns how many were decoded since the last
    /// call.
    pub(crate) fn advance_to(&mut self, remaining: usize) -> usize {
        std::mem::replace(&mut self.remaining, remaining) - remaining
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self { remaining: text.len(), content: Content::Text(text) }
    }
}
