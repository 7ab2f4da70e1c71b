use std::{error::Error as StdError, fmt, sync::Arc};

use crate::DisconnectReason;

mod open;
mod polling;
mod websocket;

pub(crate) use open::{OpenTransport, Opened, open};
pub(crate) use polling::{Body, Polling};
pub(crate) use websocket::{WebSocket, random_bytes};

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The name, as it stands in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Transport> for Vec<Transport> {
    fn from(transport: Transport) -> Self {
        vec![transport]
    }
}

/// How a connection came to its end.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) reason: DisconnectReason,
    pub(crate) error: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Lost {
    pub(crate) fn new(reason: DisconnectReason) -> Self {
        Self { reason, error: None }
    }

    pub(crate) fn by(reason: DisconnectReason, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { reason, error: Some(Arc::from(error.into())) }
    }
}
