use std::{error::Error as StdError, sync::Arc};

use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{COOKIE, HeaderMap},
};
use sockeye_protocol::engineio::Revision;

use crate::{ConnectError, Transport, error::ConnectErrorKind, settings::builder::Config};

/// Makes the requests of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    client: Arc<Client>,
    config: Arc<Config>,
    /// The session, once there is one.
    sid: Option<Arc<str>>,
}

impl Requests {
    pub(crate) fn new(client: Arc<Client>, config: Arc<Config>) -> Self {
        Self { client, config, sid: None }
    }

    pub(crate) fn with_sid(&self, sid: &str) -> Self {
        Self { sid: Some(sid.into()), ..self.clone() }
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A request of this session, with everything the settings ask for.
    pub(crate) fn request(&self, method: Method, transport: Transport) -> RequestBuilder {
        let mut headers: HeaderMap = self.config.headers.clone();
        if let Some(cookies) = self.config.cookies.header() {
            headers.append(COOKIE, cookies);
        }
        self.client.request(method, self.url(transport)).headers(headers)
    }

    pub(crate) fn received(&self, response: &Response) {
        self.config.cookies.receive(response.headers());
    }

    fn url(&self, transport: Transport) -> Url {
        let mut url = self.config.url.clone();
        let version = match self.config.engine_version {
            Revision::V3 => "3",
            Revision::V4 => "4",
        };
        let mut query = url.query_pairs_mut();
        query.append_pair("EIO", version).append_pair("transport", transport.as_str());
        if let Some(sid) = &self.sid {
            query.append_pair("sid", sid);
        }
        drop(query);
        url
    }
}

/// Reads a body, at most `limit` bytes of it; `None` if it is longer.
pub(crate) async fn read_body(mut response: Response, limit: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Makes the error for a request that should have opened a connection and failed.
pub(crate) fn request_failed(error: reqwest::Error, config: &Config, transport: Transport) -> ConnectError {
    let url = config.url.origin().ascii_serialization();
    let kind = if is_tls(&error) {
        ConnectErrorKind::Tls { url }
    } else if error.is_connect() {
        ConnectErrorKind::Unreachable { url, transport }
    } else {
        ConnectErrorKind::Broken { transport }
    };
    ConnectError::with_source(kind, error.without_url())
}

/// Makes the error for an answer that does not open a connection, with the beginning of its body.
pub(crate) async fn refused(response: Response, transport: Transport) -> ConnectError {
    let status = response.status().as_u16();
    let body = match read_body(response, 64 * 1024).await {
        Ok(Some(body)) => excerpt(&String::from_utf8_lossy(&body)),
        Ok(None) | Err(_) => String::new(),
    };
    ConnectErrorKind::Http { transport, status, hint: hint(status, &body, transport), body }.into()
}

/// The beginning of a text, on one line.
pub(crate) fn excerpt(body: &str) -> String {
    let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

/// Returns what is probably wrong when a server gives this answer.
pub(crate) fn hint(status: u16, body: &str, transport: Transport) -> &'static str {
    // The first text is socket.io's, the second python-socketio's.
    if body.contains("Unsupported protocol version") || body.contains("unsupported version of the Socket.IO") {
        return "it speaks another revision of Engine.IO: try `engine_version` 3 for Socket.IO 2, 4 for later ones";
    }
    if body.contains("Transport unknown") || body.contains("Invalid transport") {
        return match transport {
            Transport::Polling => "it has polling switched off: try `transports(Transport::WebSocket)`",
            Transport::WebSocket => "it has WebSocket switched off: try `transports(Transport::Polling)`",
        };
    }
    if body.contains("Session ID unknown") || body.contains("Invalid session") {
        return "requests reach different servers: use sticky sessions, or `transports(Transport::WebSocket)`";
    }
    match status {
        101 | 200 => "something else than Socket.IO serves this path: check address and `path`",
        300..=399 => "it redirects: use the address it redirects to",
        401 | 403 | 407 => "it wants other credentials: check `header`, `auth_with`, `proxy` and the allowed origins",
        404 | 405 => "Socket.IO is served at another path: check `path`, which is /socket.io/ by default",
        400 if transport == Transport::WebSocket => {
            "perhaps a proxy before it does not pass the Upgrade header on, or `engine_version` is wrong"
        }
        502..=504 => "the proxy before it cannot reach the server",
        _ => "its log may say more",
    }
}

/// Words in the errors of the TLS library. The HTTP library does not tell these errors from others.
const TLS_TROUBLE: [&str; 4] = ["certificate", "fatal alert", "handshake", "InvalidContentType"];

fn is_tls(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if TLS_TROUBLE.iter().any(|trouble| text.contains(trouble)) {
            return true;
        }
        source = error.source();
    }
    false
}
