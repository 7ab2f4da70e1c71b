//! The task of a manager: it connects, reads, dispatches packets to the sockets, writes, and reconnects.
pub(crate) mod backoff;
pub(crate) mod core;
pub(crate) mod driver;
pub(crate) mod hub;
