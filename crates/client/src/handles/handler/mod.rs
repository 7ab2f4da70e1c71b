//! Handlers: async functions and closures whose parameters say what they need.
//!
//! A parameter is any type that can be [extracted](FromContext) from what happened: [`Socket`], [`Data`](crate::Data),
//! [`Args`](crate::Args), [`Ack`], [`State`](crate::State) and others, or types of your own. They look as
//! those of the server's handlers do.
mod extract;
mod kind;

use crate::Socket;

pub use extract::Reason;
pub use kind::{
    ConnectContext, ConnectErrorContext, DisconnectContext, EventContext, OnConnect, OnConnectError, OnDisconnect,
    OnEvent,
};
#[doc(inline)]
pub use sockeye_handler::{
    AckId, Acknowledge, FromContext, Handler, HandlerFuture, HandlerKind, HasSocket, HasState, IntoOutput, Rejection,
};
pub(crate) use sockeye_handler::{ErasedHandler, erase};

/// The server's wish for an acknowledgement. A handler that takes it answers it itself, when it likes, by
/// [`send`](sockeye_handler::Ack::send); without it the handler's result is the answer.
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
