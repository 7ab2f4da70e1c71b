//! A server's connection with the other servers of its cluster.
use std::{fmt, sync::Arc, time::Duration};

use hashbrown::HashSet;
use sockeye::{Adapter, adapter::AdapterFactory};
use tokio::runtime::Handle;

use crate::{
    adapter::ClusterAdapter,
    bus::{Bus, BusStatus},
    message::{Body, Heartbeat},
    node::{Node, Settings},
    sender::Name,
};

/// The connection of one server with the others. Cheap to clone.
///
/// It joins its buses at once and again whenever a broker was away. Meanwhile what is done on this server goes on, and
/// emits wait in a bounded outbox. When the last handle and the server are dropped, it leaves the buses.
#[derive(Clone)]
pub struct Cluster(Arc<Node>);

/// Collects the buses and settings of a [`Cluster`].
#[must_use = "the cluster is joined by `join`"]
pub struct ClusterBuilder {
    buses: Vec<Bus>,
    settings: Settings,
}

/// Why a cluster cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// `join` was called outside of a tokio runtime, which runs the connections.
    #[error("a cluster can only be joined inside a tokio runtime")]
    NoRuntime,
    /// Two buses have the same name.
    #[error("two buses have the name `{0}`; give each its own with `Bus::name`")]
    DoubledName(String),
    /// The system gives no random numbers for the server's name.
    #[error("cannot make a name for this server")]
    Random(#[source] getrandom::Error),
}

impl Cluster {
    /// A builder without buses.
    pub fn builder() -> ClusterBuilder {
        let settings = Settings { request_timeout: Duration::from_secs(5), bridges: false };
        ClusterBuilder { buses: Vec::new(), settings }
    }

    /// Makes the adapters of a server's namespaces: `Server::builder().adapter(cluster.adapter())`.
    pub fn adapter(&self) -> AdapterFactory {
        let inner = self.0.clone();
        Arc::new(move |delivery| -> Arc<dyn Adapter> { Arc::new(ClusterAdapter::new(inner.clone(), delivery)) })
    }

    /// The random name under which this server sends.
    pub fn id(&self) -> &str {
        self.0.name.plain()
    }

    /// The state of every bus, in the order in which they were added.
    pub fn status(&self) -> Vec<BusStatus> {
        self.0.buses.iter().map(|bus| bus.status()).collect()
    }

    /// Waits until every bus is up: what is published leaves, and what is subscribed arrives.
    pub async fn up(&self) {
        for bus in &self.0.buses {
            // It does not fail, because the sender lives as long as the bus.
            let mut up = bus.link.up.subscribe();
            let _up = up.wait_for(|up| *up).await;
        }
    }

    /// Says goodbye and waits until everything published has left, at most this long.
    pub async fn close(&self, timeout: Duration) {
        for bus in self.0.buses.iter().filter(|bus| bus.format.abilities().heartbeats) {
            for namespace in bus.namespaces() {
                bus.publish_or_log(&self.0.message(&namespace, Body::Heartbeat(Heartbeat::Stopping)));
            }
        }
        let left = async {
            for bus in &self.0.buses {
                bus.link.outbox.emptied().await;
            }
        };
        // What has not left until then is lost, as the caller has decided.
        let _late = tokio::time::timeout(timeout, left).await;
        self.0.stop();
    }
}

impl ClusterBuilder {
    /// Adds a bus.
    pub fn bus(mut self, bus: Bus) -> Self {
        self.buses.push(bus);
        self
    }

    /// How long other servers have to answer a request. Default 5 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// Makes this server pass on what arrives by one bus to its other buses, so that servers of different kinds reach each
    /// other's clients. Exactly one server that is on the same buses may do that, or clients get events twice. Requests
    /// and acknowledgements are not passed on. Default false.
    pub fn bridge(mut self, bridges: bool) -> Self {
        self.settings.bridges = bridges;
        self
    }

    /// Joins the buses. It does not wait for them: [`Cluster::up`] does.
    ///
    /// # Errors
    /// Outside of a tokio runtime, or if two buses have the same name.
    pub fn join(self) -> Result<Cluster, JoinError> {
        let runtime = Handle::try_current().map_err(|_| JoinError::NoRuntime)?;
        let mut names = HashSet::new();
        if let Some(doubled) = self.buses.iter().find(|bus| !names.insert(bus.name.clone())) {
            return Err(JoinError::DoubledName(doubled.name.to_string()));
        }
        let name = Name::random().map_err(JoinError::Random)?;
        Ok(Cluster(Node::start(name, self.settings, runtime, self.buses)))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("id", &self.id()).field("buses", &self.status()).finish()
    }
}
