//! Transports: they carry publications to a broker and bring what arrives. A transport knows no format.
#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(any(feature = "nats", feature = "postgres"))]
mod hosts;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{format::Received, outbox::Outbox, subscriptions::Subscriptions};

/// A connection to a broker, which is made again whenever it breaks.
pub trait Transport: Send + Sync + 'static {
    /// Connects, subscribes and carries until the connection breaks, or a part of it. Takes publications from
    /// `link.outbox`, in order, and tells it of each whether it has been [sent](Outbox::sent) or is [put
    /// back](Outbox::put_back), which it is if it cannot have left. Keeps what is subscribed equal to `link.subscriptions`, and sets
    /// `link.up` when all subscriptions are in effect and publications leave.
    ///
    /// The caller calls it again, with a growing and jittered pause of at most two seconds.
    fn run(&self, link: Arc<Link>) -> TransportFuture<()>;

    /// How many servers listen to a channel, this one included; none if the broker does not tell.
    fn listeners(&self, channel: &str) -> TransportFuture<Option<usize>>;
}

/// The future that a transport returns.
pub type TransportFuture<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// What a transport and the servers' side of the bus share.
pub struct Link {
    /// What is to be published.
    pub outbox: Outbox,
    /// What is to be subscribed.
    pub subscriptions: Subscriptions,
    /// Whether the transport publishes and hears everything.
    pub up: watch::Sender<bool>,
    /// Takes what has arrived. It never waits. If it returns a number, the transport fetches what is stored under it and
    /// delivers that.
    pub deliver: Deliver,
    /// How long nothing may come from the broker before the transport asks it whether it still listens.
    pub keep_alive: Duration,
}

/// Takes what has arrived, and may return the number of an attachment.
pub type Deliver = Box<dyn Fn(&Received<'_>) -> Option<u64> + Send + Sync>;

/// Why a transport has lost its broker, or cannot reach it. The text names no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The broker cannot be reached, or the connection broke.
    #[error("the connection to {address} failed")]
    Connection {
        /// Host and port, without credentials.
        address: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The broker refuses: credentials, permissions, or an object of another kind.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// Host and port, without credentials.
        address: String,
        /// What is refused, and what to do.
        reason: String,
    },
    /// The broker has been silent for too long.
    #[error("{address} has not answered for {} seconds", .silence.as_secs())]
    Silent {
        /// Host and port, without credentials.
        address: String,
        /// How long.
        silence: Duration,
    },
    /// The address of the bus is not of the right form.
    #[error("not an address of this bus: {0}")]
    Address(String),
}
