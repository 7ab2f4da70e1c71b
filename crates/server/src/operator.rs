use std::time::Duration;

use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::{ArgsBuf, Arguments};

use crate::{
    AckFuture, BroadcastAcks, EmitError, IntoRooms, Namespace, Socket,
    adapter::{AdapterError, RemoteSocket},
    target::{RoomNames, Target, add_rooms},
};

/// Chooses whom an emit, or a command, is for. Each method narrows or widens the choice and returns a new one.
#[derive(Debug, Clone)]
#[must_use = "an operator does nothing until something is emitted through it"]
pub struct Operator {
    namespace: Namespace,
    target: Target,
    timeout: Option<Duration>,
}

impl Operator {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, target: Target::default(), timeout: None }
    }

    /// Adds the members of these rooms. A socket in several of them receives once.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        add_rooms(&mut self.target.rooms, rooms);
        self
    }

    /// Leaves out the members of these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        add_rooms(&mut self.target.except, rooms);
        self
    }

    /// Drops what is emitted for sockets that are not ready to receive.
    pub fn volatile(mut self) -> Self {
        self.target.volatile = true;
        self
    }

    /// Stays on this server.
    pub fn local_only(mut self) -> Self {
        self.target.local = true;
        self
    }

    /// Waits this long for acknowledgements, instead of the server's `ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Emits an event. Pass `&data` for one argument, a tuple for several, `()` for none.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.namespace.broadcast(event, &args, &self.target)
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Emits an event and waits for the acknowledgement of every chosen socket of this server, one by one as a stream,
    /// or all of them by [`collect`](BroadcastAcks::collect).
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Arguments,
    ) -> Result<BroadcastAcks<T>, EmitError> {
        let timeout = self.timeout.unwrap_or(self.namespace.config().ack_timeout);
        self.namespace.broadcast_with_ack(event, &args, &self.target, timeout)
    }

    /// The chosen sockets of this server.
    pub fn sockets(&self) -> Vec<Socket> {
        self.namespace.local().sockets(&self.target)
    }

    /// The chosen sockets of every server, as far as it is known of them elsewhere.
    ///
    /// # Errors
    /// If another server does not answer in time.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AdapterError> {
        let sockets = self.namespace.adapter().fetch_sockets(&self.target).await?;
        Ok(sockets.into_iter().map(|data| RemoteSocket::new(self.namespace.clone(), data)).collect())
    }

    /// Has the chosen sockets join rooms. One that would be in too many joins none of them.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let mut names = RoomNames::new();
        add_rooms(&mut names, rooms);
        self.namespace.adapter().join(&self.target, &names, self.namespace.config().max_rooms);
    }

    /// Has the chosen sockets leave rooms.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let mut names = RoomNames::new();
        add_rooms(&mut names, rooms);
        self.namespace.adapter().leave(&self.target, &names);
    }

    /// Disconnects the chosen sockets from the namespace, or closes their connections.
    pub fn disconnect_sockets(&self, close: bool) {
        self.namespace.adapter().disconnect(&self.target, close);
    }

    /// Emits an event to the other servers of the cluster, not to any client.
    ///
    /// # Errors
    /// If the data cannot be serialised.
    pub fn server_side_emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.namespace.adapter().server_side_emit(event, &ArgsBuf::new(&args)?);
        Ok(())
    }

    /// Emits an event to the other servers of the cluster and returns what each answers.
    ///
    /// # Errors
    /// If the data cannot be serialised, or a server does not answer in time.
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        args: impl Arguments,
    ) -> Result<Vec<ArgsBuf>, AdapterError> {
        let args = ArgsBuf::new(&args).map_err(EmitError::from)?;
        let timeout = self.timeout.unwrap_or(self.namespace.config().ack_timeout);
        self.namespace.adapter().server_side_emit_with_ack(event, &args, timeout).await
    }
}

/// How something is emitted to one socket.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until something is emitted"]
pub struct Direct {
    socket: Socket,
    volatile: bool,
    timeout: Option<Duration>,
}

impl Direct {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, volatile: false, timeout: None }
    }

    /// Drops what is emitted unless the client is ready to receive it.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Waits this long for acknowledgements, instead of the server's `ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Emits an event.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, or the client has left.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        if self.volatile && !self.socket.is_writable() {
            return Ok(());
        }
        let namespace = self.socket.namespace();
        match namespace.recovery() {
            Some(_) if !self.volatile => {
                let mut target = Target { local: true, ..Target::default() };
                target.rooms.push(self.socket.id().as_str().into());
                namespace.broadcast(event, &args, &target)
            }
            _ => self.socket.emit_expecting(event, None, &args),
        }
    }

    /// Emits an event and waits for the client's acknowledgement.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        let timeout = self.timeout.unwrap_or(self.socket.namespace().config().ack_timeout);
        self.socket.emit_with_ack_within(timeout, event, &args)
    }
}
