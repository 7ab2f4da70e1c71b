use std::marker::PhantomData;

use sockeye_protocol::socketio::Args;

use crate::{AckId, HandlerKind, HasSocket, Reply};

/// Handlers of events that came for this kind of socket.
#[derive(Debug)]
pub struct OnEvent<Socket>(PhantomData<fn(Socket)>);

impl<Socket: 'static> HandlerKind for OnEvent<Socket> {
    type Context<'a> = EventContext<'a, Socket>;
    type Output = Reply;
}

/// What a handler of events extracts its parameters from.
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

    /// The id to acknowledge the event by, if the peer asked for that.
    pub fn ack(&self) -> Option<AckId> {
        self.ack
    }

    /// Returns the id to acknowledge the event by, if the peer asked for that. It is then up to the caller to send the
    /// acknowledgement; the handler's result is not sent.
    pub fn take_ack(&mut self) -> Option<AckId> {
        self.is_ack_taken = true;
        self.ack
    }

    /// Whether [`take_ack`](Self::take_ack) was called.
    pub fn is_ack_taken(&self) -> bool {
        self.is_ack_taken
    }
}

impl<Socket> HasSocket for EventContext<'_, Socket> {
    type Socket = Socket;

    fn socket(&self) -> &Socket {
        self.socket
    }

    fn wants_output(&self) -> bool {
        self.ack.is_some() && !self.is_ack_taken
    }
}
