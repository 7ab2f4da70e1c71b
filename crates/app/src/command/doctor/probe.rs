//! Single requests of a client, whose answers are checked.
use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Certificate, Client, Method, Proxy, RequestBuilder, Url,
    header::{CONNECTION, CONTENT_TYPE, COOKIE, HeaderMap, ORIGIN, SET_COOKIE, UPGRADE},
    redirect,
    tls::TlsInfo,
};

use super::report::Finding;
use crate::command::{
    outcome::CommandError,
    target::{Target, TargetOptions},
};

/// Sends requests to a server, with all options.
#[derive(Debug)]
pub(super) struct Probe {
    /// Keeps its connection open.
    kept: Client,
    /// Opens a new connection for each request, so that a load balancer chooses each time.
    fresh: Client,
    url: Url,
    eio: String,
    headers: HeaderMap,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// Overrides the revision of Engine.IO in the options.
    pub(super) eio: Option<&'a str>,
    pub(super) sid: Option<&'a str>,
    pub(super) cookies: Option<&'a str>,
    pub(super) origin: Option<&'a str>,
    /// The body of a POST request; without one, the request is a GET.
    pub(super) body: Option<&'a str>,
    /// Whether to request a WebSocket.
    pub(super) websocket: bool,
    /// Whether to open a new connection.
    pub(super) fresh: bool,
}

/// A server's answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// The server's certificate, in DER.
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) took: Duration,
}

/// A session that was opened by polling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) sid: String,
    /// The cookies that the server has set, as a `Cookie` header.
    pub(super) cookies: Option<String>,
    /// Whether the server offers an upgrade to WebSocket.
    pub(super) offers_websocket: bool,
    /// The revision of Engine.IO of the answer.
    pub(super) eio: &'static str,
}

impl Probe {
    /// Prepares requests to a target; `insecure` accepts any certificate.
    ///
    /// # Errors
    /// If a certificate, a header or the proxy's address is not valid.
    pub(super) fn new(options: &TargetOptions, target: &Target, insecure: bool) -> Result<Self, CommandError> {
        let mut certificates = Vec::new();
        if let Some(pem) = options.certificates()? {
            certificates = Certificate::from_pem_bundle(&pem).map_err(CommandError::Http)?;
        }
        // This fails if the client library has installed it already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = |idle: usize| {
            // As in `sockeye-client`.
            let mut builder = Client::builder()
                .http1_only()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .tcp_nodelay(true)
                .timeout(options.timeout)
                .pool_max_idle_per_host(idle)
                .tls_info(true)
                .tls_certs_merge(certificates.clone())
                .tls_danger_accept_invalid_certs(insecure);
            if let Some(proxy) = &options.proxy {
                builder = builder.proxy(Proxy::all(proxy)?);
            }
            builder.build()
        };
        let mut headers = HeaderMap::new();
        for header in &options.header {
            let (Ok(name), Ok(value)) = (header.name.parse::<reqwest::header::HeaderName>(), header.value.parse())
            else {
                return Err(CommandError::Header(header.name.clone()));
            };
            headers.append(name, value);
        }
        let mut url = target.url.clone();
        url.set_path(&target.path);
        let (kept, fresh) = (client(1).map_err(CommandError::Http)?, client(0).map_err(CommandError::Http)?);
        Ok(Self { kept, fresh, url, eio: options.eio.clone(), headers })
    }

    /// Sends a request and reads up to 64 KiB of the answer.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> reqwest::Result<Answer> {
        let begun = Instant::now();
        let mut response = self.request(ask).send().await?;
        let took = begun.elapsed();
        let status = response.status().as_u16();
        let certificate =
            response.extensions().get::<TlsInfo>().and_then(|info| info.peer_certificate()).map(<[u8]>::to_vec);
        let headers = response.headers().clone();
        let mut body = Vec::new();
        // After status 101, the connection no longer carries HTTP.
        while status != 101 && body.len() < BODY {
            match response.chunk().await? {
                Some(chunk) => body.extend_from_slice(&chunk),
                None => break,
            }
        }
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned(), certificate, took })
    }

    /// Closes a session, so that the server does not wait for its ping timeout.
    pub(super) async fn close(&self, session: &Session) {
        let body = if session.eio == "3" { "1:1" } else { "1" };
        let ask = Ask { body: Some(body), ..Ask::of(session) };
        // A session that is gone already is as good.
        let _closed = self.ask(ask).await;
    }

    /// The origin of the server's own pages.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn request(&self, ask: Ask<'_>) -> RequestBuilder {
        let mut url = self.url.clone();
        let transport = if ask.websocket { "websocket" } else { "polling" };
        url.query_pairs_mut()
            .append_pair("EIO", ask.eio.unwrap_or(&self.eio))
            .append_pair("transport", transport)
            .extend_pairs(ask.sid.map(|sid| ("sid", sid)));
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let client = if ask.fresh { &self.fresh } else { &self.kept };
        let mut request = client.request(method, url).headers(self.headers.clone());
        if let Some(cookies) = ask.cookies {
            request = request.header(COOKIE, cookies);
        }
        if let Some(origin) = ask.origin {
            request = request.header(ORIGIN, origin);
        }
        if ask.websocket {
            let key = STANDARD.encode(nonce());
            request = request
                .header(CONNECTION, "Upgrade")
                .header(UPGRADE, "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", key);
        }
        match ask.body {
            Some(body) => request.header(CONTENT_TYPE, "text/plain;charset=UTF-8").body(body.to_owned()),
            None => request,
        }
    }
}

impl Ask<'static> {
    /// A request that opens a session by polling.
    pub(super) const OPEN: Self =
        Self { eio: None, sid: None, cookies: None, origin: None, body: None, websocket: false, fresh: false };
}

impl<'a> Ask<'a> {
    /// A request of a session.
    pub(super) fn of(session: &'a Session) -> Self {
        let cookies = session.cookies.as_deref();
        Ask { eio: Some(session.eio), sid: Some(&session.sid), cookies, ..Ask::OPEN }
    }
}

impl Answer {
    /// The session that the answer opens, if any.
    pub(super) fn session(&self) -> Option<Session> {
        #[derive(serde::Deserialize)]
        struct Open {
            sid: String,
            #[serde(default)]
            upgrades: Vec<String>,
        }
        if self.status != 200 {
            return None;
        }
        // In revision 3, each packet is preceded by its length.
        let (eio, packet) = match self.body.split_once(":0{") {
            Some((length, _)) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                ("3", self.body.get(length.len() + 1..)?)
            }
            _ => ("4", self.body.as_str()),
        };
        let json = packet.strip_prefix('0')?;
        let open: Open = serde_json::Deserializer::from_str(json).into_iter().next()?.ok()?;
        let offers_websocket = open.upgrades.iter().any(|upgrade| upgrade == "websocket");
        Some(Session { sid: open.sid, cookies: self.cookies(), offers_websocket, eio })
    }

    /// The value of a header, if it is text.
    pub(super) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The beginning of the body, on one line.
    pub(super) fn excerpt(&self) -> String {
        let line = self.body.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(200).collect()
    }

    fn cookies(&self) -> Option<String> {
        let values = self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs: Vec<_> = values.filter_map(|value| value.split(';').next()).map(str::trim).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// The TLS error that caused an HTTP error, if any.
pub(super) fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        // An I/O error does not return the error that it wraps as its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The finding for a request without an answer.
pub(super) fn unanswered(subject: &'static str, error: &reqwest::Error) -> Finding {
    Finding::problem(
        subject,
        format!("no answer: {}", innermost(error)),
        "The log of the server, or of a proxy before it, may say why.",
    )
}

/// The innermost cause, without the generic words of the HTTP library.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

const BODY: usize = 64 * 1024;

/// A nonce for the handshake (RFC 6455 section 4.1). It need not be secret.
fn nonce() -> [u8; 16] {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = *b"sockeye doctor !";
    }
    bytes
}

#[cfg(test)]
pub(super) fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Answer { status, headers, body: body.to_owned(), certificate: None, took: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_in_both_revisions() {
        let four = answer(
            200,
            &[("set-cookie", "io=a; Path=/"), ("set-cookie", "lb=b")],
            r#"0{"sid":"a","upgrades":["websocket"]}"#,
        );
        let session = four.session().unwrap();
        assert_eq!((session.sid.as_str(), session.eio, session.offers_websocket), ("a", "4", true));
        assert_eq!(session.cookies.as_deref(), Some("io=a; lb=b"));
        let three = answer(200, &[], r#"24:0{"sid":"b","upgrades":[]}2:40"#).session().unwrap();
        assert_eq!((three.sid.as_str(), three.eio, three.offers_websocket), ("b", "3", false));
        for other in ["", "<html>", "0", "0{}", ":0{\"sid\":\"a\"}", "4hello", "{\"sid\":\"a\"}"] {
            assert_eq!(answer(200, &[], other).session(), None, "{other}");
        }
        assert_eq!(answer(400, &[], &four.body).session(), None);
    }
}
