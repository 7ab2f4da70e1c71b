//! Joins Sockeye servers with each other and with the Node.js and Python servers of a cluster.
pub mod format;
pub mod message;
pub mod outbox;
pub mod subscriptions;
pub mod transport;
