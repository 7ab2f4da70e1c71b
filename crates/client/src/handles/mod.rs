//! The handles that users hold: the manager, its sockets, and what these hand out.
pub(crate) mod ack;
pub(crate) mod emit;
pub(crate) mod event;
pub mod handler;
pub(crate) mod manager;
mod registration;
pub(crate) mod socket;
