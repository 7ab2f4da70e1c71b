//! The task of a manager: it connects, reads, dispatches packets to the sockets, runs handlers, writes, and reconnects.
mod authentication;
mod dispatch;
mod driver;
mod inbox;

pub(crate) use driver::start;
