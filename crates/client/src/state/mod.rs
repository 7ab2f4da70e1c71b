//! What the handles of a manager and its task share: the sockets, their membership, and what waits to be sent.
pub(crate) mod handlers;
pub(crate) mod lifecycle;
pub(crate) mod retry;
pub(crate) mod shared;
pub(crate) mod socket;
