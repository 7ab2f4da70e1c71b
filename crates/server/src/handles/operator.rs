use std::{borrow::Cow, future::Future, time::Duration};

use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::{ArgsBuf, Arguments};
use tokio::sync::mpsc;

use crate::{
    AckError, AckFuture, BroadcastAcks, EmitError, IntoRooms, Namespace, ParentNamespace, Socket,
    adapter::target::{RoomNames, Target, add_rooms},
    adapter::{AdapterError, RemoteSocket},
    wire::packet::check_name,
};

/// Selects the sockets that an emit or a command reaches. Each selecting method returns a changed operator.
#[derive(Debug, Clone)]
#[must_use = "an operator does nothing until something is emitted through it"]
pub struct Operator {
    place: Place,
    target: Target,
    timeout: Option<Duration>,
}

/// The namespaces whose sockets an operator selects from.
#[derive(Debug, Clone)]
enum Place {
    One(Namespace),
    Children(ParentNamespace),
}

impl Operator {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { place: Place::One(namespace), target: Target::default(), timeout: None }
    }

    /// Makes an operator for the sockets of all children. It looks the children up each time it emits or commands.
    pub(crate) fn of_children(parent: ParentNamespace) -> Self {
        Self { place: Place::Children(parent), target: Target::default(), timeout: None }
    }

    /// Adds the members of these rooms. A socket in several of them receives once.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        add_rooms(&mut self.target.rooms, rooms);
        self
    }

    /// Excludes the members of these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        add_rooms(&mut self.target.except, rooms);
        self
    }

    /// Makes emits volatile: a socket that is not ready to receive does not get the event.
    pub fn volatile(mut self) -> Self {
        self.target.volatile = true;
        self
    }

    /// Restricts the selection to sockets of this server.
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
        let namespaces = self.namespaces_to_hear(event)?;
        namespaces.iter().try_for_each(|namespace| namespace.broadcast(event, &args, &self.target))
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Emits an event to every selected socket of this server and asks each for an acknowledgement. The result is a
    /// stream of the answers; [`collect`](BroadcastAcks::collect) waits for all of them.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Arguments,
    ) -> Result<BroadcastAcks<T>, EmitError> {
        let id = self.namespace().next_ack_id();
        let (sender, answers) = mpsc::unbounded_channel();
        let mut acks = BroadcastAcks::new(id, answers, self.ack_timeout());
        for namespace in self.namespaces_to_hear(event)?.iter() {
            acks.expect(namespace.ask(event, id, &args, &self.target, &sender)?);
        }
        Ok(acks)
    }

    /// The selected sockets of this server.
    pub fn sockets(&self) -> Vec<Socket> {
        self.namespaces().iter().flat_map(|namespace| namespace.local().sockets(&self.target)).collect()
    }

    /// Fetches descriptions of the selected sockets of every server.
    ///
    /// # Errors
    /// If another server does not answer in time.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AdapterError> {
        let mut sockets = Vec::new();
        for namespace in self.namespaces().iter() {
            let fetched = namespace.adapter().fetch_sockets(&self.target).await?;
            sockets.extend(fetched.into_iter().map(|data| RemoteSocket::new(namespace.clone(), data)));
        }
        Ok(sockets)
    }

    /// Makes the selected sockets join rooms. A socket that would be in more than `max_rooms` joins none of them.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let mut names = RoomNames::new();
        add_rooms(&mut names, rooms);
        for namespace in self.namespaces().iter() {
            namespace.adapter().join(&self.target, &names, namespace.config().max_rooms);
        }
    }

    /// Makes the selected sockets leave rooms.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let mut names = RoomNames::new();
        add_rooms(&mut names, rooms);
        self.namespaces().iter().for_each(|namespace| namespace.adapter().leave(&self.target, &names));
    }

    /// Disconnects the selected sockets from the namespace, as [`Socket::disconnect`] does.
    pub fn disconnect_sockets(&self) {
        self.namespaces().iter().for_each(|namespace| namespace.adapter().disconnect(&self.target));
    }

    /// Closes the connections of the selected sockets, as [`Socket::close`] does.
    pub fn close_sockets(&self) {
        self.namespaces().iter().for_each(|namespace| namespace.adapter().close(&self.target));
    }

    /// Emits an event to the other servers of the cluster, not to any client.
    ///
    /// # Errors
    /// If the data cannot be serialised.
    pub fn server_side_emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        let args = ArgsBuf::new(&args)?;
        self.namespaces().iter().for_each(|namespace| namespace.adapter().server_side_emit(event, &args));
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
        let mut answers = Vec::new();
        for namespace in self.namespaces().iter() {
            let asked = namespace.adapter().server_side_emit_with_ack(event, &args, self.ack_timeout());
            answers.extend(asked.await?);
        }
        Ok(answers)
    }

    fn ack_timeout(&self) -> Duration {
        self.timeout.unwrap_or(self.namespace().config().ack_timeout)
    }

    /// The namespace, or the template of the children.
    fn namespace(&self) -> &Namespace {
        match &self.place {
            Place::One(namespace) => namespace,
            Place::Children(parent) => parent.template(),
        }
    }

    fn namespaces(&self) -> Cow<'_, [Namespace]> {
        match &self.place {
            Place::One(namespace) => std::slice::from_ref(namespace).into(),
            Place::Children(parent) => parent.children().into(),
        }
    }

    /// The namespaces in which an event is emitted. Each namespace checks the event's name; this checks it too, in case
    /// there are no children.
    fn namespaces_to_hear(&self, event: &str) -> Result<Cow<'_, [Namespace]>, EmitError> {
        if let Place::Children(_) = &self.place {
            check_name(event)?;
        }
        Ok(self.namespaces())
    }
}

/// Emits to one socket, volatile or with another timeout. [`Socket::volatile`] and [`Socket::timeout`] return it.
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

    /// Makes emits volatile: the event is dropped unless the client is ready to receive it.
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
            // The event gets its offset and is sent under the recovery lock, like a broadcast.
            Some(_) => {
                let mut target = Target { local: true, volatile: self.volatile, ..Target::default() };
                target.rooms.push(self.socket.id().as_str().into());
                namespace.broadcast(event, &args, &target)
            }
            None => self.socket.emit_expecting(event, None, &args),
        }
    }

    /// Emits an event and waits for the client's acknowledgement.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        let timeout = self.timeout.unwrap_or(self.socket.namespace().config().ack_timeout);
        self.socket.emit_with_ack_within(timeout, event, &args)
    }

    /// Emits an event and calls `callback` with the client's acknowledgement, as [`Socket::emit_with_callback`] does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn emit_with_callback<T, F, Fut>(&self, event: &str, args: impl Arguments, callback: F)
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.emit_with_ack(event, args).call_with_answer(self.socket.namespace().clone(), callback);
    }
}
