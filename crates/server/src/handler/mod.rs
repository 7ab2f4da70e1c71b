//! Handlers: async functions and closures whose parameters say what they need.
//!
//! A parameter is any type that can be [extracted](FromContext) from what happened: [`Socket`], [`Data`](crate::Data),
//! [`Args`](crate::Args), [`Ack`], [`State`](crate::State) and others, or types of your own:
//!
//! ```
//! use sockeye::{
//!     Server, Socket,
//!     handler::{FromContext, HasSocket, Rejection},
//! };
//!
//! /// What the client says it is written in.
//! struct Agent(Option<String>);
//!
//! impl<C: HasSocket<Socket = Socket>> FromContext<C> for Agent {
//!     fn from_context(context: &mut C) -> Result<Self, Rejection> {
//!         Ok(Self(context.socket().handshake().header("user-agent").map(str::to_owned)))
//!     }
//! }
//!
//! Server::new().of("/").on("agent", async |Agent(agent): Agent| agent);
//! ```
//!
//! One that only events have is made for their context alone: `impl FromContext<EventContext<'_>> for Mine`.
mod admission;
mod extract;
mod kind;
pub(crate) mod table;

use std::sync::Arc;

use crate::Socket;

pub use admission::Admission;
pub use extract::{Auth, HandshakeRef, Reason};
pub use kind::{ConnectContext, DisconnectContext, EventContext, OnConnect, OnDisconnect, OnEvent};
#[doc(inline)]
pub use sockeye_handler::{
    AckId, Acknowledge, FromContext, Handler, HandlerFailure, HandlerFuture, HandlerKind, HasSocket, HasState,
    IntoOutput, Parameters, Payload, Rejection,
};
pub(crate) use sockeye_handler::{ErasedHandler, erase};

/// The acknowledgement of an event. A handler that takes it as a parameter sends the acknowledgement itself, at any time, by
/// [`send`](sockeye_handler::Ack::send). Without it, the handler's result is sent.
///
/// ```
/// use sockeye::{Ack, Server};
/// Server::new().of("/").on("later", async |ack: Ack| {
///     tokio::spawn(async move { ack.send("done") });
/// });
/// ```
pub type Ack = sockeye_handler::Ack<Socket>;

/// An event whose handler failed, as the handlers of [`on_error`](crate::Namespace::on_error) see it.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedEvent<'a> {
    /// The socket that sent the event.
    pub socket: &'a Socket,
    /// The event's name.
    pub event: &'a str,
    /// Why the handler failed.
    pub failure: &'a HandlerFailure,
}

impl FailedEvent<'_> {
    /// The text that the client receives if there is no error handler.
    pub fn message(&self) -> String {
        self.failure.message()
    }
}

pub(crate) type ErrorHandler = Arc<dyn Fn(&FailedEvent<'_>) -> crate::Reply + Send + Sync>;
