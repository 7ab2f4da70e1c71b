use std::{error::Error as StdError, future::Future, sync::Arc, time::Duration};

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;
use sockeye_handler::Values;

use crate::{
    BufferLimits, BuildError, ConnectError, EngineVersion, Manager, Parser, Reconnection, Retries, Socket, Transport,
    error::{BuildErrorKind, ConnectErrorKind},
    settings::{auth::Auth, config::Config, cookies::Cookies, tls_and_proxy::TlsAndProxy},
};

impl Manager {
    /// Begins with the server's address. Schemes are `http`, `https`, `ws` and `wss`; the path is the namespace that
    /// [`ManagerBuilder::connect`] joins, and the query goes into every handshake.
    pub fn builder(address: &str) -> ManagerBuilder {
        ManagerBuilder::new(address)
    }
}

/// Collects the settings of a [`Manager`]. [`build`](Self::build) reports the first invalid one.
#[derive(Debug)]
#[must_use = "a builder does nothing before `build` or `connect`"]
pub struct ManagerBuilder {
    config: Config,
    namespace: String,
    error: Option<BuildError>,
}

impl ManagerBuilder {
    /// Begins with the server's address. Schemes are `http`, `https`, `ws` and `wss`; the path is the namespace that
    /// [`connect`](Self::connect) joins, as in the JavaScript client, and the query goes into every handshake.
    pub(crate) fn new(address: &str) -> Self {
        let (url, error) = match parse_url(address) {
            Ok(url) => (url, None),
            Err(error) => (nowhere(), Some(error)),
        };
        let namespace = if url.path().is_empty() { "/".to_owned() } else { url.path().to_owned() };
        let config = Config {
            url,
            transports: vec![Transport::Polling, Transport::WebSocket],
            upgrade: true,
            try_all: false,
            engine_version: EngineVersion::default(),
            parser: Parser::default(),
            headers: HeaderMap::new(),
            cookies: Cookies::default(),
            http: TlsAndProxy::default(),
            reconnection: Reconnection::default(),
            retry_first: false,
            timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            ack_timeout: Duration::from_secs(60),
            max_payload: 16 * 1024 * 1024,
            send_buffer: BufferLimits::default(),
            receive_buffer: 16 * 1024 * 1024,
            retries: None,
            auth: None,
            log_packets: false,
            state: Values::default(),
        };
        Self { config, namespace, error }.path("/socket.io/")
    }

    /// The transports, in the order they are to be tried: one, such as [`Transport::WebSocket`], or several.
    /// Polling and then WebSocket by default.
    pub fn transports(mut self, transports: impl Into<Vec<Transport>>) -> Self {
        self.config.transports = transports.into();
        self
    }

    /// Whether a polling connection moves on to WebSocket where the server offers it; `true` by default.
    pub fn upgrade(mut self, upgrade: bool) -> Self {
        self.config.upgrade = upgrade;
        self
    }

    /// Whether the next transport is tried when one cannot be opened; `false` by default.
    pub fn try_all(mut self, try_all: bool) -> Self {
        self.config.try_all = try_all;
        self
    }

    /// The revision of Engine.IO; 4 by default, 3 for servers of Socket.IO 2.
    ///
    /// In revision 3 the client sends authentication data as a query behind the namespace's name, and cannot send any for
    /// the namespace `/`: use [`query`](Self::query).
    pub fn engine_version(mut self, version: EngineVersion) -> Self {
        self.config.engine_version = version;
        self
    }

    /// The format of packets; JSON by default.
    pub fn parser(mut self, parser: Parser) -> Self {
        self.config.parser = parser;
        self
    }

    /// The path the server is mounted at; `/socket.io/` by default.
    pub fn path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        self.config.url.set_path(&if path.is_empty() { "/".to_owned() } else { format!("/{path}/") });
        self
    }

    /// Adds a parameter to the query of every request.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.config.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Adds a header to every request, such as `Authorization`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => {
                self.config.headers.append(name, value);
            }
            _ => self.fail(BuildErrorKind::Header(name.to_owned()).into()),
        }
        self
    }

    /// Sets a cookie. Those that the server sets are sent back too.
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        if HeaderValue::from_str(&format!("{name}={value}")).is_err()
            || name.contains(['=', ';'])
            || value.contains(';')
        {
            self.fail(BuildErrorKind::Header(format!("Cookie: {name}")).into());
        }
        self.config.cookies.set(name, value);
        self
    }

    /// The authentication data for all namespaces: anything that serialises to an object. A socket can have its own, by
    /// [`Socket::set_auth`](crate::Socket::set_auth).
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        match Auth::value(&auth) {
            Ok(auth) => self.config.auth = Some(auth),
            Err(error) => self.fail(error),
        }
        self
    }

    /// A function that makes the authentication data, called at every connect and reconnect; for tokens that expire.
    pub fn auth_with<F, Fut, T, E>(mut self, auth: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.config.auth = Some(Auth::function(auth));
        self
    }

    /// When a lost connection is tried again.
    pub fn reconnection(mut self, reconnection: Reconnection) -> Self {
        self.config.reconnection = reconnection;
        self
    }

    /// Whether the first attempt to connect is repeated, with the delays of [`reconnection`](Self::reconnection);
    /// `false` by default. It covers a connection that cannot be opened or is lost before the server lets a socket in,
    /// authentication data that cannot be made, and a namespace that does not answer.
    pub fn retry_first(mut self, retry: bool) -> Self {
        self.config.retry_first = retry;
        self
    }

    /// How long one attempt to open a connection may take, and after it each namespace; 20 s by default. During a
    /// reconnect a namespace may take longer; [`on_connect_error`](Socket::on_connect_error) handlers run each time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long the move to WebSocket may take before it is given up and polling goes on; 10 s by default.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }

    /// How long a disconnect may wait for what was emitted before it to be sent; 2 s by default.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// How long to wait for an acknowledgement; 60 s by default. [`Socket::timeout`] sets it for one event.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.ack_timeout = timeout;
        self
    }

    /// The largest message or polling body that is accepted from the server, in bytes; 16 MiB by default.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// How much may wait to be sent.
    pub fn send_buffer(mut self, limits: BufferLimits) -> Self {
        self.config.send_buffer = limits;
        self
    }

    /// How many bytes of events may wait for a socket's handlers or streams; 16 MiB by default. Beyond it the client reads
    /// nothing from the connection until some are handled. It does not answer the server's pings then, so that the
    /// server may close the connection.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.config.receive_buffer = bytes;
        self
    }

    /// Sends every event that is not volatile until it is acknowledged, one at a time.
    pub fn retries(mut self, retries: Retries) -> Self {
        self.config.retries = Some(retries);
        self
    }

    /// Connects through a proxy: `http://`, `https://`, `socks5://` or `socks5h://`, with user and password if needed.
    pub fn proxy(mut self, url: &str) -> Self {
        self.config.http.proxy = Some(url.to_owned());
        self
    }

    /// Logs every packet with its content, at level `info` under the target `sockeye::packets`; off by default, because
    /// packets contain secrets such as the authentication data.
    pub fn log_packets(mut self, log: bool) -> Self {
        self.config.log_packets = log;
        self
    }

    /// Adds a value that handlers can ask for by [`State`](crate::State), one of each type.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.config.state.insert(value);
        self
    }

    /// Adds a value, as [`state`](Self::state) does, that is in an `Arc` already. Handlers take it as `State<T>`, not as
    /// `State<Arc<T>>`.
    pub fn shared_state<T: Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.config.state.insert_shared(value);
        self
    }

    /// Makes the manager. Nothing is connected yet.
    ///
    /// # Errors
    /// The first setting that is not valid.
    pub fn build(self) -> Result<Manager, BuildError> {
        self.into_parts().map(|(manager, _)| manager)
    }

    /// Makes the manager, joins the namespace that is the address's path, and waits until it is connected.
    ///
    /// # Errors
    /// If a setting is not valid, or as [`Socket::connect`].
    pub async fn connect(self) -> Result<Socket, ConnectError> {
        let (manager, namespace) =
            self.into_parts().map_err(|error| ConnectError::with_source(ConnectErrorKind::Build, error))?;
        let socket = manager.socket(&namespace);
        socket.connect().await?;
        Ok(socket)
    }

    #[cfg(feature = "blocking")]
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn into_parts(mut self) -> Result<(Manager, String), BuildError> {
        self.config.bound_times();
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.config.transports.is_empty() {
            return Err(BuildErrorKind::NoTransport.into());
        }
        self.config.http.check()?;
        Ok((Manager::new(self.config), self.namespace))
    }

    fn fail(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }
}

/// TLS.
#[cfg(feature = "tls")]
impl ManagerBuilder {
    /// Trusts the certificates in this PEM text too, such as those of your own certificate authority.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.config.http.tls.root_certificates.push(pem.into());
        self
    }

    /// Shows the server this certificate: PEM text with the certificate, its chain and its private key.
    pub fn client_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.config.http.tls.client_certificate = Some(pem.into());
        self
    }

    /// Accepts any certificate, so that anyone between client and server can read and change everything. For tests; for
    /// a certificate of your own use [`root_certificate`](Self::root_certificate).
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.config.http.tls.accept_invalid_certs = accept;
        self
    }
}

fn parse_url(address: &str) -> Result<Url, BuildError> {
    let wrong = || BuildErrorKind::Url(address.to_owned());
    let http = match address.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(("http" | "https", _)) => address.to_owned(),
        _ => return Err(wrong().into()),
    };
    let mut url = Url::parse(&http).map_err(|error| BuildError::with_source(wrong(), error))?;
    if cfg!(not(feature = "tls")) && url.scheme() == "https" {
        return Err(BuildErrorKind::TlsMissing(address.to_owned()).into());
    }
    url.set_fragment(None);
    Ok(url)
}

/// Stands in for an invalid address, until `build` fails.
fn nowhere() -> Url {
    match Url::parse("http://localhost") {
        Ok(url) => url,
        Err(_) => unreachable!("it is a valid address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_tells_no_secrets() {
        let builder = ManagerBuilder::new("http://user:secret1@localhost/?token=secret2")
            .header("Authorization", "secret3")
            .cookie("session", "secret4")
            .proxy("http://user:secret5@localhost:3128")
            .auth(serde_json::json!({ "token": "secret6" }));
        #[cfg(feature = "tls")]
        let builder = builder.client_certificate("secret7");
        let text = format!("{builder:?}");
        assert!(text.contains("http://localhost") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn the_path_is_the_namespace_and_the_query_stays() {
        let (manager, namespace) = ManagerBuilder::new("ws://example.org:81/imchat?a=1").into_parts().unwrap();
        assert_eq!(namespace, "/imchat");
        assert_eq!(manager.url(), "http://example.org:81/socket.io/?a=1");
        let (manager, namespace) =
            ManagerBuilder::new("http://example.org").path("x/y").query("a", "b c").into_parts().unwrap();
        assert_eq!(namespace, "/");
        assert_eq!(manager.url(), "http://example.org/x/y/?a=b+c");
    }

    #[test]
    fn wrong_settings_are_named() {
        let kind = |builder: ManagerBuilder| builder.build().unwrap_err().kind().clone();
        let fine = || ManagerBuilder::new("http://localhost");
        assert_eq!(kind(ManagerBuilder::new("localhost:3000")), BuildErrorKind::Url("localhost:3000".into()));
        assert_eq!(kind(ManagerBuilder::new("ftp://localhost")), BuildErrorKind::Url("ftp://localhost".into()));
        assert_eq!(kind(fine().transports([])), BuildErrorKind::NoTransport);
        assert_eq!(kind(fine().header("a b", "c")), BuildErrorKind::Header("a b".into()));
        assert_eq!(kind(fine().cookie("a", "b;c")), BuildErrorKind::Header("Cookie: a".into()));
        assert_eq!(kind(fine().auth("token")), BuildErrorKind::Auth);
        assert_eq!(kind(fine().proxy("::")), BuildErrorKind::Proxy("::".into()));
    }

    #[test]
    #[cfg(feature = "tls")]
    fn wss_means_https() {
        let manager = ManagerBuilder::new("wss://example.org:81").build().unwrap();
        assert_eq!(manager.url(), "https://example.org:81/socket.io/");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn wrong_certificates_are_named() {
        let kind = |builder: ManagerBuilder| builder.build().unwrap_err().kind().clone();
        let fine = || ManagerBuilder::new("https://localhost");
        assert_eq!(kind(fine().root_certificate("no PEM")), BuildErrorKind::RootCertificate);
        assert_eq!(kind(fine().client_certificate("no PEM")), BuildErrorKind::ClientCertificate);
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn an_https_address_needs_the_feature_tls() {
        let error = ManagerBuilder::new("wss://localhost").build().unwrap_err();
        assert_eq!(*error.kind(), BuildErrorKind::TlsMissing("wss://localhost".into()));
    }
}
