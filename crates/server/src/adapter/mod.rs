//! Adapters: who is in which room, and how a broadcast reaches them.
//!
//! [`Local`] knows the sockets of this server and is all that one server needs. An adapter for several servers wraps
//! it and passes broadcasts and commands on to the others.
mod local;
pub(crate) mod recovery;
mod remote;
pub(crate) mod room;
mod server_events;
pub(crate) mod target;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use sockeye_protocol::socketio::ArgsBuf;

pub(crate) use local::Events as RoomEvents;
pub use local::{Local, RoomEvent};
pub use remote::{RemoteHandshake, RemoteSocket, RemoteSocketData};
pub use server_events::ServerEvents;

use crate::EmitError;
pub use crate::{
    adapter::target::{RoomNames, Target},
    wire::packet::EncodedPacket,
};

/// How broadcasts and commands reach the sockets of one namespace. The defaults are those of a single server; an
/// adapter for several does the local part by [`local`](Self::local) and passes the rest on, in the order it was asked.
pub trait Adapter: Send + Sync + 'static {
    /// The sockets of this server.
    fn local(&self) -> &Arc<Local>;

    /// Whether broadcasts must carry their arguments beside the encoded frames.
    fn wants_arguments(&self) -> bool {
        false
    }

    /// Sends a packet to every socket of the target, once to each.
    fn broadcast(&self, packet: &EncodedPacket, target: &Target) {
        self.local().broadcast(packet, target);
    }

    /// Has every socket of the target join rooms, but for those that would be in more than `max_rooms`.
    fn join(&self, target: &Target, rooms: &RoomNames, max_rooms: usize) {
        self.local().join_all(target, rooms, max_rooms);
    }

    /// Has every socket of the target leave rooms.
    fn leave(&self, target: &Target, rooms: &RoomNames) {
        self.local().leave_all(target, rooms);
    }

    /// Disconnects every socket of the target from the namespace.
    fn disconnect(&self, target: &Target) {
        self.local().disconnect_all(target);
    }

    /// Closes the connection of every socket of the target.
    fn close(&self, target: &Target) {
        self.local().close_all(target);
    }

    /// What is known of every socket of the target, here and on other servers.
    fn fetch_sockets(&self, target: &Target) -> AdapterFuture<Vec<RemoteSocketData>> {
        let sockets = self.local().sockets(target);
        let known = sockets.iter().filter(|socket| socket.is_connected()).map(RemoteSocketData::of).collect();
        Box::pin(std::future::ready(Ok(known)))
    }

    /// Emits an event to the other servers.
    fn server_side_emit(&self, event: &str, args: &ArgsBuf) {
        let _ = (event, args);
    }

    /// Emits an event to the other servers and gathers their answers.
    fn server_side_emit_with_ack(&self, event: &str, args: &ArgsBuf, timeout: Duration) -> AdapterFuture<Vec<ArgsBuf>> {
        let _ = (event, args, timeout);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// What an adapter answers later.
pub type AdapterFuture<T> = Pin<Box<dyn Future<Output = Result<T, AdapterError>> + Send>>;

/// Why a question to other servers has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The question could not be put.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Some servers did not answer in time.
    #[error("timeout reached: only {received} responses received out of {expected}")]
    TimedOut {
        /// How many answers came.
        received: usize,
        /// How many were expected.
        expected: usize,
    },
    /// The connection to the other servers failed.
    #[error("the bus between the servers failed: {0}")]
    Bus(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes the adapter of a namespace from its local sockets and what other servers' events are for.
pub type AdapterFactory = Arc<dyn Fn(Arc<Local>, Arc<ServerEvents>) -> Arc<dyn Adapter> + Send + Sync>;

/// The adapter of a single server.
#[derive(Debug)]
pub struct InMemory(Arc<Local>);

impl InMemory {
    /// An adapter that knows only the sockets of this server.
    pub fn new(local: Arc<Local>) -> Self {
        Self(local)
    }
}

impl Adapter for InMemory {
    fn local(&self) -> &Arc<Local> {
        &self.0
    }
}
