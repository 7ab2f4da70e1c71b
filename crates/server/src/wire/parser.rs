//! Encodes and decodes packets: as JSON with binary attachments, as MessagePack, or in a custom format. Server and
//! clients must use the same format.
use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sockeye_engine::{Frame, Message, Revision, log_throttled};
use sockeye_handler::guard;
use sockeye_protocol::socketio::{self, Args, ArgsBuf, Arguments, DecodeError, EncodeError, Limits, Value, msgpack};

/// The format of a server's packets.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Parser {
    /// JSON with binary attachments, the default format of every client.
    #[default]
    Json,
    /// The format of `socket.io-msgpack-parser` and of python-socketio's `serializer='msgpack'`. Every packet is one
    /// binary message, except that clients of Socket.IO 2 send and receive CONNECT, CONNECT_ERROR and DISCONNECT as
    /// JSON text.
    MessagePack,
    /// A custom format.
    Custom(Arc<dyn CustomParser>),
}

/// A custom format of packets.
pub trait CustomParser: Send + Sync + 'static {
    /// Encodes a packet as one or more messages. With connection state recovery it must not emit to the packet's
    /// namespace, because the server holds that namespace's recovery lock during the call.
    ///
    /// # Errors
    /// If the format cannot represent the packet.
    fn encode(&self, packet: &CustomPacket) -> Result<Vec<CustomMessage>, ParserError>;

    /// Makes the decoder of one connection.
    fn decoder(&self) -> Box<dyn CustomDecoder>;
}

/// Decodes the packets of one connection. It must limit the size of the data it keeps between messages.
pub trait CustomDecoder: Send + 'static {
    /// Decodes the connection's next message. Returns a packet if the message completes one.
    ///
    /// # Errors
    /// If the message is not part of a valid packet. The server then closes the connection.
    fn decode(&mut self, message: Message<'_>) -> Result<Option<CustomPacket>, ParserError>;
}

/// The error of a custom parser.
pub type ParserError = Box<dyn Error + Send + Sync>;

/// A packet in the form that a custom parser encodes and decodes.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomPacket {
    /// The namespace, with its leading slash.
    pub namespace: String,
    /// The type of the packet and its contents.
    pub body: CustomBody,
}

/// The type of a packet and its contents. The enum is exhaustive, because the protocol has no other types.
#[derive(Debug, Clone, PartialEq)]
pub enum CustomBody {
    /// CONNECT, with its payload: a client asks to join the namespace, or the server admits it.
    Connect(Option<Value>),
    /// DISCONNECT: the client leaves the namespace, or the server disconnects it.
    Disconnect,
    /// An event.
    Event {
        /// The id of the acknowledgement, if the event asks for one.
        ack: Option<u64>,
        /// The event's name.
        name: String,
        /// The arguments.
        args: Vec<Value>,
    },
    /// An acknowledgement.
    Ack {
        /// The id in the packet of the event.
        id: u64,
        /// The arguments.
        args: Vec<Value>,
    },
    /// CONNECT_ERROR, with its payload: the server refuses a client.
    ConnectError(Value),
}

/// One message of a connection. The enum is exhaustive, because Engine.IO has no other messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

/// The output of an encoder.
pub(crate) enum Wire {
    /// The buffer holds a text packet including its type character; these attachments follow it.
    Text(Vec<Bytes>),
    /// The buffer holds a binary message.
    Binary,
    /// The buffer is unchanged; these frames carry the packet.
    Frames(Vec<Frame>),
}

impl Parser {
    pub(crate) fn event(
        &self,
        out: &mut Vec<u8>,
        namespace: &str,
        ack: Option<u64>,
        name: &str,
        args: &impl Arguments,
    ) -> Result<Wire, EncodeError> {
        match self {
            Self::Json => {
                out.push(b'4');
                socketio::encode_event(out, namespace, ack, name, args).map(Wire::Text)
            }
            Self::MessagePack => {
                msgpack::encode_event(out, namespace, ack, name, args)?;
                Ok(Wire::Binary)
            }
            Self::Custom(parser) => {
                custom(&**parser, namespace, CustomBody::Event { ack, name: name.into(), args: values(args)? })
            }
        }
    }

    /// Encodes an event except for its last argument, which is a string.
    pub(crate) fn begin_event(
        &self,
        out: &mut Vec<u8>,
        namespace: &str,
        name: &str,
        args: &impl Arguments,
    ) -> Result<BegunEvent, EncodeError> {
        match self {
            Self::Json => {
                out.push(b'4');
                socketio::encode_event(out, namespace, None, name, args).map(BegunEvent::Json)
            }
            Self::MessagePack => {
                msgpack::encode_event(out, namespace, None, name, &AndOneMore(args))?;
                Ok(BegunEvent::MessagePack)
            }
            Self::Custom(parser) => Ok(BegunEvent::Custom {
                parser: parser.clone(),
                namespace: namespace.into(),
                name: name.into(),
                args: values(args)?,
            }),
        }
    }

    pub(crate) fn ack(
        &self,
        out: &mut Vec<u8>,
        namespace: &str,
        id: u64,
        args: &impl Arguments,
    ) -> Result<Wire, EncodeError> {
        match self {
            Self::Json => {
                out.push(b'4');
                socketio::encode_ack(out, namespace, id, args).map(Wire::Text)
            }
            Self::MessagePack => {
                msgpack::encode_ack(out, namespace, id, args)?;
                Ok(Wire::Binary)
            }
            Self::Custom(parser) => custom(&**parser, namespace, CustomBody::Ack { id, args: values(args)? }),
        }
    }

    pub(crate) fn connect(
        &self,
        out: &mut Vec<u8>,
        revision: Revision,
        namespace: &str,
        payload: Option<&impl Serialize>,
    ) -> Result<Wire, EncodeError> {
        match self {
            Self::Json => {
                out.push(b'4');
                socketio::encode_connect(out, namespace, payload)?;
                Ok(Wire::Text(Vec::new()))
            }
            Self::MessagePack if revision == Revision::V3 => control(out, CONNECT, namespace, payload),
            Self::MessagePack => {
                msgpack::encode_connect(out, namespace, payload)?;
                Ok(Wire::Binary)
            }
            Self::Custom(parser) => {
                let payload = payload.map(|payload| value(payload)).transpose()?;
                custom(&**parser, namespace, CustomBody::Connect(payload))
            }
        }
    }

    pub(crate) fn connect_error(
        &self,
        out: &mut Vec<u8>,
        revision: Revision,
        namespace: &str,
        payload: &impl Serialize,
    ) -> Result<Wire, EncodeError> {
        match self {
            Self::Json => {
                out.push(b'4');
                socketio::encode_connect_error(out, namespace, payload)?;
                Ok(Wire::Text(Vec::new()))
            }
            Self::MessagePack if revision == Revision::V3 => control(out, CONNECT_ERROR, namespace, Some(payload)),
            Self::MessagePack => {
                // The data of a refusal is kept as JSON text, so that it is converted to a value first.
                msgpack::encode_connect_error(out, namespace, &value(payload)?)?;
                Ok(Wire::Binary)
            }
            Self::Custom(parser) => custom(&**parser, namespace, CustomBody::ConnectError(value(payload)?)),
        }
    }

    pub(crate) fn disconnect(
        &self,
        out: &mut Vec<u8>,
        revision: Revision,
        namespace: &str,
    ) -> Result<Wire, EncodeError> {
        match self {
            Self::Json => {
                out.push(b'4');
                socketio::encode_disconnect(out, namespace);
                Ok(Wire::Text(Vec::new()))
            }
            Self::MessagePack if revision == Revision::V3 => control(out, DISCONNECT, namespace, None::<&()>),
            Self::MessagePack => {
                msgpack::encode_disconnect(out, namespace)?;
                Ok(Wire::Binary)
            }
            Self::Custom(parser) => custom(&**parser, namespace, CustomBody::Disconnect),
        }
    }

    pub(crate) fn decoder(&self) -> Decoder {
        match self {
            Self::Json => Decoder::Json(socketio::Decoder::new()),
            Self::MessagePack => Decoder::MessagePack,
            Self::Custom(parser) => Decoder::Custom(parser.decoder()),
        }
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "Json",
            Self::MessagePack => "MessagePack",
            Self::Custom(_) => "Custom(..)",
        })
    }
}

/// The parts of an incomplete event that are not in the buffer.
pub(crate) enum BegunEvent {
    /// The attachments that follow the event.
    Json(Vec<Bytes>),
    MessagePack,
    Custom {
        parser: Arc<dyn CustomParser>,
        namespace: String,
        name: String,
        args: Vec<Value>,
    },
}

impl BegunEvent {
    /// Adds the last argument. With JSON and MessagePack this runs no `Serialize` implementation of the user.
    pub(crate) fn finish(self, out: &mut Vec<u8>, last: &str) -> Result<Wire, EncodeError> {
        match self {
            Self::Json(attachments) => socketio::append_argument(out, last).map(|()| Wire::Text(attachments)),
            Self::MessagePack => msgpack::append_argument(out, last).map(|()| Wire::Binary),
            Self::Custom { parser, namespace, name, mut args } => {
                args.push(last.into());
                custom(&*parser, &namespace, CustomBody::Event { ack: None, name, args })
            }
        }
    }
}

/// The decoder of one connection.
pub(crate) enum Decoder {
    Json(socketio::Decoder),
    MessagePack,
    Custom(Box<dyn CustomDecoder>),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoder")
    }
}

/// Why a message is not part of a valid packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the custom parser returned an error")]
    Custom(#[source] ParserError),
    #[error("a text message came, but the MessagePack parser takes binary ones only; does the client use it too?")]
    TextForMessagePack,
}

impl Decoder {
    /// Decodes a message, and calls `each` with the packet if the message completes one.
    pub(crate) fn decode<R>(
        &mut self,
        message: Message<'_>,
        limits: &Limits,
        each: impl FnOnce(socketio::Packet<'_>) -> R,
    ) -> Result<Option<R>, ReadError> {
        match (self, message) {
            (Self::Json(decoder), message) => {
                let packet = match message {
                    Message::Text(text) => decoder.decode_text(text, limits)?,
                    Message::Binary(data) => decoder.decode_binary(data, limits)?,
                };
                let result = packet.map(each);
                decoder.release();
                Ok(result)
            }
            (Self::MessagePack, Message::Binary(data)) => Ok(msgpack::decode(data, limits)?.map(each)),
            (Self::MessagePack, Message::Text(text)) if limits.revision == socketio::Revision::V4 => {
                let control: Control<'_> =
                    serde_json::from_str(text).map_err(|error| ReadError::Custom(error.into()))?;
                let (namespace, query) = match control.nsp.split_once('?') {
                    Some((namespace, query)) => (namespace, Some(query)),
                    None => (&*control.nsp, None),
                };
                Ok(Some(each(match control.kind {
                    CONNECT => socketio::Packet::Connect { namespace, query, payload: None },
                    DISCONNECT => socketio::Packet::Disconnect { namespace },
                    _ => return Err(ReadError::TextForMessagePack),
                })))
            }
            (Self::MessagePack, Message::Text(_)) => Err(ReadError::TextForMessagePack),
            (Self::Custom(decoder), message) => match guarded(|| decoder.decode(message)).map_err(ReadError::Custom)? {
                Some(packet) => with_packet(packet, each).map(Some).map_err(|error| ReadError::Custom(error.into())),
                None => Ok(None),
            },
        }
    }

    /// Whether an incomplete packet waits for attachments.
    /// How many bytes of memory an incomplete packet takes, as far as is known.
    pub(crate) fn memory(&self) -> usize {
        if let Self::Json(decoder) = self { decoder.memory() } else { 0 }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Json(decoder) if decoder.is_waiting())
    }
}

/// CONNECT, CONNECT_ERROR or DISCONNECT as JSON, as `socket.io-msgpack-parser` 2 encodes it. Only Socket.IO 2 uses it.
#[derive(Serialize, Deserialize)]
struct Control<'a> {
    #[serde(rename = "type")]
    kind: u8,
    /// The namespace, followed by a question mark and the query if the client sends one.
    #[serde(borrow)]
    nsp: Cow<'a, str>,
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

const CONNECT: u8 = 0;
const DISCONNECT: u8 = 1;
const CONNECT_ERROR: u8 = 4;

fn control(
    out: &mut Vec<u8>,
    kind: u8,
    namespace: &str,
    payload: Option<&impl Serialize>,
) -> Result<Wire, EncodeError> {
    let data = payload.map(serde_json::value::to_raw_value).transpose()?;
    out.push(b'4');
    serde_json::to_writer(out, &Control { kind, nsp: namespace.into(), data })?;
    Ok(Wire::Text(Vec::new()))
}

/// Arguments that are counted with one more, which is appended later.
struct AndOneMore<'a, A>(&'a A);

impl<A: Arguments> Arguments for AndOneMore<'_, A> {
    fn serialize_elements<S: serde::ser::SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.0.serialize_elements(seq)
    }

    fn count(&self) -> usize {
        self.0.count() + 1
    }

    fn encoded(&self) -> Option<Args<'_>> {
        self.0.encoded()
    }
}

/// Arguments that are already [`Value`]s.
struct Values<'a>(&'a [Value]);

impl Arguments for Values<'_> {
    fn serialize_elements<S: serde::ser::SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.0.iter().try_for_each(|value| seq.serialize_element(value))
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

fn with_packet<R>(packet: CustomPacket, each: impl FnOnce(socketio::Packet<'_>) -> R) -> Result<R, EncodeError> {
    let namespace = packet.namespace.as_str();
    let raw = |value: &Value| serde_json::value::to_raw_value(value).map(Cow::Owned);
    Ok(match packet.body {
        CustomBody::Connect(payload) => {
            let payload = payload.as_ref().map(raw).transpose()?;
            each(socketio::Packet::Connect { namespace, query: None, payload })
        }
        CustomBody::Disconnect => each(socketio::Packet::Disconnect { namespace }),
        CustomBody::Event { ack, name, args } => {
            let args = ArgsBuf::new(&Values(&args))?;
            each(socketio::Packet::Event(socketio::Event { namespace, ack, name: name.into(), args: args.as_args() }))
        }
        CustomBody::Ack { id, args } => {
            let args = ArgsBuf::new(&Values(&args))?;
            each(socketio::Packet::Ack(socketio::Ack { namespace, id, args: args.as_args() }))
        }
        CustomBody::ConnectError(payload) => {
            let payload = raw(&payload)?;
            each(socketio::Packet::ConnectError { namespace, payload })
        }
    })
}

fn custom(parser: &dyn CustomParser, namespace: &str, body: CustomBody) -> Result<Wire, EncodeError> {
    let messages = guarded(|| parser.encode(&CustomPacket { namespace: namespace.into(), body }))
        .map_err(|error| EncodeError::Json(serde::ser::Error::custom(error)))?;
    let frames = messages.into_iter().map(|message| match message {
        CustomMessage::Text(text) => Frame::text(format!("4{text}").as_bytes()),
        CustomMessage::Binary(data) => Frame::binary(&data),
    });
    Ok(Wire::Frames(frames.collect()))
}

/// Calls a custom parser and turns a panic into an error.
fn guarded<R>(run: impl FnOnce() -> Result<R, ParserError>) -> Result<R, ParserError> {
    guard(run).unwrap_or_else(|panic| {
        log_throttled!(error, &panic, panic, "a custom parser panicked");
        Err("it panicked".into())
    })
}

fn values(args: &impl Arguments) -> Result<Vec<Value>, EncodeError> {
    let args = ArgsBuf::new(args)?;
    args.as_args().all().map_err(|error| EncodeError::Json(serde::ser::Error::custom(error)))
}

fn value(payload: &impl Serialize) -> Result<Value, EncodeError> {
    Ok(Value::from(serde_json::to_value(payload)?))
}
