use std::borrow::Cow;

use serde_json::value::RawValue;

use super::args::Args;
use super::error::DecodeError;
use super::json::Scanner;
use super::surrogates;
use super::value::Number;

/// A revision of the Socket.IO protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Revision {
    /// Spoken over Engine.IO 3: a namespace may carry a query, an error may be any JSON value.
    V4,
    /// Spoken over Engine.IO 4.
    #[default]
    V5,
}

/// The limits of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most attachments of one packet; 10 by default.
    pub max_attachments: usize,
    /// The most bytes of all attachments of one packet together; 10,000,000 by default.
    pub max_attachment_bytes: usize,
    /// How deep arrays and objects within one argument may be nested; 64 by default, at most 120.
    pub max_depth: usize,
    /// The protocol revision the peer speaks; 5 by default.
    pub revision: Revision,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_attachments: 10, max_attachment_bytes: 10_000_000, max_depth: 64, revision: Revision::V5 }
    }
}

/// One Socket.IO packet, borrowed from the bytes it came in.
///
/// Every `namespace` starts with `/`.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    /// A client asks to join a namespace, or a server accepts it.
    Connect {
        /// The namespace.
        namespace: &'a str,
        /// The part after `?` of the namespace, which revision 4 splits off.
        query: Option<&'a str>,
        /// A JSON object, if there is a payload.
        payload: Option<Cow<'a, RawValue>>,
    },
    /// The sender leaves a namespace.
    Disconnect {
        /// The namespace.
        namespace: &'a str,
    },
    /// An event.
    Event(Event<'a>),
    /// An acknowledgement: the answer to an event.
    Ack(Ack<'a>),
    /// A server refuses a client that asked to join a namespace.
    ConnectError {
        /// The namespace.
        namespace: &'a str,
        /// The reason: an object or a string; in revision 4 any JSON value.
        payload: Cow<'a, RawValue>,
    },
}

/// An event with its arguments.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The namespace, with its leading `/`.
    pub namespace: &'a str,
    /// The acknowledgement id, if the sender wants an answer.
    pub ack: Option<u64>,
    /// The name. It is empty if the packet has no payload, which the reference accepts. A number is written as
    /// JavaScript writes it for a property key.
    pub name: Cow<'a, str>,
    /// The arguments after the name.
    pub args: Args<'a>,
}

/// An acknowledgement: the answer to an event.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    /// The namespace, with its leading `/`.
    pub namespace: &'a str,
    /// The acknowledgement id of the event.
    pub id: u64,
    /// The arguments of the answer.
    pub args: Args<'a>,
}

/// The type of a packet, without the difference between packets with and without attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

/// The parts of a text packet. The payload is not checked yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    pub(super) kind: Kind,
    pub(super) attachments: usize,
    pub(super) namespace: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) id: Option<u64>,
    pub(super) payload: &'a str,
}

/// The largest acknowledgement id: JavaScript's numbers hold every integer up to it exactly.
pub(super) const MAX_ACK_ID: u64 = 1 << 53;

impl<'a> Header<'a> {
    /// Cuts `<type>[<attachments>-][<namespace>,][<id>][payload]`.
    pub(super) fn parse(text: &'a str, limits: &Limits) -> Result<Self, DecodeError> {
        let mut chars = text.chars();
        let (kind, binary) = match chars.next() {
            Some('0') => (Kind::Connect, false),
            Some('1') => (Kind::Disconnect, false),
            Some('2') => (Kind::Event, false),
            Some('3') => (Kind::Ack, false),
            Some('4') => (Kind::ConnectError, false),
            Some('5') => (Kind::Event, true),
            Some('6') => (Kind::Ack, true),
            _ => return Err(DecodeError::UnknownType),
        };
        let rest = chars.as_str();
        let (attachments, rest) = if binary { parse_attachments(rest, limits)? } else { (0, rest) };
        let (namespace, rest) =
            if rest.starts_with('/') { rest.split_once(',').unwrap_or((rest, "")) } else { ("/", rest) };
        let (namespace, query) = match limits.revision {
            Revision::V4 => split_query(namespace),
            Revision::V5 => (namespace, None),
        };
        let (id, payload) = match kind {
            Kind::Event | Kind::Ack => parse_id(rest)?,
            Kind::Connect | Kind::Disconnect | Kind::ConnectError => (None, rest),
        };
        Ok(Self { kind, attachments, namespace, query, id, payload })
    }
}

/// Event names that a peer must not use, because the official libraries raise events of these names locally.
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether Socket.IO reserves this event name, so that it cannot be emitted.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name)
}

pub(super) fn refuse_reserved(name: &str) -> Result<(), DecodeError> {
    RESERVED_EVENTS
        .iter()
        .find(|&&reserved| reserved == name)
        .map_or(Ok(()), |name| Err(DecodeError::ReservedEvent(name)))
}

/// Checks the payload of an event or an acknowledgement: an array, whose first element is the name if it is an event.
///
/// Returns the name, the text of the other elements without brackets, and their number.
pub(super) fn parse_elements<'a>(
    payload: &'a str,
    with_name: bool,
    max_depth: usize,
) -> Result<(Cow<'a, str>, &'a str, usize), DecodeError> {
    let mut name = Cow::Borrowed("");
    if payload.is_empty() {
        return Ok((name, "", 0));
    }
    let mut scanner = Scanner::new(payload, max_depth);
    scanner.skip_whitespace();
    if !scanner.eat(b'[') {
        return Err(DecodeError::InvalidPayload("an event or an acknowledgement needs a JSON array"));
    }
    let mut more = !scanner.eat(b']');
    if with_name {
        if !more {
            return Err(DecodeError::InvalidPayload("an event needs its name as the first element"));
        }
        name = parse_name(scanner.value()?)?;
        more = next_element(&mut scanner)?;
    }
    let elements = scanner.rest();
    let mut count = 0;
    while more {
        scanner.value()?;
        count += 1;
        more = next_element(&mut scanner)?;
    }
    if !scanner.rest().is_empty() {
        return Err(DecodeError::InvalidPayload("text follows the JSON array"));
    }
    let elements = if count == 0 { "" } else { elements.trim_end().strip_suffix(']').unwrap_or_default() };
    Ok((name, elements, count))
}

/// Moves past a comma (true: another element follows) or past the end of the array (false).
fn next_element(scanner: &mut Scanner<'_>) -> Result<bool, DecodeError> {
    if scanner.eat(b',') {
        Ok(true)
    } else if scanner.eat(b']') {
        Ok(false)
    } else {
        Err(DecodeError::InvalidPayload("it is not valid JSON"))
    }
}

fn parse_name(json: &str) -> Result<Cow<'_, str>, DecodeError> {
    if let Some(name) = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'))
        && !name.contains('\\')
    {
        refuse_reserved(name)?;
        return Ok(Cow::Borrowed(name));
    }
    if json.starts_with('"') {
        let name: String =
            surrogates::parse(json).map_err(|_| DecodeError::InvalidPayload("the event name is not valid JSON"))?;
        refuse_reserved(&name)?;
        return Ok(Cow::Owned(name));
    }
    Number::parse(json)
        .map(|number| Cow::Owned(number.property_key()))
        .ok_or(DecodeError::InvalidPayload("an event name is a string or a number"))
}

fn parse_attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let (digits, rest) = text.split_once('-').ok_or(DecodeError::IllegalAttachments)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::IllegalAttachments);
    }
    // Digits alone fail to parse only if the number is too large.
    match digits.parse().unwrap_or(usize::MAX) {
        0 => Err(DecodeError::IllegalAttachments),
        count if count > limits.max_attachments => {
            Err(DecodeError::TooManyAttachments { limit: limits.max_attachments })
        }
        count => Ok((count, rest)),
    }
}

pub(super) fn split_query(namespace: &str) -> (&str, Option<&str>) {
    match namespace.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (namespace, None),
    }
}

fn parse_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    if digits.is_empty() {
        return Ok((None, rest));
    }
    match digits.parse() {
        Ok(id) if id <= MAX_ACK_ID => Ok((Some(id), rest)),
        _ => Err(DecodeError::AckIdTooLarge),
    }
}
