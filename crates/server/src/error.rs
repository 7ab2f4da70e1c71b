use std::fmt;

use serde_json::value::RawValue;
use sockeye_engine::{CloseReason, SendError, log_throttled};
use sockeye_protocol::socketio::{EncodeError, membership::LeftBy};

/// Why an event could not be emitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The data could not be serialised.
    #[error("the event could not be encoded")]
    Encode(#[from] EncodeError),
    /// The socket is no longer connected, or its client reads too slowly and the server is closing the connection.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A limit is reached.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The event name is reserved by Socket.IO.
    #[error("`{0}` is a reserved event name and cannot be emitted; choose another")]
    ReservedName(String),
}

/// A limit that was reached. Each is a setting of [`Config`](crate::Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// `max_rooms`.
    #[error("the socket would be in more than {limit} rooms; leave some, or raise `max_rooms`")]
    Rooms {
        /// The limit.
        limit: usize,
    },
    /// `max_namespaces`.
    #[error("the connection has already joined {limit} namespaces; leave some, or raise `max_namespaces`")]
    Namespaces {
        /// The limit.
        limit: usize,
    },
    /// `max_child_namespaces`.
    #[error("clients have created {limit} namespaces, and none of them is empty; raise `max_child_namespaces`")]
    ChildNamespaces {
        /// The limit.
        limit: usize,
    },
    /// `max_auth`.
    #[error("the payload of CONNECT is larger than {limit} bytes; send less, or raise `max_auth`")]
    Auth {
        /// The limit, in bytes.
        limit: usize,
    },
    /// `max_pending_acks`.
    #[error("the socket already has {limit} unanswered acknowledgements; wait for some, or raise `max_pending_acks`")]
    PendingAcks {
        /// The limit.
        limit: usize,
    },
}

impl LimitError {
    /// The name of the setting.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Rooms { .. } => "max_rooms",
            Self::Namespaces { .. } => "max_namespaces",
            Self::ChildNamespaces { .. } => "max_child_namespaces",
            Self::Auth { .. } => "max_auth",
            Self::PendingAcks { .. } => "max_pending_acks",
        }
    }

    /// The value of the setting.
    pub fn value(&self) -> usize {
        match *self {
            Self::Rooms { limit }
            | Self::Namespaces { limit }
            | Self::ChildNamespaces { limit }
            | Self::Auth { limit }
            | Self::PendingAcks { limit } => limit,
        }
    }
}

/// Why a socket left its namespace, in the words of the JavaScript reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server disconnected the socket.
    ServerNamespaceDisconnect,
    /// The connection of the socket ended.
    Connection(CloseReason),
}

impl DisconnectReason {
    /// Which side ended the membership.
    pub(crate) fn left_by(self) -> LeftBy {
        match self {
            Self::ClientNamespaceDisconnect => LeftBy::Client,
            Self::ServerNamespaceDisconnect => LeftBy::Server,
            Self::Connection(_) => LeftBy::Connection,
        }
    }

    /// Whether the client may be recovered.
    pub(crate) fn is_recoverable(self) -> bool {
        matches!(self, Self::Connection(reason) if reason != CloseReason::ParseError)
    }

    /// The reason as the reference spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::Connection(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Refuses a connection to a namespace. The client gets the message, and the data if there is any, in its
/// `connect_error` event.
///
/// ```
/// let refusal = sockeye::ConnectRefusal::new("unknown token").with_data(&serde_json::json!({ "retry": false }));
/// assert_eq!(refusal.to_string(), "unknown token");
/// ```
#[derive(Debug)]
pub struct ConnectRefusal {
    message: String,
    data: Option<Box<RawValue>>,
}

impl ConnectRefusal {
    /// A refusal with a message for the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds data for the client. If the data cannot be serialised as JSON, the refusal has no data, and the server logs
    /// an error.
    #[must_use]
    pub fn with_data(mut self, data: &impl serde::Serialize) -> Self {
        match serde_json::value::to_raw_value(data) {
            Ok(data) => self.data = Some(data),
            Err(error) => log_throttled!(
                error,
                &error.to_string(),
                %error,
                "the data of a refusal cannot be serialised as JSON and is not sent"
            ),
        }
        self
    }
}

impl ConnectRefusal {
    /// The payload for a client of Socket.IO 2: the data, or the message if there is no data.
    pub(crate) fn for_socket_io_2(&self) -> Box<RawValue> {
        match &self.data {
            Some(data) => data.clone(),
            None => serde_json::value::to_raw_value(&self.message).unwrap_or_default(),
        }
    }
}

impl From<String> for ConnectRefusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for ConnectRefusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Lets a connect handler end with `socket.join(room)`: if the client cannot join the room, it is refused.
impl From<LimitError> for ConnectRefusal {
    fn from(error: LimitError) -> Self {
        Self::new(error.to_string())
    }
}

/// Lets a connect handler end with `socket.emit(…)`: if the event cannot be emitted, the client is refused.
impl From<EmitError> for ConnectRefusal {
    fn from(error: EmitError) -> Self {
        Self::new(error.to_string())
    }
}

impl serde::Serialize for ConnectRefusal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("message", &self.message)?;
        if let Some(data) = &self.data {
            map.serialize_entry("data", data)?;
        }
        map.end()
    }
}

impl fmt::Display for ConnectRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectRefusal {}
