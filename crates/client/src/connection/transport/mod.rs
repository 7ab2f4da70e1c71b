use std::{error::Error as StdError, sync::Arc};

use crate::{ConnectError, DisconnectReason};

mod open;
mod polling;
mod websocket;

pub(crate) use open::{OpenTransport, Opened, open};
pub(crate) use polling::{Body, Polling};
pub(crate) use websocket::{Input, WebSocket};

/// Why a connection ended.
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

impl From<ConnectError> for Lost {
    fn from(error: ConnectError) -> Self {
        Self::by(DisconnectReason::TransportError, error)
    }
}

impl From<reqwest::Error> for Lost {
    fn from(error: reqwest::Error) -> Self {
        Self::by(DisconnectReason::TransportError, error.without_url())
    }
}
