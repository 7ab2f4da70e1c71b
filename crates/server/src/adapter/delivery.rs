use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use sockeye_protocol::socketio::ArgsBuf;

use super::{Local, RoomNames, ServerEvents, Target};
use crate::EmitError;

/// What an adapter does in its namespace for other servers. Nothing of it goes back to the other servers.
///
/// It does not keep the namespace alive. What it is asked after the namespace is gone reaches nobody.
#[derive(Clone)]
pub struct Delivery {
    local: Arc<Local>,
    server_events: Arc<ServerEvents>,
    recipient: Arc<dyn Recipient>,
}

/// The namespace, as [`Delivery`] uses it. Once it is gone, nobody is reached.
pub(crate) trait Recipient: Send + Sync {
    /// Emits an event to the target's sockets on this server.
    fn receive(&self, event: &str, args: &ArgsBuf, target: &Target) -> Result<(), EmitError>;

    /// Emits an event to the target's sockets on this server and asks for acknowledgements.
    fn receive_with_ack(
        &self,
        event: &str,
        args: &ArgsBuf,
        target: &Target,
        timeout: Duration,
    ) -> Result<ClientAcks, EmitError>;

    /// The setting `max_rooms`, or none if the namespace is gone.
    fn max_rooms(&self) -> Option<usize>;
}

/// The acknowledgements of this server's clients.
pub struct ClientAcks {
    /// How many clients were asked.
    pub count: usize,
    /// What they answer, as the answers arrive. It ends at the timeout, or when all have answered or left.
    pub answers: Pin<Box<dyn Stream<Item = ArgsBuf> + Send>>,
}

impl Delivery {
    pub(crate) fn new(local: Arc<Local>, server_events: Arc<ServerEvents>, recipient: Arc<dyn Recipient>) -> Self {
        Self { local, server_events, recipient }
    }

    /// The sockets of the namespace on this server.
    pub fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// Emits an event to the target's sockets on this server. With connection state recovery, it gets an offset of this
    /// server.
    ///
    /// # Errors
    /// If the event's name is reserved, or the arguments cannot be encoded for this server's clients.
    pub fn broadcast(&self, event: &str, args: &ArgsBuf, target: &Target) -> Result<(), EmitError> {
        self.recipient.receive(event, args, target)
    }

    /// Emits an event to the target's sockets on this server and asks each for an acknowledgement.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_with_ack(
        &self,
        event: &str,
        args: &ArgsBuf,
        target: &Target,
        timeout: Duration,
    ) -> Result<ClientAcks, EmitError> {
        self.recipient.receive_with_ack(event, args, target, timeout)
    }

    /// Makes the target's sockets on this server join rooms, within the setting `max_rooms`.
    pub fn join(&self, target: &Target, rooms: &RoomNames) {
        if let Some(max_rooms) = self.recipient.max_rooms() {
            self.local.join_all(target, rooms, max_rooms);
        }
    }

    /// Runs the handlers for an event that another server emits, and returns the first answer, if any handler answers.
    pub async fn server_event(&self, event: &str, args: &ArgsBuf) -> Option<ArgsBuf> {
        self.server_events.received(event, args).await
    }
}

impl ClientAcks {
    /// Nobody was asked.
    pub(crate) fn none() -> Self {
        Self { count: 0, answers: Box::pin(Nothing) }
    }
}

/// A stream without items.
struct Nothing;

impl Stream for Nothing {
    type Item = ArgsBuf;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<ArgsBuf>> {
        Poll::Ready(None)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("namespace", &self.local.namespace()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientAcks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAcks").field("count", &self.count).finish_non_exhaustive()
    }
}
