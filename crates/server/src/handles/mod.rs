//! The types that users of the crate hold: the server, its namespaces, their sockets, operators that emit, and
//! acknowledgements.
pub(crate) mod ack;
pub(crate) mod common;
pub(crate) mod direct;
mod jobs;
pub(crate) mod namespace;
mod namespaces;
pub(crate) mod operator;
mod outgoing;
pub(crate) mod parent;
pub(crate) mod pending_acks;
mod recipient;
mod registration;
pub(crate) mod registry;
pub(crate) mod remote_socket;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod test_client;
