use std::{error::Error as StdError, fmt, future::Future, sync::Arc, time::Duration};

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;
use sockeye_handler::Values;

use super::{
    auth::{self, Auth},
    cookies::Cookies,
    tls_and_proxy::TlsAndProxy,
};
use crate::{BufferLimits, BuildError, EngineVersion, Parser, Reconnection, Retries, Transport, error::BuildErrorKind};

/// Collects the settings of a [`Manager`](crate::Manager). [`build`](Self::build) reports the first invalid one.
#[derive(Debug)]
#[must_use = "a builder does nothing before `build` or `connect`"]
pub struct ManagerBuilder {
    config: Config,
    namespace: String,
    error: Option<BuildError>,
}

/// Declares the settings that have a value each: the name, the type and the default. Each becomes a field of [`Config`]
/// and a method of [`ManagerBuilder`].
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr;)*) => {
        /// The settings of a manager.
        pub(crate) struct Config {
            /// Scheme, host, port, path and the user's query.
            pub(crate) url: Url,
            pub(crate) transports: Vec<Transport>,
            pub(crate) headers: HeaderMap,
            pub(crate) cookies: Cookies,
            pub(crate) http: TlsAndProxy,
            pub(crate) auth: Option<Auth>,
            pub(crate) retries: Option<Retries>,
            /// The values that handlers can ask for.
            pub(crate) state: Values,
            $(pub(crate) $name: $type,)*
        }

        impl Config {
            fn new(url: Url) -> Self {
                Self {
                    url,
                    transports: vec![Transport::Polling, Transport::WebSocket],
                    headers: HeaderMap::new(),
                    cookies: Cookies::default(),
                    http: TlsAndProxy::default(),
                    auth: None,
                    retries: None,
                    state: Values::default(),
                    $($name: $default,)*
                }
            }
        }

        impl ManagerBuilder {
            $(
                $(#[doc = $doc])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.config.$name = $name;
                    self
                }
            )*
        }
    };
}

settings! {
    /// Whether a polling connection is upgraded to WebSocket if the server offers it; `true` by default.
    upgrade: bool = true;

    /// Whether the next transport is tried when one cannot be opened; `false` by default.
    try_all: bool = false;

    /// The revision of Engine.IO; 4 by default, 3 for servers of Socket.IO 2.
    ///
    /// In revision 3 the client sends authentication data as a query behind the namespace's name, and cannot send any for
    /// the namespace `/`: use [`query`](Self::query).
    engine_version: EngineVersion = EngineVersion::V4;

    /// The format of packets; JSON by default.
    parser: Parser = Parser::Json;

    /// When a lost connection is tried again.
    reconnection: Reconnection = Reconnection::default();

    /// Whether the first attempt to connect is repeated, with the delays of [`reconnection`](Self::reconnection);
    /// `false` by default. It covers a connection that cannot be opened or ends before the server answers a CONNECT, an
    /// authentication function that fails, and a namespace that does not answer.
    retry_first: bool = false;

    /// How long one attempt to open a connection may take, and after it each namespace; 20 s by default. During a
    /// reconnect a namespace may take longer; [`on_connect_error`](crate::Socket::on_connect_error) handlers run each time.
    timeout: Duration = Duration::from_secs(20);

    /// How long the upgrade to WebSocket may take; 10 s by default. After that, polling goes on.
    upgrade_timeout: Duration = Duration::from_secs(10);

    /// How long a disconnect may take to send what was emitted before it; 2 s by default.
    close_timeout: Duration = Duration::from_secs(2);

    /// How long to wait for an acknowledgement; 60 s by default. [`Socket::timeout`](crate::Socket::timeout) sets it for one event.
    ack_timeout: Duration = Duration::from_secs(60);

    /// The largest message or polling body that is accepted from the server, in bytes; 16 MiB by default.
    max_payload: usize = 16 * 1024 * 1024;

    /// How many events and bytes may wait to be sent.
    send_buffer: BufferLimits = BufferLimits::default();

    /// How many bytes of events may wait for a socket's handlers or streams; 16 MiB by default. An event counts its bytes
    /// and some hundred more, so that their memory is bounded too. Beyond the limit the client reads nothing from the
    /// connection until some events are handled. It does not answer the server's pings then, so that the server may close
    /// the connection.
    receive_buffer: usize = 16 * 1024 * 1024;

    /// Logs every packet with its content, at level `info` under the target `sockeye::packets`; off by default, because
    /// packets contain secrets such as the authentication data.
    log_packets: bool = false;
}

impl ManagerBuilder {
    pub(crate) fn new(address: &str) -> Self {
        let address = address.trim();
        let (url, error) = match parse_url(address) {
            Ok(url) => (url, None),
            Err(error) => (nowhere(), Some(error)),
        };
        Self { config: Config::new(url), namespace: written_path(address).to_owned(), error }.path("/socket.io/")
    }

    /// The transports, in the order they are to be tried: one, such as [`Transport::WebSocket`], or several.
    /// Polling and then WebSocket by default.
    pub fn transports(mut self, transports: impl Into<Vec<Transport>>) -> Self {
        self.config.transports = transports.into();
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
        match auth::value(&auth) {
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
        self.config.auth = Some(auth::function(auth));
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

    /// The namespace that [`connect`](Self::connect) joins: the address's path, exactly as it is written, as in the
    /// JavaScript client.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the settings, or the first error in them.
    pub(crate) fn into_config(mut self) -> Result<Config, BuildError> {
        self.config.bound_times();
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.config.transports.is_empty() {
            return Err(BuildErrorKind::NoTransport.into());
        }
        self.config.http.check()?;
        Ok(self.config)
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

/// The longest time that is kept. A longer one means "for ever", and would overflow an `Instant`.
const LONGEST: Duration = Duration::from_hours(24 * 365);

impl Config {
    fn bound_times(&mut self) {
        let Self { timeout, upgrade_timeout, close_timeout, ack_timeout, reconnection, retries, .. } = self;
        let Reconnection { delay, delay_max, .. } = reconnection;
        let of_retries = retries.as_mut().map(|retries| &mut retries.ack_timeout);
        for time in
            [timeout, upgrade_timeout, close_timeout, ack_timeout, delay, delay_max].into_iter().chain(of_retries)
        {
            *time = LONGEST.min(*time);
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other settings may hold secrets: headers, cookies, query, certificates, the proxy's password.
        f.debug_struct("Config").field("url", &self.url.origin().ascii_serialization()).finish_non_exhaustive()
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

/// The path of an address as it is written: `Url` would encode it.
fn written_path(address: &str) -> &str {
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let path = rest.get(..end).and_then(|rest| rest.find('/').and_then(|begin| rest.get(begin..)));
    path.unwrap_or("/")
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
    fn the_path_of_an_address_is_the_namespace_as_it_is_written() {
        for (address, namespace) in [
            ("ws://example.org:81/imchat?a=1/2", "/imchat"),
            ("http://example.org/über/房间#top", "/über/房间"),
            ("http://example.org/%C3%BCber/a%20b", "/%C3%BCber/a%20b"),
            ("http://example.org/a/../b/ ", "/a/../b/"),
            ("http://example.org/", "/"),
            ("http://example.org?a=/b", "/"),
            ("http://example.org", "/"),
        ] {
            assert_eq!(ManagerBuilder::new(address).namespace(), namespace, "{address}");
        }
    }

    #[test]
    fn requests_go_to_the_path_with_the_query() {
        let url = |builder: ManagerBuilder| builder.into_config().unwrap().url.to_string();
        let builder = ManagerBuilder::new("ws://example.org:81/imchat?a=1");
        assert_eq!(url(builder), "http://example.org:81/socket.io/?a=1");
        let builder = ManagerBuilder::new("http://example.org").path("x/y").query("a", "b c");
        assert_eq!(url(builder), "http://example.org/x/y/?a=b+c");
    }

    #[test]
    fn wrong_settings_are_named() {
        let kind = |builder: ManagerBuilder| builder.into_config().unwrap_err().kind().clone();
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
        let config = ManagerBuilder::new("wss://example.org:81").into_config().unwrap();
        assert_eq!(config.url.as_str(), "https://example.org:81/socket.io/");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn wrong_certificates_are_named() {
        let kind = |builder: ManagerBuilder| builder.into_config().unwrap_err().kind().clone();
        let fine = || ManagerBuilder::new("https://localhost");
        assert_eq!(kind(fine().root_certificate("no PEM")), BuildErrorKind::RootCertificate);
        assert_eq!(kind(fine().client_certificate("no PEM")), BuildErrorKind::ClientCertificate);
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn an_https_address_needs_the_feature_tls() {
        let error = ManagerBuilder::new("wss://localhost").into_config().unwrap_err();
        assert_eq!(*error.kind(), BuildErrorKind::TlsMissing("wss://localhost".into()));
    }
}
