use serde_json::value::RawValue;

use super::{Admission, HandlerKind, HasSocket};
use crate::{DisconnectReason, HandlerError, Socket};

/// Handlers of clients that ask to join a namespace.
#[derive(Debug)]
pub struct OnConnect;

/// Handlers of events.
pub type OnEvent = sockeye_handler::OnEvent<Socket>;

/// Handlers of sockets that left their namespace.
#[derive(Debug)]
pub struct OnDisconnect;

/// What connect handlers and middleware extract their parameters from.
#[derive(Debug)]
pub struct ConnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) auth: Option<&'a RawValue>,
}

/// What event handlers extract their parameters from.
pub type EventContext<'a> = sockeye_handler::EventContext<'a, Socket>;

/// What disconnect handlers extract their parameters from.
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

impl HandlerKind for OnDisconnect {
    type Context<'a> = DisconnectContext<'a>;
    type Output = Result<(), HandlerError>;
}
