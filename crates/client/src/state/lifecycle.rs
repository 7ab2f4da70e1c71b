use std::time::Duration;

use crate::{ConnectError, DisconnectReason, EventStream, Transport};

/// What happens to a manager's connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ManagerEvent {
    /// A connection is being opened.
    Connecting,
    /// A connection was opened; namespaces are joined next.
    Open {
        /// Its transport.
        transport: Transport,
        /// How many attempts it took: 0 for a first connection, at least 1 for one that replaces a lost one.
        attempts: u32,
    },
    /// A connection could not be opened.
    ConnectFailed(ConnectError),
    /// The connection moved from polling to WebSocket.
    Upgraded,
    /// The move to WebSocket failed; polling goes on.
    UpgradeFailed,
    /// The connection ended.
    Closed {
        /// Why it ended.
        reason: DisconnectReason,
        /// The details, if there are any.
        detail: Option<String>,
    },
    /// The connection is tried again after a delay.
    Reconnecting {
        /// The number of the attempt, from 1.
        attempt: u32,
        /// The delay before it.
        delay: Duration,
    },
    /// All attempts that [`Reconnection`](crate::Reconnection) allows failed.
    ReconnectFailed,
    /// An event was given up after all tries that [`Retries`](crate::Retries) allows.
    DeliveryFailed {
        /// The namespace it was emitted to.
        namespace: String,
    },
}

/// What happens to the connection of a [manager](crate::Manager::events), in order.
pub type ManagerEvents = EventStream<ManagerEvent>;
