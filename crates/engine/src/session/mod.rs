//! One session: its state, the task that drives it, and the writing of what was sent over it.
mod application;
mod backpressure;
mod batch;
pub(crate) mod context;
pub(crate) mod core;
pub(crate) mod deadlines;
pub(crate) mod driver;
pub(crate) mod eviction;
pub(crate) mod flusher;
mod handle;
mod hang_up;
pub(crate) mod opening;
pub(crate) mod permits;
mod pipelining;
mod reading;
pub(crate) mod requests;
pub(crate) mod table;
pub(crate) mod turn;
pub(crate) mod upgrade;

pub use application::{Application, Message, SessionHandler};
pub use batch::Batch;
pub use handle::{SendError, Session};
pub use permits::{ConnectionPermit, ConnectionPermits, PermitError, PermitLimits, client_address};
