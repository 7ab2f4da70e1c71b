//! Plain WebSocket, for clients without a Socket.IO library. `/ws/` sends every message to all connections there;
//! `/ws/<user>/` takes `{"message", "to_user"}` and delivers it to the devices of that user.
mod config;
mod connection;
mod direct;

use std::{error::Error, sync::Arc};

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
use sockeye::{ConnectionPermit, ConnectionPermits, PermitError, Server, client_address, log_limit, log_throttled};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{Message, handshake::server::create_response_with_body};

use crate::{
    chat::{Chat, Group, NAMESPACES, Outbox, PLAIN_NAMESPACE, Registration, UserError},
    identity::Token,
    settings::Settings,
};
use config::Config;
use connection::Connection;

/// Serves plain WebSocket connections.
pub(crate) struct Gateway {
    server: Server,
    chat: Arc<Chat>,
    config: Config,
    permits: Arc<ConnectionPermits>,
    closing: watch::Sender<bool>,
}

impl Gateway {
    pub(crate) fn new(server: Server, chat: Arc<Chat>, settings: &Settings) -> Self {
        let config = Config::new(settings, &server.config().engine);
        Self { server, chat, config, permits: Arc::default(), closing: watch::Sender::new(false) }
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
        let refuse = |error: &dyn Error| {
            let error = error.to_string();
            log_throttled!(info, &error, error, "refused a plain WebSocket");
            (StatusCode::BAD_REQUEST, error).into_response()
        };
        let user = match self.chat.identity().authenticate(name.or(header).map(Token::new)).await {
            Ok(user) => user,
            Err(error) => return refuse(&error),
        };
        let permit = match self.take_permit(&request) {
            Ok(permit) => permit,
            Err(response) => return *response,
        };
        let group = match self.chat.known(PLAIN_NAMESPACE, user) {
            _ if is_lobby => Group::Lobby,
            Ok(user) => Group::User(user),
            Err(error) => return refuse(&error),
        };
        let Some(charge) = self.server.charge_memory() else { return out_of_memory() };
        let outbox = Outbox::new(self.config.outbox_bytes, charge);
        let device = Device { registration: Some(self.chat.plain().register(group, outbox.clone())), gateway: self };
        if let Err(error) = device.connected() {
            return refuse(&error);
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(device.run(upgrade, outbox, permit, closing));
        response
    }

    /// Takes a permit for one more connection, or answers why there is none.
    fn take_permit(&self, request: &Request) -> Result<ConnectionPermit, Box<Response>> {
        let Config { permits: limits, trust_forwarded, .. } = &self.config;
        let address = client_address(request.headers(), request.extensions(), *trust_forwarded);
        self.permits.take(address, limits).map_err(|error| {
            let (setting, limit, status) = match error {
                PermitError::All => ("max_plain_connections", limits.max, StatusCode::SERVICE_UNAVAILABLE),
                PermitError::Address => {
                    ("max_plain_connections_per_address", limits.max_per_address, StatusCode::TOO_MANY_REQUESTS)
                }
                PermitError::Rate => ("max_session_rate", limits.rate as usize, StatusCode::SERVICE_UNAVAILABLE),
                PermitError::AddressRate => {
                    ("max_session_rate_per_address", limits.rate_per_address as usize, StatusCode::TOO_MANY_REQUESTS)
                }
            };
            let client = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
            log_limit(&client, setting, limit, "refused a plain WebSocket");
            Box::new((status, [(header::RETRY_AFTER, RETRY_AFTER)], error.to_string()).into_response())
        })
    }
}

/// A plain connection that counts as a device of its user until it is dropped.
struct Device {
    gateway: Arc<Gateway>,
    registration: Option<Registration>,
}

impl Device {
    /// Runs the connection to its end.
    async fn run(
        mut self,
        upgrade: OnUpgrade,
        outbox: Outbox,
        permit: ConnectionPermit,
        mut closing: watch::Receiver<bool>,
    ) {
        // A client may leave during the handshake.
        let Ok(stream) = upgrade.await else { return };
        let Gateway { chat, server, config, .. } = &*self.gateway;
        let mut connection = Connection::new(TokioIo::new(stream), outbox.clone(), config).await;
        let stop = async {
            // The gateway outlives its connections, so the sender is never gone.
            let _never_fails = closing.wait_for(|closing| *closing).await;
        };
        let group = self.group();
        let handle = |message: &Message| match &group {
            Group::Lobby => {
                chat.plain().send(&group, message);
            }
            Group::User(user) => {
                if let Some(answer) = direct::handle(chat, server, user, message) {
                    outbox.push(answer);
                }
            }
        };
        let end = connection.run(stop, handle).await;
        // Nothing is delivered to this connection any more, and its user may be offline now.
        self.disconnect();
        connection.close(end).await;
        drop(permit);
    }

    fn group(&self) -> Group {
        self.registration.as_ref().map_or(Group::Lobby, |registration| registration.group().clone())
    }

    /// Updates the presence of the user in every namespace.
    ///
    /// # Errors
    /// If the user's name looks like that of another user who is online.
    fn connected(&self) -> Result<(), UserError> {
        let Group::User(user) = self.group() else { return Ok(()) };
        let server = &self.gateway.server;
        NAMESPACES.iter().try_for_each(|name| self.gateway.chat.device_connected(&server.of(name), &user, None))
    }

    fn disconnect(&mut self) {
        let Some(registration) = self.registration.take() else { return };
        let group = registration.group().clone();
        drop(registration);
        if let Group::User(user) = group {
            for namespace in NAMESPACES {
                self.gateway.chat.device_disconnected(&self.gateway.server.of(namespace), &user);
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn out_of_memory() -> Response {
    log_throttled!(warn, "", setting = "max_memory", "refused a plain WebSocket because nine tenths of it are in use");
    let text = "the server is short of memory; connect again later";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], text).into_response()
}

/// When a client may come again that was refused because of a limit, in seconds.
const RETRY_AFTER: &str = "10";

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
