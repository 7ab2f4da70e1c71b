//! Plain WebSocket, for clients without a Socket.IO library. `/ws/` sends every message to all connections there;
//! `/ws/<user>/` takes `{"message", "to_user"}` and delivers it to the devices of that user.
mod config;
mod connection;
mod direct;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sockeye::{Server, log_throttled};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{Message, handshake::server::create_response_with_body};

use crate::{
    chat::{Chat, Group, NAMESPACES, Outbox, Registration},
    identity::Token,
};
use config::Config;
use connection::Connection;

/// Serves plain WebSocket connections.
pub(crate) struct Gateway {
    server: Server,
    chat: Arc<Chat>,
    config: Config,
    closing: watch::Sender<bool>,
}

impl Gateway {
    pub(crate) fn new(server: Server, chat: Arc<Chat>) -> Self {
        let config = Config::of(&server.config().engine);
        Self { server, chat, config, closing: watch::Sender::new(false) }
    }

    /// The routes of the gateway.
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

    /// Refuses new connections and closes the open ones, so that their clients connect elsewhere.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Completes when every connection has ended.
    pub(crate) async fn closed(&self) {
        self.closing.closed().await;
    }

    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.chat.plain().len()
    }

    /// Answers a handshake and runs the connection.
    async fn open(self: Arc<Self>, name: Option<String>, mut request: Request) -> Response {
        let response = match handshake(&mut request) {
            Ok(response) => response,
            Err(problem) => {
                let headers = [(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
                let text = format!("this address is for WebSocket clients: {problem}");
                return (StatusCode::UPGRADE_REQUIRED, headers, text).into_response();
            }
        };
        if self.config.origins.check(request.headers()).is_err() {
            return (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response();
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
                log_throttled!(info, &error.to_string(), %error, "refused a plain WebSocket");
                return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
            }
        };
        let group = if is_lobby { Group::Lobby } else { Group::User(user) };
        let outbox = Outbox::new(self.config.outbox_bytes);
        let Some(registration) = self.chat.plain().register(group, outbox.clone()) else {
            // Replaced below, with the limits of addresses.
            log_throttled!(warn, "", "refused a plain WebSocket: `max_plain_connections` are open");
            return (StatusCode::SERVICE_UNAVAILABLE, "too many connections; try again later").into_response();
        };
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move { self.run(upgrade, outbox, registration, closing).await });
        response
    }

    /// Runs a connection to its end.
    async fn run(
        &self,
        upgrade: OnUpgrade,
        outbox: Outbox,
        registration: Registration,
        mut closing: watch::Receiver<bool>,
    ) {
        // A client that leaves during the handshake leaves only its registration behind, which is dropped here.
        let Ok(stream) = upgrade.await else { return };
        let mut connection = Connection::new(TokioIo::new(stream), outbox.clone(), &self.config).await;
        let stop = async {
            // The gateway outlives its connections, so the sender is never gone.
            let _never_fails = closing.wait_for(|closing| *closing).await;
        };
        let group = registration.group().clone();
        self.refresh(&group);
        let handle = |message: &Message| match &group {
            Group::Lobby => {
                self.chat.plain().send(&group, message);
            }
            Group::User(user) => {
                if let Some(answer) = direct::handle(&self.chat, &self.server, user, message) {
                    outbox.push(answer);
                }
            }
        };
        let end = connection.run(stop, handle).await;
        // Nothing is delivered to this connection any more, and its user may be offline now.
        drop(registration);
        self.refresh(&group);
        connection.close(end).await;
    }

    /// Updates the presence of the user whose connections have changed.
    fn refresh(&self, group: &Group) {
        if let Group::User(user) = group {
            for namespace in NAMESPACES {
                self.chat.refresh(&self.server.of(namespace), user);
            }
        }
    }
}

/// The server's side of the handshake (RFC 6455 section 4.2).
///
/// # Errors
/// What keeps the request from opening a WebSocket.
fn handshake(request: &mut Request) -> Result<Response, String> {
    // The library looks at the first line of `Connection`, but several lines are one list (RFC 9110 section 5.3).
    let lines: Vec<_> = request.headers().get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(list) = HeaderValue::from_bytes(&lines.join(&b", "[..])) {
        request.headers_mut().insert(header::CONNECTION, list);
    }
    create_response_with_body(request, Body::empty).map_err(|error| error.to_string())
}
