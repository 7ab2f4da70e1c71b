use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::value::RawValue;
use sockeye_protocol::{
    engineio::Revision,
    socketio::{self, Arguments, EncodeError, msgpack},
};

/// How packets are written; client and server must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parser {
    /// JSON text, binary data as attachments: what every server speaks.
    #[default]
    Json,
    /// The format of `socket.io-msgpack-parser`, for servers that were told to use it.
    MessagePack,
}

/// The revision of Engine.IO to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EngineVersion {
    /// `EIO=3`, for servers of Socket.IO 1 and 2.
    V3,
    /// `EIO=4`, for servers of Socket.IO 3 and later.
    #[default]
    V4,
}

impl EngineVersion {
    pub(crate) fn revision(self) -> Revision {
        match self {
            Self::V3 => Revision::V3,
            Self::V4 => Revision::V4,
        }
    }
}

/// A message in its encoded form, fit for any connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    /// An Engine.IO packet in its textual form, or a binary message if [`binary`](Self::binary) is set.
    pub(crate) head: Vec<u8>,
    pub(crate) binary: bool,
    /// Binary messages that follow at once.
    pub(crate) attachments: Vec<Bytes>,
    /// The acknowledgement it awaits.
    pub(crate) ack: Option<u64>,
    pub(crate) origin: Origin,
}

/// Whose message it is, which matters when a connection is lost before it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Origin {
    /// It is of this connection alone.
    #[default]
    Connection,
    /// An event of the socket with this index, to be sent on the next connection.
    Event(usize),
}

impl Outgoing {
    /// An Engine.IO packet other than a message.
    pub(crate) fn control(packet: &[u8]) -> Self {
        Self { head: packet.to_vec(), ..Self::default() }
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
        Ok(Self { head, binary: true, ..Self::default() })
    }
}

/// Messages on their way out, in order.
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

    /// Takes the first message. Empty, the queue owns no memory.
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

    pub(crate) fn connect(self, namespace: &str, payload: Option<&RawValue>) -> Result<Outgoing, EncodeError> {
        match self {
            Self::Json => Outgoing::text(|out| socketio::encode_connect(out, namespace, payload).map(|()| Vec::new())),
            Self::MessagePack => {
                // A raw value is text to any serialiser but JSON's.
                let payload: Option<serde_json::Value> =
                    payload.map(|payload| serde_json::from_str(payload.get())).transpose()?;
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
