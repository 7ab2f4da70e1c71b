use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{ConnectError, DisconnectReason, Transport};

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

/// The [`ManagerEvent`]s of a manager. A stream that is not read keeps the first 256 and misses the others.
#[derive(Debug)]
pub struct ManagerEvents(mpsc::Receiver<ManagerEvent>);

/// How many events wait for a reader.
const CAPACITY: usize = 256;

impl ManagerEvents {
    pub(crate) fn new() -> (mpsc::Sender<ManagerEvent>, Self) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (sender, Self(receiver))
    }

    /// The next event; `None` when the manager is gone.
    pub async fn next(&mut self) -> Option<ManagerEvent> {
        self.0.recv().await
    }
}

impl Stream for ManagerEvents {
    type Item = ManagerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ManagerEvent>> {
        self.0.poll_recv(cx)
    }
}
