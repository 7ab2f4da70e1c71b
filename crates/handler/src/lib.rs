//! Handlers: async functions and closures whose parameters say what they need, and whose results say what is answered.
//!
//! The server and the client stand on this crate and hand on what is in it, so that handlers look the same on both
//! sides. Each of them adds its [occasions](Occasion) and what can be [extracted](FromContext) from those alone.
mod ack;
mod event;
mod extract;
mod guard;
mod handler;
mod named;
mod occasion;
mod rejection;
mod reply;
mod state;
mod values;

pub use ack::{Ack, AckId, Acknowledge};
pub use event::EventContext;
pub use extract::{Args, Binary, Data, EventName, FromContext, RawArgs};
pub use guard::{INTERNAL, guard};
pub use handler::{AnyHandler, ErasedHandler, Handler, HandlerFuture, IntoOutput, erase};
pub use named::Named;
pub use occasion::{HasSocket, Occasion};
pub use rejection::Rejection;
pub use reply::{IntoReply, Reply};
pub use state::{HasState, State};
pub use values::Values;
