//! What users hold: the manager, its sockets, and what they hand out.
pub(crate) mod ack;
#[cfg(feature = "blocking")]
pub mod blocking;
pub(crate) mod event;
pub mod handler;
pub(crate) mod lifecycle;
pub(crate) mod manager;
pub(crate) mod socket;
