use serde_json::value::RawValue;

use super::{Admission, HandlerKind, HasSocket};
use crate::{DisconnectReason, Reply, Socket};

/// A client asks to join a namespace.
#[derive(Debug)]
pub struct OnConnect;

/// A client has sent an event.
#[derive(Debug)]
pub struct OnEvent;

/// A socket has left its namespace.
#[derive(Debug)]
pub struct OnDisconnect;

/// What is known when a client asks to join.
#[derive(Debug)]
pub struct ConnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) auth: Option<&'a RawValue>,
}

/// What is known of an event.
pub type EventContext<'a> = sockeye_handler::EventContext<'a, Socket>;

/// What is known of a socket that has left.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}

impl HasSocket for ConnectContext<'_> {
    type Socket = Socket;

    fn socket(&self) -> &Socket {
        self.socket
    }
}

impl HasSocket for DisconnectContext<'_> {
    type Socket = Socket;

    fn socket(&self) -> &Socket {
        self.socket
    }
}

impl HandlerKind for OnConnect {
    type Context<'a> = ConnectContext<'a>;
    type Output = Admission;
}

impl HandlerKind for OnEvent {
    type Context<'a> = EventContext<'a>;
    type Output = Reply;
}

impl HandlerKind for OnDisconnect {
    type Context<'a> = DisconnectContext<'a>;
    type Output = ();
}
