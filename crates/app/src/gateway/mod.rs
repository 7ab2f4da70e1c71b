//! Plain WebSocket, for clients without a Socket.IO library: `/ws/` passes on whatever is sent to everyone there,
//! `/ws/<user>/` takes `{"message", "to_user"}` and delivers it to that user's devices.
mod connection;
mod direct;
mod handshake;
mod plain;

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sockeye::{OriginPolicy, Server};
use sockeye_protocol::websocket::Limits;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::{
    chat::{Chat, NAMESPACES},
    identity::{Token, User},
};
use connection::{Connection, End, Heartbeat, Message};
use plain::{Outbox, Place, Registration};
pub(crate) use plain::{Registry, json_frame};

/// The plain WebSocket connections and what they need.
pub(crate) struct Gateway {
    server: Server,
    chat: Arc<Chat>,
    config: Config,
    closing: watch::Sender<bool>,
}

/// How plain connections are run: as Socket.IO's.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) origins: OriginPolicy,
    pub(crate) limits: Limits,
    pub(crate) outbox_bytes: usize,
    pub(crate) close_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
}

impl Gateway {
    pub(crate) fn new(server: Server, chat: Arc<Chat>) -> Self {
        let engine = &server.config().engine;
        let config = Config {
            origins: engine.origins.clone(),
            limits: Limits { max_message: engine.max_payload, max_fragments: engine.max_fragments },
            outbox_bytes: engine.outbox_bytes,
            close_timeout: engine.close_timeout,
            ping_interval: engine.ping_interval,
            ping_timeout: engine.ping_timeout,
        };
        Self { server, chat, config, closing: watch::Sender::new(false) }
    }

    /// The routes, to be merged with the program's others.
    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        let lobby =
            |State(gateway): State<Arc<Self>>, request: Request| async move { gateway.open(None, request).await };
        let user = |State(gateway): State<Arc<Self>>, Path(name): Path<String>, request: Request| async move {
            gateway.open(Some(name), request).await
        };
        Router::new()
            .route("/ws", get(lobby))
            .route("/ws/", get(lobby))
            .route("/ws/{user}", get(user))
            .route("/ws/{user}/", get(user))
            .with_state(self.clone())
    }

    /// Admits no more connections and closes those that are open, so that their clients reconnect elsewhere.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Completes when every connection has ended.
    pub(crate) async fn closed(&self) {
        self.closing.closed().await;
    }

    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.chat.registry().len()
    }

    /// Answers a handshake, and runs the connection that comes of it.
    async fn open(self: Arc<Self>, name: Option<String>, mut request: Request) -> Response {
        let accept = match handshake::accept(&request) {
            Ok(accept) => accept,
            Err(refusal) => return refusal.into_response(),
        };
        if self.config.origins.check(request.headers()).is_err() {
            return (StatusCode::FORBIDDEN, "this web page is not of an accepted origin").into_response();
        }
        let closing = self.closing.subscribe();
        if *closing.borrow() {
            return (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; connect again").into_response();
        }
        let header = request.headers().get("token").map(|token| String::from_utf8_lossy(token.as_bytes()).into_owned());
        let is_lobby = name.is_none();
        let user = match self.chat.identity().authenticate(name.or(header).map(Token::new)).await {
            Ok(user) => user,
            Err(error) => {
                tracing::info!(%error, "refused a plain WebSocket");
                return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
            }
        };
        let place = if is_lobby { Place::Lobby } else { Place::User(user) };
        let outbox = Outbox::new(self.config.outbox_bytes);
        let Some(registration) = Registry::register(self.chat.registry(), place, outbox.clone()) else {
            tracing::warn!("refused a plain WebSocket: there are `max_plain_connections` already");
            return (StatusCode::SERVICE_UNAVAILABLE, "too many connections; try later").into_response();
        };
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move { self.run(upgrade, outbox, registration, closing).await });
        handshake::response(accept)
    }

    /// Runs a connection to its end.
    async fn run(
        &self,
        upgrade: OnUpgrade,
        outbox: Outbox,
        registration: Registration,
        mut closing: watch::Receiver<bool>,
    ) {
        let place = registration.place().clone();
        // A client that goes away before the handshake is over leaves nothing behind but its registration.
        let connection = upgrade.await.map(|upgraded| Connection::new(TokioIo::new(upgraded), outbox, &self.config));
        let ended = match connection {
            Ok(mut connection) => {
                let stop = async {
                    // The gateway outlives its connections, so the sender is never gone.
                    let _never_fails = closing.wait_for(|closing| *closing).await;
                };
                let end = self.converse(&mut connection, &place, stop).await;
                Some((connection, end))
            }
            Err(_) => None,
        };
        // From here on nothing is delivered to this connection any more, and its user may be offline.
        drop(registration);
        if let Place::User(user) = &place {
            self.refresh(user);
        }
        if let Some((mut connection, (code, reason))) = ended {
            connection.close(code, reason).await;
        }
    }

    /// Passes on what the client sends until the connection is to end; says why.
    async fn converse<S: AsyncRead + AsyncWrite>(
        &self,
        connection: &mut Connection<S>,
        place: &Place,
        stop: impl Future<Output = ()>,
    ) -> End {
        let heartbeat = Heartbeat::new(self.config.ping_interval, self.config.ping_timeout);
        match place {
            Place::Lobby => {
                connection.run(heartbeat, stop, |message| self.chat.registry().broadcast(&message.to_frame())).await
            }
            Place::User(user) => {
                self.refresh(user);
                let outbox = connection.outbox().clone();
                let handle = |message: Message<'_>| {
                    if let Some(answer) = direct::handle(&self.chat, &self.server, user, message) {
                        outbox.push(answer);
                    }
                };
                connection.run(heartbeat, stop, handle).await
            }
        }
    }

    /// Has the namespaces look again whether the user is online.
    fn refresh(&self, user: &User) {
        for namespace in NAMESPACES {
            self.chat.refresh(&self.server.of(namespace), user);
        }
    }
}
