use bytes::Bytes;
use sockeye_protocol::websocket::CloseCode;

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

/// What a message counts in addition to its bytes, and each attachment again: its entry in a queue, which may have room
/// for twice as many, and what its buffer has room for beyond its bytes.
pub(crate) const OVERHEAD: usize = 256;

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

    /// How many bytes it counts in a queue: its own, those of its attachments, and [`OVERHEAD`] for each.
    pub(crate) fn size(&self) -> usize {
        let attachments = self.attachments.iter().map(|attachment| OVERHEAD + attachment.len());
        OVERHEAD + self.head.len() + attachments.sum::<usize>()
    }
}
