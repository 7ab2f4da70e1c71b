use std::time::Duration;

use http::request::Parts;

use crate::{Cookie, Cors, Frame, Hooks, Hosts, OriginPolicy, Refusal, Tls};

/// The settings of an engine. The defaults are those of the JavaScript reference, and every limit is on.
///
/// ```
/// use std::time::Duration;
/// let config = sockeye_engine::Config { ping_interval: Duration::from_secs(10), ..Default::default() };
/// assert_eq!(config.max_payload, 1_000_000);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The path of the engine's requests. A request must have exactly this path, except for the number of slashes at
    /// its end. Default `/socket.io/`, which is the default of Socket.IO clients.
    pub path: String,
    /// The time between a pong and the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping. Default 20 s.
    pub ping_timeout: Duration,
    /// How long the upgrade of a polling session to WebSocket may take, from the opening of the WebSocket on. Default
    /// 10 s.
    pub upgrade_timeout: Duration,
    /// The largest WebSocket message and the largest POST body, in bytes. The open packet tells it to clients. A body
    /// must arrive within the sum of `ping_interval` and `ping_timeout`. Default 1,000,000.
    pub max_payload: usize,
    /// The most frames that one WebSocket message may consist of. Default 1,024.
    pub max_fragments: usize,
    /// The transports that clients may use. Default both.
    pub transports: Transports,
    /// Whether a polling session may upgrade to WebSocket. Default true.
    pub allow_upgrades: bool,
    /// Whether clients of Engine.IO 3 (Socket.IO 2) are served. Default false.
    pub allow_eio3: bool,
    /// Which hosts requests may name. Requests for other hosts are refused with status 403;
    /// [`Engine::serve`](crate::Engine::serve) refuses them on every path. Default: every host.
    pub allowed_hosts: Hosts,
    /// The web origins whose pages may connect. Default: the server's own origin.
    pub origins: OriginPolicy,
    /// What admitted pages of other origins may do. Default: what a session needs.
    pub cors: Cors,
    /// A cookie with the session's identifier. Default none.
    pub cookie: Option<Cookie>,
    /// A packet that is sent to every client directly after the open packet, such as `Frame::text(b"4hello")`. Default
    /// none.
    pub initial_packet: Option<Frame>,
    /// The size, in bytes, from which a polling answer is compressed, with gzip or deflate, whichever the client
    /// accepts. `None` turns compression off. Default 1,024.
    pub http_compression: Option<usize>,
    /// Functions of the application that are called for requests. Default none.
    pub hooks: Hooks,
    /// TLS for the listeners of [`Engine::serve`](crate::Engine::serve). Default none.
    pub tls: Option<Tls>,
    /// How long a client may take for its TLS handshake. Default 10 s.
    pub tls_handshake_timeout: Duration,
    /// The most sessions that are open at a time. Further ones are refused with status 503. Default 100,000.
    pub max_sessions: usize,
    /// The most sessions that are open at a time from one address (one /64 network of IPv6), if the address is known.
    /// Further ones are refused with status 429. The default, 20,000, leaves room for a proxy or a load test. Set some
    /// dozens if clients reach the server directly from the internet.
    pub max_sessions_per_address: usize,
    /// The most sessions that open per second on average. Up to ten times as many may open at once. Further ones are
    /// refused with status 503. 0 turns the limit off. Default 10,000.
    pub max_session_rate: u32,
    /// The most sessions that open per second from one address (one /64 network of IPv6) on average, if the address is
    /// known. Up to ten times as many may open at once. Further ones are refused with status 429. Loopback addresses are
    /// exempt, because proxies and load tests connect from them. 0 turns the limit off. Default 1,000: the 10,000 clients
    /// of an office behind one address may all reconnect at once.
    pub max_session_rate_per_address: u32,
    /// The most HTTP connections that are open at a time at the listeners of [`Engine::serve`](crate::Engine::serve). A
    /// connection that has become a WebSocket is not counted. Further ones are answered with status 503 and closed.
    /// Default 100,000.
    pub max_connections: usize,
    /// The most such connections from one address (one /64 network of IPv6), unless `trust_forwarded` is set. Further
    /// ones are answered with status 429 and closed. Default 20,000.
    pub max_connections_per_address: usize,
    /// Whether the last address in `X-Forwarded-For` is the client's. Set it only behind a proxy that adds this
    /// address: otherwise clients can claim any address. Default false.
    pub trust_forwarded: bool,
    /// How many bytes the head of a request may have, approximately and at least 8 KiB, at the listeners of
    /// [`Engine::serve`](crate::Engine::serve). A longer head is refused with status 431, and its rest is not read.
    /// Default 32 KiB.
    pub max_head_bytes: usize,
    /// The most bytes that a session keeps of the target and the headers of the request that opened it. Headers that do
    /// not fit are left out, and a request with a longer target is refused. Default 8 KiB.
    pub handshake_bytes: usize,
    /// Whether a session also keeps the headers that only the HTTP layer uses: `Connection`, `Upgrade`,
    /// `Sec-WebSocket-Key`, `-Version` and `-Extensions`, `Accept-Encoding`, `Cache-Control`, `Pragma`,
    /// `Content-Length`, `TE` and `Transfer-Encoding`. All other headers are always kept. The reference keeps all.
    /// Default false, which saves about 250 bytes for each connection of a browser.
    pub keep_all_headers: bool,
    /// How long a client may take to send the head of a request, at the listeners of
    /// [`Engine::serve`](crate::Engine::serve). Default 30 s.
    pub head_timeout: Duration,
    /// How long a client may read nothing of an answer before its connection is dropped, at the listeners of
    /// [`Engine::serve`](crate::Engine::serve) and on every path. Default 30 s.
    pub write_timeout: Duration,
    /// The most memory, in bytes, that packets may take while they wait for one client. A client that reads nothing is a
    /// slow consumer when others send it more, and its session is closed; a client that reads may have twice as much. What
    /// its own handlers send it, and the answers to its own packets, are not limited: while much of it waits, nothing is
    /// read from the client. Default 4 MiB.
    pub outbox_bytes: usize,
    /// How long a client may read nothing of what waits for it before it is closed as a slow consumer. A client that polls
    /// is closed only if so much waits for it that nothing is read from it. Default 10 s.
    pub slow_consumer_timeout: Duration,
    /// About how many bytes the engine may hold for all clients together: a fixed cost for each session and HTTP
    /// connection, packets that wait for clients, incomplete messages and bodies, and what handlers report as
    /// [`held_bytes`](crate::SessionHandler::held_bytes). From 80 % on, clients that take more than an equal share are not
    /// read. From 90 % on, new sessions are refused with status 503. Beyond the limit, the sessions that take the most are
    /// closed. Default `usize::MAX`, which turns the limit off; a quarter of the machine's memory is a good value.
    pub max_memory: usize,
    /// Whether every packet, received or sent, is logged at level info under the target `sockeye::packets`, with its
    /// kind and size and without its content. Default false.
    pub log_packets: bool,
    /// How long a client may take to receive its last packets while its connection is being closed. Default 2 s.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".into(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_payload: 1_000_000,
            max_fragments: 1_024,
            transports: Transports::ALL,
            allow_upgrades: true,
            allow_eio3: false,
            allowed_hosts: Hosts::default(),
            origins: OriginPolicy::default(),
            cors: Cors::default(),
            cookie: None,
            initial_packet: None,
            http_compression: Some(1_024),
            hooks: Hooks::default(),
            tls: None,
            tls_handshake_timeout: Duration::from_secs(10),
            max_sessions: 100_000,
            max_sessions_per_address: 20_000,
            max_session_rate: 10_000,
            max_session_rate_per_address: 1_000,
            max_connections: 100_000,
            max_connections_per_address: 20_000,
            trust_forwarded: false,
            max_head_bytes: 32 * 1024,
            handshake_bytes: 8 * 1024,
            keep_all_headers: false,
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            outbox_bytes: 4 * 1024 * 1024,
            slow_consumer_timeout: Duration::from_secs(10),
            max_memory: usize::MAX,
            log_packets: false,
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl Config {
    /// Checks the host that a request names and the origin of the page that makes it.
    pub(crate) fn check_request(&self, request: &Parts) -> Result<(), Refusal> {
        self.allowed_hosts.check(request)?;
        self.origins.check_request(request)
    }
}

/// The transports that an engine offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transports {
    /// HTTP long-polling.
    pub polling: bool,
    /// WebSocket.
    pub websocket: bool,
}

impl Transports {
    /// Polling and WebSocket.
    pub const ALL: Self = Self { polling: true, websocket: true };
    /// Polling only.
    pub const POLLING: Self = Self { polling: true, websocket: false };
    /// WebSocket only.
    pub const WEBSOCKET: Self = Self { polling: false, websocket: true };
}
