//! Adapters: they keep the members of rooms, and deliver broadcasts to them.
//!
//! [`Local`] keeps the sockets of this server; a single server needs no more. An adapter for a cluster wraps it and
//! forwards broadcasts and commands to the other servers.
mod delivery;
mod joined_rooms;
mod local;
mod member_table;
pub(crate) mod recovery;
mod remote;
mod remote_acks;
pub(crate) mod room;
mod server_events;
pub(crate) mod target;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use sockeye_protocol::socketio::ArgsBuf;

pub(crate) use delivery::Recipient;
pub use delivery::{ClientAcks, Delivery};
pub(crate) use local::Events as RoomEvents;
pub use local::{Local, RoomEvent};
pub use remote::{RemoteHandshake, RemoteSocketData};
pub use remote_acks::{RemoteAck, RemoteAcks};
pub use server_events::ServerEvents;

use crate::EmitError;
pub use crate::{
    adapter::target::{RoomNames, Target},
    handles::remote_socket::RemoteSocket,
    wire::packet::EncodedPacket,
};

/// Delivers broadcasts and commands to the sockets of one namespace. The default methods serve a single server. An
/// adapter for a cluster does the local part through [`local`](Self::local) and forwards the rest to the other servers,
/// in the order of the calls.
pub trait Adapter: Send + Sync + 'static {
    /// The sockets of this server.
    fn local(&self) -> &Arc<Local>;

    /// Whether there are other servers, so that [`broadcast`](Self::broadcast) needs [`EncodedPacket::args`] in addition
    /// to the encoded frames, and is told of broadcasts with acknowledgements. Default false.
    fn wants_arguments(&self) -> bool {
        false
    }

    /// Sends a packet once to every socket of the target.
    fn broadcast(&self, packet: &EncodedPacket, target: &Target) {
        self.local().broadcast(packet, target);
    }

    /// Sends an event to the target's sockets on other servers and asks each for an acknowledgement. What it returns has to
    /// end after the timeout. The caller has asked the sockets of this server. None if there are no other servers.
    fn broadcast_with_ack(
        &self,
        event: &str,
        args: &ArgsBuf,
        target: &Target,
        timeout: Duration,
    ) -> Option<RemoteAcks> {
        let _ = (event, args, target, timeout);
        None
    }

    /// Makes every socket of the target join the rooms. A socket that would be in more than `max_rooms` joins none.
    fn join(&self, target: &Target, rooms: &RoomNames, max_rooms: usize) {
        self.local().join_all(target, rooms, max_rooms);
    }

    /// Makes every socket of the target leave the rooms.
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

    /// Describes every socket of the target, on this server and on the others.
    fn fetch_sockets(&self, target: &Target) -> AdapterFuture<Vec<RemoteSocketData>> {
        let sockets = self.local().sockets(target);
        let known = sockets.iter().filter(|socket| socket.is_connected()).map(RemoteSocketData::of).collect();
        Box::pin(std::future::ready(Ok(known)))
    }

    /// Counts the sockets of the target, on this server and on the others.
    fn count(&self, target: &Target) -> AdapterFuture<usize> {
        Box::pin(std::future::ready(Ok(self.local().count(target))))
    }

    /// The names of all rooms with members, on this server and on the others.
    fn rooms(&self) -> AdapterFuture<Vec<Arc<str>>> {
        Box::pin(std::future::ready(Ok(self.local().rooms())))
    }

    /// Emits an event to the other servers.
    fn server_side_emit(&self, event: &str, args: &ArgsBuf) {
        let _ = (event, args);
    }

    /// Emits an event to the other servers and collects their answers.
    fn server_side_emit_with_ack(&self, event: &str, args: &ArgsBuf, timeout: Duration) -> AdapterFuture<Vec<ArgsBuf>> {
        let _ = (event, args, timeout);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// The future that an adapter returns.
pub type AdapterFuture<T> = Pin<Box<dyn Future<Output = Result<T, AdapterError>> + Send>>;

/// Why a request to the other servers failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The request could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Some servers did not answer in time.
    #[error("timeout reached: only {received} responses received out of {expected}")]
    TimedOut {
        /// The number of answers that arrived.
        received: usize,
        /// The number of answers that were expected.
        expected: usize,
    },
    /// The connection to the other servers failed.
    #[error("the bus between the servers failed")]
    Bus(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes the adapter of a namespace. The adapter reaches the namespace's sockets and handlers on this server through the
/// [`Delivery`].
pub type AdapterFactory = Arc<dyn Fn(Delivery) -> Arc<dyn Adapter> + Send + Sync>;

/// The adapter of a single server.
#[derive(Debug)]
pub struct InMemory(Arc<Local>);

impl InMemory {
    /// Makes an adapter that reaches only the sockets of this server.
    pub fn new(local: Arc<Local>) -> Self {
        Self(local)
    }
}

impl Adapter for InMemory {
    fn local(&self) -> &Arc<Local> {
        &self.0
    }
}
