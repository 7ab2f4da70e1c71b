//! Builds the parts of the server and serves them.
use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use http::StatusCode;
use sockeye::{Graceful, Server};
use sockeye_cluster::Cluster;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};

use crate::{
    chat::Chat,
    gateway::Gateway,
    pages::{self, Monitor},
    settings::Settings,
};

/// The server with everything it serves.
pub(crate) struct App {
    server: Server,
    gateway: Arc<Gateway>,
    drain_limit: Duration,
    is_draining: Arc<AtomicBool>,
    cluster: Option<Cluster>,
}

impl App {
    /// Builds the server for these addresses, and joins the cluster if there is one.
    pub(crate) fn new(settings: &Settings, addresses: &[SocketAddr], cluster: Option<Cluster>) -> Self {
        let chat = Arc::new(Chat::new(settings));
        let builder = Server::builder().config(settings.server(addresses)).state(chat.clone());
        let builder = match &cluster {
            Some(cluster) => builder.adapter(cluster.adapter()),
            None => builder,
        };
        let server = builder.build();
        Chat::attach(&server);
        let gateway = Arc::new(Gateway::new(server.clone(), chat, settings));
        let (counted, plain) = (server.clone(), gateway.clone());
        Monitor::attach(&server, settings.monitor_interval, move || counted.connection_count() + plain.len());
        Self { server, gateway, drain_limit: settings.drain_limit, is_draining: Arc::default(), cluster }
    }

    /// Serves until `stop` completes. Then it accepts no more connections, closes the open ones, and returns when they
    /// have ended, or after `drain_limit`.
    pub(crate) async fn serve(mut self, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) {
        let router = self.router();
        let mut deadline = None;
        let stop = async {
            stop.await;
            deadline = Some(Instant::now() + self.drain_limit);
            self.is_draining.store(true, Ordering::Relaxed);
            self.gateway.close();
        };
        self.server.serve_with(listeners, router, Graceful { stop, limit: self.drain_limit }).await;
        if let Some(cluster) = self.cluster.take() {
            cluster.close(FAREWELL).await;
        }
        let deadline = deadline.unwrap_or_else(Instant::now);
        if timeout_at(deadline, self.gateway.closed()).await.is_err() {
            tracing::warn!(
                connections = self.gateway.len(),
                "stopping; some plain WebSockets did not close within `drain_limit`"
            );
        }
    }

    /// Everything but Socket.IO.
    fn router(&self) -> Router {
        let is_draining = self.is_draining.clone();
        let health = move || {
            std::future::ready(match is_draining.load(Ordering::Relaxed) {
                true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
                false => (StatusCode::OK, "ok"),
            })
        };
        let (is_draining, cluster) = (self.is_draining.clone(), self.cluster.clone());
        let readiness = move || std::future::ready(readiness(is_draining.load(Ordering::Relaxed), cluster.as_ref()));
        Router::new()
            .route("/healthz", get(health))
            .route("/readyz", get(readiness))
            .merge(self.gateway.routes())
            .fallback(pages::serve)
    }
}

/// How long what is on its way to a bus may take to leave when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether the server may be given clients, and a line for each bus. Clients are served while a bus is down, but do not
/// reach those of other servers.
fn readiness(is_draining: bool, cluster: Option<&Cluster>) -> (StatusCode, String) {
    let buses = cluster.map(Cluster::status).unwrap_or_default();
    let lines: String = buses
        .iter()
        .map(|bus| {
            let state = if bus.up { "up" } else { "down" };
            format!("\nbus {}: {state}", bus.name)
        })
        .collect();
    match (is_draining, buses.iter().all(|bus| bus.up)) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned()),
        (false, true) => (StatusCode::OK, format!("ready{lines}")),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready{lines}")),
    }
}
