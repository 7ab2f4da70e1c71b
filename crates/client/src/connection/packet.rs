use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use sockeye_protocol::{
    socketio::{self, Arguments, EncodeError, membership::Recovery, msgpack},
    websocket::CloseCode,
};

use crate::{EngineVersion, Parser};

/// An encoded message, which any connection can send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    /// What [`kind`](Self::kind) says.
    pub(crate) head: Vec<u8>,
    pub(crate) kind: Kind,
    /// Binary messages that follow at once.
    pub(crate) attachments: Vec<Bytes>,
    /// The acknowledgement that the event waits for.
    pub(crate) ack: Option<u64>,
    pub(crate) origin: Origin,
}

/// What the head of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// An Engine.IO packet in its textual form.
    #[default]
    Text,
    /// A binary message.
    Binary,
    /// The payload of a WebSocket's Close frame.
    Close,
}

/// What becomes of a message that a lost connection had not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Origin {
    /// It is dropped: it was for that connection only.
    #[default]
    Connection,
    /// It returns to the buffer of the socket with this index, and is sent on the next connection.
    Event(usize),
}

impl Outgoing {
    /// An Engine.IO packet other than a message.
    pub(crate) fn control(packet: &[u8]) -> Self {
        Self { head: packet.to_vec(), ..Self::default() }
    }

    /// A Close frame of a WebSocket.
    pub(crate) fn close_frame(code: Option<CloseCode>) -> Self {
        let head = code.map(|code| u16::from(code).to_be_bytes().to_vec()).unwrap_or_default();
        Self { head, kind: Kind::Close, ..Self::default() }
    }

    /// How many bytes it has, attachments included.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    fn text(encode: impl FnOnce(&mut Vec<u8>) -> Result<Vec<Bytes>, EncodeError>) -> Result<Self, EncodeError> {
        let mut head = Vec::with_capacity(64);
        head.push(b'4');
        let attachments = encode(&mut head)?;
        Ok(Self { head, attachments, ..Self::default() })
    }

    fn binary(encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>) -> Result<Self, EncodeError> {
        let mut head = Vec::with_capacity(64);
        encode(&mut head)?;
        Ok(Self { head, kind: Kind::Binary, ..Self::default() })
    }
}

/// Messages to send, in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    packets: VecDeque<Outgoing>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, packet: Outgoing) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    pub(crate) fn push_front(&mut self, packet: Outgoing) {
        self.bytes += packet.len();
        self.packets.push_front(packet);
    }

    /// Takes the first message. An empty queue owns no memory.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let packet = self.packets.pop_front();
        match &packet {
            Some(packet) => self.bytes -= packet.len(),
            None => self.packets = VecDeque::new(),
        }
        packet
    }

    /// Moves everything from `other` behind what is here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.packets.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.packets.append(&mut other.packets);
            self.bytes += std::mem::take(&mut other.bytes);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn into_packets(self) -> impl DoubleEndedIterator<Item = Outgoing> {
        self.packets.into_iter()
    }
}

impl Parser {
    pub(crate) fn event(
        self,
        namespace: &str,
        ack: Option<u64>,
        name: &str,
        args: &impl Arguments,
    ) -> Result<Outgoing, EncodeError> {
        let packet = match self {
            Self::Json => Outgoing::text(|out| socketio::encode_event(out, namespace, ack, name, args)),
            Self::MessagePack => Outgoing::binary(|out| msgpack::encode_event(out, namespace, ack, name, args)),
        };
        packet.map(|packet| Outgoing { ack, ..packet })
    }

    pub(crate) fn ack(self, namespace: &str, id: u64, args: &impl Arguments) -> Result<Outgoing, EncodeError> {
        match self {
            Self::Json => Outgoing::text(|out| socketio::encode_ack(out, namespace, id, args)),
            Self::MessagePack => Outgoing::binary(|out| msgpack::encode_ack(out, namespace, id, args)),
        }
    }

    /// CONNECT with this authentication data and, in revision 5 of the protocol, an offer of the session to recover.
    /// Servers of revision 4 read authentication data from the query of the namespace.
    pub(crate) fn connect(
        self,
        version: EngineVersion,
        namespace: &str,
        auth: Option<&RawValue>,
        offer: Option<&Recovery>,
    ) -> Result<Outgoing, EncodeError> {
        let mut members: Map<String, Value> =
            auth.map(|auth| serde_json::from_str(auth.get())).transpose()?.unwrap_or_default();
        match (version, offer) {
            (EngineVersion::V3, _) => return self.connect_to(&with_query(namespace, &members), None),
            (EngineVersion::V4, None) => return self.connect_to(namespace, auth),
            (EngineVersion::V4, Some(Recovery { pid, offset })) => {
                members.insert("pid".to_owned(), pid.as_str().into());
                members.extend(offset.as_deref().map(|offset| ("offset".to_owned(), offset.into())));
            }
        }
        self.connect_to(namespace, Some(&to_raw_value(&members)?))
    }

    fn connect_to(self, namespace: &str, payload: Option<&RawValue>) -> Result<Outgoing, EncodeError> {
        match self {
            Self::Json => Outgoing::text(|out| socketio::encode_connect(out, namespace, payload).map(|()| Vec::new())),
            Self::MessagePack => {
                // A raw value is text to any serialiser but JSON's.
                let payload: Option<Value> = payload.map(|payload| serde_json::from_str(payload.get())).transpose()?;
                Outgoing::binary(|out| msgpack::encode_connect(out, namespace, payload.as_ref()))
            }
        }
    }

    pub(crate) fn disconnect(self, namespace: &str) -> Result<Outgoing, EncodeError> {
        match self {
            Self::Json => Outgoing::text(|out| {
                socketio::encode_disconnect(out, namespace);
                Ok(Vec::new())
            }),
            Self::MessagePack => Outgoing::binary(|out| msgpack::encode_disconnect(out, namespace)),
        }
    }
}

fn with_query(namespace: &str, members: &Map<String, Value>) -> String {
    if members.is_empty() {
        return namespace.to_owned();
    }
    let pairs = members.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    });
    let query = reqwest::Url::parse_with_params("http://localhost", pairs).ok();
    format!("{namespace}?{}", query.as_ref().and_then(|url| url.query()).unwrap_or_default())
}
