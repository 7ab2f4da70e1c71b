//! One socket's work: what waits for its handlers, and what it has emitted but not sent yet.
pub(crate) mod buffer;
pub(crate) mod inbox;
pub(crate) mod retry;
