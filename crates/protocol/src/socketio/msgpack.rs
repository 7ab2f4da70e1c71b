//! Packets in the format of `socket.io-msgpack-parser`: each packet is one binary message.
use std::borrow::Cow;

use serde::Serialize;
use serde::ser::SerializeSeq;
use serde_json::value::RawValue;

use super::args::Args;
use super::arguments::Arguments;
use super::error::{DecodeError, EncodeError, ValueError};
use super::json::MAX_DEPTH;
use super::msgpack_data::{self, Dialect, Reader, Token};
use super::packet::{Ack, Event, Kind, Limits, MAX_ACK_ID, Packet, Revision, refuse_reserved, split_query};
use super::value::{Number, Value};

/// Reads a packet: a map with `type`, `nsp` and, depending on the type, `data` and `id`. Other members are ignored.
///
/// Returns `None` for an acknowledgement without an id, which answers no event. The payload of a connect packet or
/// of an error is translated to JSON; binary data in it becomes an array of numbers.
///
/// Text that is not UTF-8 is refused. Node.js reads it with replacement characters, but browsers do not read it at all,
/// so that their connections would end if it were forwarded to them.
///
/// # Errors
/// Close the connection after any error, as the reference implementation does.
pub fn decode<'a>(data: &'a [u8], limits: &Limits) -> Result<Option<Packet<'a>>, DecodeError> {
    let fields = Fields::read(data, limits)?;
    let kind = fields.kind.ok_or(DecodeError::UnknownType)?;
    let namespace = fields.namespace.ok_or(DecodeError::InvalidPayload("the packet has no namespace"))?;
    let (namespace, query) = match limits.revision {
        Revision::V4 => split_query(namespace),
        Revision::V5 => (namespace, None),
    };
    Ok(Some(match kind {
        Kind::Connect => {
            let payload = match fields.data {
                None => None,
                Some(data) if is_map(data) => Some(to_json(data)?),
                Some(_) => return Err(DecodeError::InvalidPayload("a connect packet needs an object")),
            };
            Packet::Connect { namespace, query, payload }
        }
        Kind::Disconnect if fields.data.is_none() => Packet::Disconnect { namespace },
        Kind::Disconnect => return Err(DecodeError::InvalidPayload("a disconnect packet must not have one")),
        Kind::ConnectError => {
            let data = fields.data.ok_or(DecodeError::InvalidPayload("an error needs an object or a string"))?;
            let is_string = matches!(Reader::new(data).token(), Some(Token::String(_)));
            if limits.revision == Revision::V5 && !is_string && !is_map(data) {
                return Err(DecodeError::InvalidPayload("an error needs an object or a string"));
            }
            Packet::ConnectError { namespace, payload: to_json(data)? }
        }
        Kind::Event => {
            let (mut items, count) = open_array(fields.data)?;
            let count = count
                .checked_sub(1)
                .ok_or(DecodeError::InvalidPayload("an event needs its name as the first element"))?;
            let name = read_name(&mut items)?;
            Packet::Event(Event { namespace, ack: fields.id, name, args: Args::message_pack(items.rest(), count) })
        }
        Kind::Ack => {
            let (items, count) = open_array(fields.data)?;
            let Some(id) = fields.id else { return Ok(None) };
            Packet::Ack(Ack { namespace, id, args: Args::message_pack(items.rest(), count) })
        }
    }))
}

/// Appends an event, like [`encode_event`](crate::socketio::encode_event), but with its binary data in place.
///
/// # Errors
/// An argument has no MessagePack form; `out` is then unchanged.
pub fn encode_event(
    out: &mut Vec<u8>,
    namespace: &str,
    ack: Option<u64>,
    name: &str,
    args: &impl Arguments,
) -> Result<(), EncodeError> {
    append(out, |writer| {
        append_head(writer, Kind::Event, namespace, ack, true)?;
        writer.array_head(args.count() + 1)?;
        writer.string(name)?;
        append_elements(writer, args)
    })
}

/// Appends a string as the last argument of the event at the end of `out`. MessagePack announces the number of
/// arguments, so the encoded [`Arguments`] must have [counted](Arguments::count) this one.
///
/// # Errors
/// The string is longer than MessagePack can hold; `out` is then unchanged.
pub fn append_argument(out: &mut Vec<u8>, argument: &str) -> Result<(), EncodeError> {
    append(out, |writer| writer.string(argument))
}

/// Appends the acknowledgement of the event with this `id`.
///
/// # Errors
/// An argument has no MessagePack form; `out` is then unchanged.
pub fn encode_ack(out: &mut Vec<u8>, namespace: &str, id: u64, args: &impl Arguments) -> Result<(), EncodeError> {
    append(out, |writer| {
        append_head(writer, Kind::Ack, namespace, Some(id), true)?;
        writer.array_head(args.count())?;
        append_elements(writer, args)
    })
}

/// Appends a connect packet. The payload must serialise to a map.
///
/// # Errors
/// The payload has no MessagePack form; `out` is then unchanged.
pub fn encode_connect(
    out: &mut Vec<u8>,
    namespace: &str,
    payload: Option<&(impl Serialize + ?Sized)>,
) -> Result<(), EncodeError> {
    append(out, |writer| {
        append_head(writer, Kind::Connect, namespace, None, payload.is_some())?;
        payload.map_or(Ok(()), |payload| writer.value(payload))
    })
}

/// Appends a connect error. The payload is a map or a string.
///
/// # Errors
/// The payload has no MessagePack form; `out` is then unchanged.
pub fn encode_connect_error(
    out: &mut Vec<u8>,
    namespace: &str,
    payload: &(impl Serialize + ?Sized),
) -> Result<(), EncodeError> {
    append(out, |writer| {
        append_head(writer, Kind::ConnectError, namespace, None, true)?;
        writer.value(payload)
    })
}

/// Appends a disconnect packet.
///
/// # Errors
/// The namespace is longer than MessagePack can hold; `out` is then unchanged.
pub fn encode_disconnect(out: &mut Vec<u8>, namespace: &str) -> Result<(), EncodeError> {
    append(out, |writer| append_head(writer, Kind::Disconnect, namespace, None, false))
}

/// Writes MessagePack as its specification says, which is what `notepack.io` 3 and `@msgpack/msgpack` write: a date is a
/// timestamp and `undefined` is nil. [`encode_event`] and its like write the dialect of `socket.io-msgpack-parser` instead.
pub struct Writer<'a>(msgpack_data::Writer<'a>);

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self(msgpack_data::Writer::new(out, Dialect::Standard))
    }

    /// Writes the head of an array; its items follow.
    ///
    /// # Errors
    /// `length` is 2^32 or more.
    pub fn array_head(&mut self, length: usize) -> Result<(), EncodeError> {
        Ok(self.0.array_head(length)?)
    }

    /// Writes the head of a map; its keys and values follow.
    ///
    /// # Errors
    /// `length` is 2^32 or more.
    pub fn map_head(&mut self, length: usize) -> Result<(), EncodeError> {
        Ok(self.0.map_head(length)?)
    }

    /// Writes a string.
    ///
    /// # Errors
    /// It has 2^32 bytes or more.
    pub fn string(&mut self, text: &str) -> Result<(), EncodeError> {
        Ok(self.0.string(text)?)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// It has no MessagePack form.
    pub fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), EncodeError> {
        Ok(self.0.value(value)?)
    }

    /// Writes the arguments as items of an array, whose head counts them.
    ///
    /// # Errors
    /// An argument has no MessagePack form.
    pub fn elements(&mut self, args: &impl Arguments) -> Result<(), EncodeError> {
        let mut seq = self.0.elements();
        args.serialize_elements(&mut seq)?;
        Ok(SerializeSeq::end(seq)?)
    }
}

/// The known members of a packet, with their types checked.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<Kind>,
    namespace: Option<&'a str>,
    id: Option<u64>,
    data: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let Some(Token::Map(pairs)) = reader.token() else {
            return Err(DecodeError::InvalidPayload("a packet is a MessagePack map"));
        };
        let mut fields = Self::default();
        for _ in 0..pairs {
            let Some(Token::String(key)) = reader.token() else {
                return Err(DecodeError::InvalidPayload("the keys of a packet are MessagePack strings"));
            };
            // The array that holds the arguments is not a level of an argument.
            let value = reader.skip_value(limits.max_depth.min(MAX_DEPTH) + 1)?;
            let Some(token) = Reader::new(value).token() else { continue };
            match key {
                "type" => fields.kind = Some(read_kind(token, limits.revision)?),
                "nsp" => fields.namespace = Some(read_namespace(token)?),
                "id" => fields.id = read_id(token)?,
                "data" => fields.data = (!matches!(token, Token::Nil | Token::Undefined)).then_some(value),
                _ => {}
            }
        }
        if reader.rest().is_empty() {
            Ok(fields)
        } else {
            Err(DecodeError::InvalidPayload("bytes follow the MessagePack map"))
        }
    }
}

fn read_kind(token: Token<'_>, revision: Revision) -> Result<Kind, DecodeError> {
    match token {
        // Clients of Socket.IO 2 use types of their own for packets with binary data.
        Token::Unsigned(5) if revision == Revision::V4 => Ok(Kind::Event),
        Token::Unsigned(6) if revision == Revision::V4 => Ok(Kind::Ack),
        Token::Unsigned(0) => Ok(Kind::Connect),
        Token::Unsigned(1) => Ok(Kind::Disconnect),
        Token::Unsigned(2) => Ok(Kind::Event),
        Token::Unsigned(3) => Ok(Kind::Ack),
        Token::Unsigned(4) => Ok(Kind::ConnectError),
        _ => Err(DecodeError::UnknownType),
    }
}

fn read_namespace(token: Token<'_>) -> Result<&str, DecodeError> {
    match token {
        Token::String(namespace) if namespace.starts_with('/') => Ok(namespace),
        _ => Err(DecodeError::InvalidPayload("a namespace is a string that starts with /")),
    }
}

fn read_id(token: Token<'_>) -> Result<Option<u64>, DecodeError> {
    match token {
        Token::Nil | Token::Undefined => Ok(None),
        Token::Unsigned(id) if id <= MAX_ACK_ID => Ok(Some(id)),
        Token::Unsigned(_) => Err(DecodeError::AckIdTooLarge),
        _ => Err(DecodeError::InvalidPayload("an acknowledgement id is a natural number")),
    }
}

fn open_array(data: Option<&[u8]>) -> Result<(Reader<'_>, usize), DecodeError> {
    let mut reader = Reader::new(data.unwrap_or_default());
    match reader.token() {
        Some(Token::Array(count)) => Ok((reader, count)),
        _ => Err(DecodeError::InvalidPayload("an event or an acknowledgement needs an array")),
    }
}

fn read_name<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, DecodeError> {
    let number: Number = match reader.token() {
        Some(Token::String(name)) => {
            refuse_reserved(name)?;
            return Ok(Cow::Borrowed(name));
        }
        Some(Token::Unsigned(number)) => number.into(),
        Some(Token::Signed(number)) => number.into(),
        Some(Token::Float(number)) => number.into(),
        _ => return Err(DecodeError::InvalidPayload("an event name is a string or a number")),
    };
    Ok(Cow::Owned(number.property_key()))
}

fn is_map(data: &[u8]) -> bool {
    matches!(Reader::new(data).token(), Some(Token::Map(_)))
}

fn to_json(data: &[u8]) -> Result<Cow<'_, RawValue>, DecodeError> {
    let value: Value = serde::Deserialize::deserialize(&mut Reader::new(data))
        .map_err(|_: ValueError| DecodeError::InvalidPayload("the keys of a map must be strings or numbers"))?;
    serde_json::value::to_raw_value(&value)
        .map(Cow::Owned)
        .map_err(|_| DecodeError::InvalidPayload("the payload has no JSON form"))
}

/// Runs `write`, and takes back what it wrote if it fails.
fn append(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut msgpack_data::Writer<'_>) -> Result<(), ValueError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    write(&mut msgpack_data::Writer::new(out, Dialect::Parser)).map_err(|error| {
        out.truncate(start);
        EncodeError::MessagePack(error)
    })
}

/// Writes all members except the value of `data`, whose key is the last thing written.
fn append_head(
    writer: &mut msgpack_data::Writer<'_>,
    kind: Kind,
    namespace: &str,
    id: Option<u64>,
    with_data: bool,
) -> Result<(), ValueError> {
    writer.map_head(2 + usize::from(id.is_some()) + usize::from(with_data))?;
    writer.string("type")?;
    writer.value(&match kind {
        Kind::Connect => 0,
        Kind::Disconnect => 1,
        Kind::Event => 2,
        Kind::Ack => 3,
        Kind::ConnectError => 4,
    })?;
    writer.string("nsp")?;
    writer.string(namespace)?;
    if let Some(id) = id {
        writer.string("id")?;
        writer.value(&id)?;
    }
    if with_data { writer.string("data") } else { Ok(()) }
}

fn append_elements(writer: &mut msgpack_data::Writer<'_>, args: &impl Arguments) -> Result<(), ValueError> {
    if let Some(elements) = args.encoded().and_then(|args| args.as_message_pack()) {
        writer.raw(elements);
        return Ok(());
    }
    // The caller has written the head of the array.
    let mut seq = writer.elements();
    args.serialize_elements(&mut seq)?;
    SerializeSeq::end(seq)
}
