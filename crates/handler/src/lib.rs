//! Handlers: async functions and closures whose parameters say what they need, and whose results say what is answered.
//!
//! The server and the client are built on this crate and re-export what is in it, so that handlers look the same on both
//! sides. Each of them adds its [kinds](HandlerKind) of handlers and what can be [extracted](FromContext) for those alone.
mod ack;
mod acknowledge;
mod error;
mod event;
mod extract;
mod failure;
mod guard;
mod handler;
mod kind;
mod named;
mod rejection;
mod reply;
mod runner;
mod sequence;
mod shape;
mod state;
mod values;

pub use ack::Ack;
pub use acknowledge::{AckId, Acknowledge};
pub use error::{HandlerError, with_causes};
pub use event::{EventContext, OnEvent};
pub use extract::{Args, Binary, Data, EventName, FromContext, Parameters, Payload, RawArgs};
pub use failure::HandlerFailure;
pub use guard::{INTERNAL, guard, guarded};
pub use handler::{AnyHandler, ErasedHandler, Handler, HandlerFn, HandlerFuture, erase};
pub use kind::{HandlerKind, HasSocket, IntoOutput};
pub use named::Named;
pub use rejection::Rejection;
pub use reply::{IntoReply, Reply, ReplyData};
pub use runner::{EventHandlers, Queued, QueuedEvent, Runner, RunnerSocket};
pub use sequence::Sequence;
pub use shape::{decode_answer, error_of_answer};
pub use state::{HasState, State};
pub use values::Values;
