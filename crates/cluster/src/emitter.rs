//! Emits to the clients of a cluster from a process without a server.
use std::{fmt, sync::Arc, time::Duration};

use sockeye::{
    ArgsBuf, EmitError, IntoRooms,
    adapter::{RoomNames, Target},
};
use sockeye_protocol::socketio::{Arguments, is_reserved};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    bus::{Bus, BusStatus, JoinedBus},
    format::{EncodeError, Subscription},
    message::{Body, Broadcast, Message, ServerId},
    rejoin::keep_joined,
    transport::TransportError,
};

/// Emits to the clients of a cluster, and commands its sockets, from a process that has no server. Cheap to clone.
///
/// Nothing waits for the broker: what is emitted waits in the bus's bounded outbox, and [`flush`](Self::flush) waits until
/// it has left. To emit to everybody, say [`broadcast`](Self::broadcast): there is no `emit` without a selection.
#[derive(Clone)]
pub struct Emitter {
    connection: Arc<Connection>,
    namespace: Arc<str>,
}

/// Selects the sockets that an emit or a command of an [`Emitter`] reaches.
#[derive(Clone)]
#[must_use = "a selection does nothing until something is emitted through it"]
pub struct Selection {
    emitter: Emitter,
    target: Target,
}

/// Why something could not be emitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The data cannot be serialised, or the event's name is reserved.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The bus's format cannot express it.
    #[error(transparent)]
    Format(#[from] EncodeError),
}

/// What was emitted has not left in time.
#[derive(Debug, thiserror::Error)]
#[error("{waiting} messages have not left after {} ms: is the broker down? The log has the reason", .timeout.as_millis())]
pub struct FlushError {
    /// How many wait.
    pub waiting: usize,
    /// How long was waited.
    pub timeout: Duration,
}

struct Connection {
    bus: Arc<JoinedBus>,
    sender: ServerId,
    task: JoinHandle<()>,
}

/// The name under which emitters send. Servers that count each other do not count it.
const SENDER: &str = "emitter";

impl Emitter {
    /// Joins a bus and emits in the namespace `/`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        let sender = ServerId::from(SENDER);
        let bus = Arc::new(JoinedBus::new(bus, &sender, Box::new(|_| None)));
        let task = Handle::current().spawn(keep_joined(bus.clone()));
        Self { connection: Arc::new(Connection { bus, sender, task }), namespace: "/".into() }
    }

    /// An emitter for another namespace, over the same connection. A name without its leading slash gets one.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        Self { connection: self.connection.clone(), namespace: format!("{slash}{namespace}").into() }
    }

    /// Selects the members of these rooms, or with the id of a socket that socket.
    pub fn to(&self, rooms: impl IntoRooms) -> Selection {
        self.broadcast().to(rooms)
    }

    /// Selects every socket of the namespace.
    pub fn broadcast(&self) -> Selection {
        Selection { emitter: self.clone(), target: Target::default() }
    }

    /// Runs the handlers that servers have for an event of servers.
    ///
    /// # Errors
    /// If the data cannot be serialised, or servers of this kind have no such handlers.
    pub fn server_side_emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitterError> {
        let args = ArgsBuf::new(&args).map_err(EmitError::from)?;
        self.publish(Body::ServerEvent { event: event.into(), args })
    }

    /// Waits until everything emitted has left, at most this long.
    ///
    /// # Errors
    /// If it has not left by then.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let outbox = &self.connection.bus.link.outbox;
        tokio::time::timeout(timeout, outbox.emptied())
            .await
            .map_err(|_| FlushError { waiting: outbox.waiting().0.max(1), timeout })
    }

    /// How many servers listen in the namespace; none if the bus does not tell.
    ///
    /// # Errors
    /// If the broker cannot be asked.
    pub async fn servers(&self) -> Result<Option<usize>, TransportError> {
        let bus = &self.connection.bus;
        let channel = bus
            .format
            .request_channel(&self.namespace)
            .or_else(|| bus.format.subscriptions(&self.namespace).into_iter().find_map(Subscription::into_channel));
        match channel {
            Some(channel) => bus.transport.listeners(&channel).await,
            None => Ok(None),
        }
    }

    /// The state of the connection.
    #[must_use]
    pub fn status(&self) -> BusStatus {
        self.connection.bus.status()
    }

    fn publish(&self, body: Body) -> Result<(), EmitterError> {
        let (sender, namespace) = (Some(self.connection.sender.clone()), self.namespace.clone());
        Ok(self.connection.bus.publish(&Message { sender, namespace, body })?)
    }
}

impl Selection {
    /// Adds the members of these rooms. A socket in several of them receives once.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        add(&mut self.target.rooms, rooms);
        self
    }

    /// Excludes the members of these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        add(&mut self.target.except, rooms);
        self
    }

    /// Makes emits volatile: a socket that is not ready to receive does not get the event.
    pub fn volatile(mut self) -> Self {
        self.target.volatile = true;
        self
    }

    /// Emits an event. Pass `&data` for one argument, a tuple for several, `()` for none.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, or the bus's format cannot express it.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitterError> {
        if is_reserved(event) {
            return Err(EmitError::ReservedName(event.into()).into());
        }
        let args = ArgsBuf::new(&args).map_err(EmitError::from)?;
        let target = self.target.clone();
        self.emitter.publish(Body::Broadcast(Broadcast { event: event.into(), args, target, acks: None }))
    }

    /// Makes the selected sockets join rooms.
    ///
    /// # Errors
    /// If the bus's format cannot express it.
    pub fn join(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let rooms = names(rooms);
        self.emitter.publish(Body::Join { target: self.target.clone(), rooms })
    }

    /// Makes the selected sockets leave rooms.
    ///
    /// # Errors
    /// If the bus's format cannot express it.
    pub fn leave(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let rooms = names(rooms);
        self.emitter.publish(Body::Leave { target: self.target.clone(), rooms })
    }

    /// Disconnects the selected sockets from the namespace.
    ///
    /// # Errors
    /// If the bus's format cannot express it.
    pub fn disconnect(&self) -> Result<(), EmitterError> {
        self.emitter.publish(Body::Disconnect { target: self.target.clone(), close: false })
    }

    /// Closes the connections of the selected sockets.
    ///
    /// # Errors
    /// If the bus's format cannot express it.
    pub fn close(&self) -> Result<(), EmitterError> {
        self.emitter.publish(Body::Disconnect { target: self.target.clone(), close: true })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("namespace", &self.namespace).field("bus", &self.status()).finish()
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("target", &self.target).finish_non_exhaustive()
    }
}

fn add(names: &mut RoomNames, rooms: impl IntoRooms) {
    rooms.for_each_room(&mut |room| names.push(room.into()));
}

fn names(rooms: impl IntoRooms) -> RoomNames {
    let mut names = RoomNames::new();
    add(&mut names, rooms);
    names
}
