//! One session: its state, the task that drives it, and the writing of what was sent over it.
mod batch;
pub(crate) mod driver;
pub(crate) mod flusher;
mod heartbeat;
pub(crate) mod opening;
mod pipelining;
pub(crate) mod seats;
pub(crate) mod state;

pub use batch::Batch;
pub use state::{SendError, Session};
