//! Formats: how messages are written for a bus. A format does no input or output, so that real bytes test it.
mod cluster_message;
mod document;
mod node_classic;
mod node_postgres;
mod node_sharded;
mod node_streams;
pub mod own;
mod python;
mod socket_data;

use bytes::Bytes;

pub use node_classic::{ClassicSettings, NodeClassic};
pub use node_postgres::{NodePostgres, PostgresSettings};
pub use node_sharded::{NodeSharded, ShardedSettings, SubscriptionMode};
pub use node_streams::{NodeStreams, StreamsSettings};
pub use python::{ExceptRooms, Generation, Python, PythonSettings};

use crate::message::{Message, ServerId};

/// How the servers of one kind write their messages.
///
/// What a peer cannot read can end the peer, so that `encode` writes nothing else than what the peer's own kind writes.
pub trait Format: Send + Sync + 'static {
    /// Tells the name of the server that writes and reads, once and before anything else.
    fn set_server(&mut self, server: &ServerId) {
        let _ = server;
    }

    /// What the format cannot do; asked before a request is made.
    fn abilities(&self) -> Abilities;

    /// Writes a message as what is to be published, usually one publication. Nothing if peers of this format can do
    /// without it.
    ///
    /// # Errors
    /// If the format cannot express the message.
    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError>;

    /// Reads what has arrived.
    ///
    /// # Errors
    /// If the bytes are malformed. Nothing else is lost by it.
    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError>;

    /// What to subscribe for a namespace, besides the channels of single rooms.
    fn subscriptions(&self, namespace: &str) -> Vec<Subscription>;

    /// What to subscribe while a room, or the socket of this id, is on this server. None if the format has no channels of
    /// rooms.
    fn room_subscription(&self, namespace: &str, room: &str) -> Option<Subscription> {
        let _ = (namespace, room);
        None
    }

    /// What to subscribe instead of the channels of single rooms if there are many rooms. None if the format has no such
    /// pattern.
    fn every_room_subscription(&self, namespace: &str) -> Option<Subscription> {
        let _ = namespace;
        None
    }

    /// The channel on which every server of the namespace that answers requests listens, to count them; none if the
    /// format counts by heartbeats or not at all.
    fn request_channel(&self, namespace: &str) -> Option<String> {
        let _ = namespace;
        None
    }
}

/// What the servers of a format can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// Whether they answer [`Question`](crate::message::Question)s.
    pub questions: bool,
    /// Whether they run handlers for the events of servers.
    pub server_events: bool,
    /// How they answer a broadcast that asks for acknowledgements.
    pub acks: Acks,
    /// Whether they send heartbeats, so that it is known which servers live.
    pub heartbeats: bool,
}

/// How the servers of a format answer a broadcast that asks for acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Not at all.
    #[default]
    None,
    /// With the acknowledgements, but not with the number of clients asked.
    Uncounted,
    /// With the number of clients asked, then with the acknowledgement of each.
    Counted,
    /// Those that send heartbeats like [`Counted`](Self::Counted), others only with the acknowledgements. A request then
    /// lasts until its timeout, unless the broker tells that there are no others.
    Mixed,
}

/// What a format has read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoded {
    /// A message.
    Message(Message),
    /// The number under which a message is stored; the transport fetches it and delivers it.
    Attachment(u64),
    /// Nothing for this server: its text names the type of the message, which this version does not know, or another
    /// reason. It is counted.
    Ignored(&'static str),
}

/// What a format hands to the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// Publish on a channel, subject or exchange.
    Publish {
        /// The channel, subject or exchange.
        channel: String,
        /// The bytes.
        payload: Bytes,
    },
    /// Append to a stream.
    Append {
        /// The stream.
        stream: String,
        /// Names and values of the entry.
        fields: Vec<(&'static str, Bytes)>,
    },
    /// Store the payload, then publish the number under which it is stored, between these texts.
    Attach {
        /// The channel, subject or exchange.
        channel: String,
        /// The bytes.
        payload: Bytes,
        /// What comes before the number, and what after it.
        announcement: (String, String),
    },
}

/// What a transport hands to the format.
#[derive(Debug, Clone, Copy)]
pub enum Received<'a> {
    /// From a channel.
    Published {
        /// The channel, subject or exchange.
        channel: &'a str,
        /// The bytes.
        payload: &'a [u8],
    },
    /// From a stream.
    Appended {
        /// What the answers name.
        id: &'a str,
        /// Names and values of the entry.
        fields: &'a [(&'a str, &'a [u8])],
    },
}

/// What a transport listens to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// One channel.
    Channel(String),
    /// All channels of a pattern.
    Pattern(String),
    /// A stream.
    Stream(String),
}

impl Subscription {
    /// The channel, if it is one.
    #[must_use]
    pub fn into_channel(self) -> Option<String> {
        match self {
            Self::Channel(channel) => Some(channel),
            Self::Pattern(_) | Self::Stream(_) => None,
        }
    }
}

/// Why a message cannot be written in a format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The servers of this format have nothing for it.
    #[error("servers of this format cannot {0}")]
    Impossible(&'static str),
    /// The arguments cannot be serialised.
    #[error("the arguments cannot be written in this format")]
    Arguments(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The message is larger than the bus or its peers take.
    #[error("the message has {size} bytes; this bus takes at most {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Why what has arrived is not a message of the format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not of the form that the format prescribes.
    #[error("not a message of this format: {0}")]
    Malformed(&'static str),
    /// It is not valid JSON.
    #[error("invalid JSON")]
    Json(#[from] serde_json::Error),
    /// It is a Python pickle, which can run code when it is read.
    #[error("a Python pickle, which is never read: update python-socketio to 5.14 or later")]
    Pickle,
    /// Its signature is missing or wrong.
    #[error("the signature is missing or wrong")]
    Signature,
}
