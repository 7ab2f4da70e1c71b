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
}

impl App {
    /// Builds the server for these addresses.
    pub(crate) fn new(settings: &Settings, addresses: &[SocketAddr]) -> Self {
        let chat = Arc::new(Chat::new(settings));
        let server = Server::builder().config(settings.server(addresses)).state(chat.clone()).build();
        Chat::attach(&server);
        let gateway = Arc::new(Gateway::new(server.clone(), chat, settings));
        let (counted, plain) = (server.clone(), gateway.clone());
        Monitor::attach(&server, settings.monitor_interval, move || counted.connection_count() + plain.len());
        Self { server, gateway, drain_limit: settings.drain_limit, is_draining: Arc::default() }
    }

    /// Serves until `stop` completes. Then it accepts no more connections, closes the open ones, and returns when they
    /// have ended, or after `drain_limit`.
    pub(crate) async fn serve(self, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) {
        let router = self.router();
        let mut deadline = None;
        let stop = async {
            stop.await;
            deadline = Some(Instant::now() + self.drain_limit);
            self.is_draining.store(true, Ordering::Relaxed);
            self.gateway.close();
        };
        self.server.serve_with(listeners, router, Graceful { stop, limit: self.drain_limit }).await;
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
            let is_draining = is_draining.load(Ordering::Relaxed);
            std::future::ready(if is_draining {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping")
            } else {
                (StatusCode::OK, "ok")
            })
        };
        Router::new().route("/healthz", get(health)).merge(self.gateway.routes()).fallback(pages::serve)
    }
}
