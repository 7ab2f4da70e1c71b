//! Handlers: async functions and closures whose parameters say what they need.
//!
//! A parameter is any type that can be [extracted](FromContext) from what happened: [`Socket`], [`Data`](crate::Data),
//! [`Args`](crate::Args), [`Ack`], [`State`](crate::State) and others, or types of your own. They look as
//! those of the server's handlers do.
use std::sync::Arc;

#[doc(inline)]
pub use sockeye_handler::{
    AckId, Acknowledge, FromContext, Handler, HandlerFuture, HandlerKind, HasSocket, HasState, IntoOutput, Rejection,
};
pub(crate) use sockeye_handler::{ErasedHandler, erase};

use crate::{ConnectError, DisconnectReason, HandlerError, Socket};

/// Handlers of sockets that are connected.
#[derive(Debug)]
pub struct OnConnect;

/// Handlers of events.
pub type OnEvent = sockeye_handler::OnEvent<Socket>;

/// Handlers of sockets that were connected and are not any more.
#[derive(Debug)]
pub struct OnDisconnect;

/// Handlers of attempts to connect that failed.
#[derive(Debug)]
pub struct OnConnectError;

/// What connect handlers extract their parameters from.
#[derive(Debug)]
pub struct ConnectContext<'a> {
    pub(crate) socket: &'a Socket,
}

/// What event handlers extract their parameters from.
pub type EventContext<'a> = sockeye_handler::EventContext<'a, Socket>;

/// What disconnect handlers extract their parameters from.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}

/// What handlers of connect errors extract their parameters from.
#[derive(Debug)]
pub struct ConnectErrorContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) error: &'a ConnectError,
}

macro_rules! lifecycle_kinds {
    ($($kind:ident $context:ident;)*) => {$(
        impl HasSocket for $context<'_> {
            type Socket = Socket;

            fn socket(&self) -> &Socket {
                self.socket
            }
        }

        impl HandlerKind for $kind {
            type Context<'a> = $context<'a>;
            type Output = Result<(), HandlerError>;
        }
    )*};
}

lifecycle_kinds! {
    OnConnect ConnectContext;
    OnDisconnect DisconnectContext;
    OnConnectError ConnectErrorContext;
}

/// The acknowledgement of an event. A handler that takes it as a parameter sends the acknowledgement itself, at any time, by
/// [`send`](sockeye_handler::Ack::send). Without it, the handler's result is sent.
///
/// ```
/// # fn example(socket: &sockeye_client::Socket) {
/// use sockeye_client::Ack;
/// socket.on("later", async |ack: Ack| {
///     tokio::spawn(async move { ack.send("done") });
/// });
/// # }
/// ```
pub type Ack = sockeye_handler::Ack<Socket>;

/// Why the socket is no longer connected.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub DisconnectReason);

impl<C: HasSocket<Socket = Self>> FromContext<C> for Socket {
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

impl HasState for Socket {
    const OWNER: &'static str = "the manager";
    const BUILDER: &'static str = "Manager::builder(url)";

    fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.manager().state()
    }
}

impl FromContext<DisconnectContext<'_>> for Reason {
    fn from_context(context: &mut DisconnectContext<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.reason))
    }
}

impl FromContext<ConnectErrorContext<'_>> for ConnectError {
    fn from_context(context: &mut ConnectErrorContext<'_>) -> Result<Self, Rejection> {
        Ok(context.error.clone())
    }
}
