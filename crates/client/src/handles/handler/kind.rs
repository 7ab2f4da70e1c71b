use super::{HandlerKind, HasSocket};
use crate::{ConnectError, DisconnectReason, Socket};

/// The socket is connected.
#[derive(Debug)]
pub struct OnConnect;

/// Handlers of events.
pub type OnEvent = sockeye_handler::OnEvent<Socket>;

/// The socket is no longer connected.
#[derive(Debug)]
pub struct OnDisconnect;

/// The socket could not be connected.
#[derive(Debug)]
pub struct OnConnectError;

/// What is known when the socket is connected.
#[derive(Debug)]
pub struct ConnectContext<'a> {
    pub(crate) socket: &'a Socket,
}

/// What is known of an event.
pub type EventContext<'a> = sockeye_handler::EventContext<'a, Socket>;

/// What is known of a socket that is no longer connected.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}

/// What is known of a socket that could not be connected.
#[derive(Debug)]
pub struct ConnectErrorContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) error: &'a ConnectError,
}

macro_rules! handler_kind {
    ($($kind:ident $context:ident;)*) => {$(
        impl HasSocket for $context<'_> {
            type Socket = Socket;

            fn socket(&self) -> &Socket {
                self.socket
            }
        }

        impl HandlerKind for $kind {
            type Context<'a> = $context<'a>;
            type Output = ();
        }
    )*};
}

handler_kind! {
    OnConnect ConnectContext;
    OnDisconnect DisconnectContext;
    OnConnectError ConnectErrorContext;
}
