//! Joins Sockeye servers with each other and with the Node.js and Python servers of a cluster.
mod adapter;
mod bus;
mod cluster;
mod emitter;
pub mod format;
pub mod message;
mod node;
#[cfg(any(feature = "amqp", feature = "nats", feature = "postgres", feature = "redis"))]
mod open;
pub mod outbox;
mod rejoin;
mod requests;
mod sender;
mod servers;
pub mod subscriptions;
pub mod transport;

pub use bus::{Bus, BusStatus};
pub use cluster::{Cluster, ClusterBuilder, JoinError};
pub use emitter::{Emitter, EmitterError, FlushError, Selection};
#[cfg(any(feature = "amqp", feature = "nats", feature = "postgres", feature = "redis"))]
pub use open::{BusFormat, OpenError, UnknownFormat};
