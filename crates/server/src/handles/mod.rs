//! The types that users of the crate hold: the server, its namespaces, their sockets, operators that emit, and
//! acknowledgements.
pub(crate) mod ack;
pub(crate) mod jobs;
pub(crate) mod namespace;
pub(crate) mod operator;
pub(crate) mod outgoing;
pub(crate) mod parent;
pub(crate) mod registry;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod test_client;
