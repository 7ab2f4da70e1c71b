use sockeye_protocol::socketio::Args;

use crate::{AckId, HasSocket};

/// What is known of an event.
#[derive(Debug)]
pub struct EventContext<'a, Socket> {
    socket: &'a Socket,
    name: &'a str,
    args: Args<'a>,
    ack: Option<AckId>,
    is_ack_taken: bool,
}

impl<'a, Socket> EventContext<'a, Socket> {
    /// An event that has come for a socket, with the id to acknowledge it by if the peer asked for that.
    pub fn new(socket: &'a Socket, name: &'a str, args: Args<'a>, ack: Option<AckId>) -> Self {
        Self { socket, name, args, ack, is_ack_taken: false }
    }

    /// The event's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The event's arguments, still encoded.
    pub fn args(&self) -> Args<'a> {
        self.args
    }

    /// Takes the acknowledgement upon the caller, so that the handler's result is not the answer. `None` if the peer
    /// did not ask for one.
    pub fn take_ack(&mut self) -> Option<AckId> {
        self.is_ack_taken = true;
        self.ack
    }

    /// Whether somebody has [taken](Self::take_ack) the acknowledgement upon himself.
    pub fn is_ack_taken(&self) -> bool {
        self.is_ack_taken
    }
}

impl<Socket> HasSocket for EventContext<'_, Socket> {
    type Socket = Socket;

    fn socket(&self) -> &Socket {
        self.socket
    }
}
