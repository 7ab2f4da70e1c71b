use std::{borrow::Cow, time::Duration};

use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::{ArgsBuf, Arguments};
use tokio::sync::mpsc;

use crate::{
    BroadcastAcks, EmitError, IntoRooms, Namespace, ParentNamespace, Socket,
    adapter::AdapterError,
    adapter::target::{RoomNames, Target, add_rooms},
    wire::packet::check_name,
};

/// Selects the sockets that an emit or a command reaches. Each selecting method returns a changed operator.
#[derive(Debug, Clone)]
#[must_use = "an operator does nothing until something is emitted through it"]
pub struct Operator {
    place: Place,
    pub(crate) target: Target,
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

    /// Emits an event to every selected socket and asks each for an acknowledgement. The result is a stream of the
    /// answers; [`collect`](BroadcastAcks::collect) waits for all of them.
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
            let adapter = namespace.adapter();
            if adapter.wants_arguments() && !self.target.local {
                let args = ArgsBuf::new(&args)?;
                acks.expect_elsewhere(adapter.broadcast_with_ack(event, &args, &self.target, self.ack_timeout()));
            }
        }
        Ok(acks)
    }

    /// The selected sockets of this server.
    pub fn sockets(&self) -> Vec<Socket> {
        self.namespaces().iter().flat_map(|namespace| namespace.local().sockets(&self.target)).collect()
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

    pub(crate) fn namespaces(&self) -> Cow<'_, [Namespace]> {
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

/// Defines the methods that select sockets, alike for both kinds of namespace.
macro_rules! selection {
    ($($Kind:ident),*) => {$(
        impl $Kind {
            /// Events emitted through the result reach the members of these rooms.
            pub fn to(&self, rooms: impl IntoRooms) -> Operator {
                self.everyone().to(rooms)
            }

            /// Events emitted through the result do not reach the members of these rooms.
            pub fn except(&self, rooms: impl IntoRooms) -> Operator {
                self.everyone().except(rooms)
            }

            /// Events emitted through the result are dropped for sockets that are not ready to receive.
            pub fn volatile(&self) -> Operator {
                self.everyone().volatile()
            }

            /// Events emitted through the result reach only sockets of this server.
            pub fn local_only(&self) -> Operator {
                self.everyone().local_only()
            }

            /// Emits through the result wait this long for acknowledgements.
            pub fn timeout(&self, timeout: Duration) -> Operator {
                self.everyone().timeout(timeout)
            }

            /// Emits an event to every socket of the namespace, or of every child of the parent. Pass `&data` for one
            /// argument, a tuple for several, `()` for none.
            ///
            /// # Errors
            /// If the data cannot be serialised, or the name is reserved.
            pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
                self.everyone().emit(event, args)
            }

            /// Emits the event `message` to the same sockets.
            ///
            /// # Errors
            /// As [`emit`](Self::emit).
            pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
                self.emit("message", args)
            }
        }
    )*};
}

selection!(Namespace, ParentNamespace);

impl Namespace {
    /// An operator that selects every socket of the namespace.
    pub fn everyone(&self) -> Operator {
        Operator::new(self.clone())
    }
}

impl ParentNamespace {
    /// An operator that selects every socket of every child.
    pub fn everyone(&self) -> Operator {
        Operator::of_children(self.clone())
    }
}

/// Broadcasts that leave out the socket itself.
impl Socket {
    /// Events emitted through the result reach the other sockets of the namespace, not this one.
    pub fn broadcast(&self) -> Operator {
        Operator::new(self.namespace().clone()).except(self.id())
    }

    /// Events emitted through the result reach the members of these rooms, but not this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> Operator {
        self.broadcast().to(rooms)
    }

    /// Events emitted through the result reach the other sockets of the namespace, except the members of these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Operator {
        self.broadcast().except(rooms)
    }
}
