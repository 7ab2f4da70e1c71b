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
    /// The path requests come in on: this very path, however many slashes are behind it, and nothing below it. Default
    /// `/socket.io/`, where clients of Socket.IO look for it.
    pub path: String,
    /// How long after a pong the next ping is sent. Default 25 s.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered. Default 20 s.
    pub ping_timeout: Duration,
    /// How long a WebSocket may probe before the upgrade must be complete. Default 10 s.
    pub upgrade_timeout: Duration,
    /// The largest WebSocket message and the largest POST body, in bytes; told to clients. A body has to arrive within
    /// `ping_interval` and `ping_timeout` together. Default 1,000,000.
    pub max_payload: usize,
    /// The most frames one WebSocket message may be cut into. Default 1,024.
    pub max_fragments: usize,
    /// The transports offered. Default both.
    pub transports: Transports,
    /// Whether a polling session may upgrade to WebSocket. Default true.
    pub allow_upgrades: bool,
    /// Whether clients of Engine.IO 3 (Socket.IO 2) are served. Default false.
    pub allow_eio3: bool,
    /// Which hosts requests may name. Others are refused with status 403, and by [`Engine::serve`](crate::Engine::serve)
    /// on every path. Default every host.
    pub allowed_hosts: Hosts,
    /// Which web origins may connect. Default the server's own.
    pub origins: OriginPolicy,
    /// What admitted pages of other origins may do. Default all a session needs.
    pub cors: Cors,
    /// Sets a cookie with the session's identifier. Default none.
    pub cookie: Option<Cookie>,
    /// What every client is sent right after the open packet, such as `Frame::text(b"4hello")`. Default nothing.
    pub initial_packet: Option<Frame>,
    /// The least bytes for which a polling answer is compressed, by gzip or deflate as the client asks; `None` for
    /// never. Default 1,024.
    pub http_compression: Option<usize>,
    /// What the application has to say about requests. Default nothing.
    pub hooks: Hooks,
    /// TLS for the listeners that [`Engine::serve`](crate::Engine::serve) is given. Default none.
    pub tls: Option<Tls>,
    /// How long a client may take for its TLS handshake. Default 10 s.
    pub tls_handshake_timeout: Duration,
    /// The most sessions open at a time; further ones are refused with status 503. Default 100,000.
    pub max_sessions: usize,
    /// The most sessions open at a time from one address (one /64 of IPv6), where the address is known; further ones
    /// are refused with status 429. The default, 20,000, does not get in the way of a proxy or a load test; a server
    /// that faces the internet itself is better off with some dozens.
    pub max_sessions_per_address: usize,
    /// The most sessions that open per second, over a longer time; as many as in ten seconds may open at once. Further
    /// ones are refused with status 503. 0 for any number. Default 10,000.
    pub max_session_rate: u32,
    /// The most sessions of one address (one /64 of IPv6) that open per second, likewise, where the address is known;
    /// further ones are refused with status 429. Loopback addresses are exempt, because proxies and load tests connect
    /// from there. Default 1,000: the 10,000 clients of an office behind one address may all reconnect at once.
    pub max_session_rate_per_address: u32,
    /// The most connections to listeners of ours that serve HTTP at a time; one that has become a WebSocket counts no
    /// longer. Further ones are answered with status 503 and closed. Default 100,000.
    pub max_connections: usize,
    /// The most such connections of one address (one /64 of IPv6), unless `trust_forwarded` is set; further ones are
    /// answered with status 429 and closed. Default 20,000.
    pub max_connections_per_address: usize,
    /// Whether the last address in `X-Forwarded-For` is the client's. Set it only behind a proxy that adds one:
    /// otherwise clients make up addresses. Default false.
    pub trust_forwarded: bool,
    /// About how many bytes the head of a request to a listener of ours may have, at least 8 KiB: the rest of a longer
    /// one is not read, and it is refused with status 431. Default 32 KiB.
    pub max_head_bytes: usize,
    /// The most bytes that a session keeps of the target and the headers of the request that opened it. Headers beyond it
    /// are left out, and a request with a longer target is refused. Default 8 KiB.
    pub handshake_bytes: usize,
    /// Whether a session also keeps the headers of that request that only say how the connection works: `Connection`,
    /// `Upgrade`, `Sec-WebSocket-Key`, `-Version` and `-Extensions`, `Accept-Encoding`, `Cache-Control`, `Pragma`,
    /// `Content-Length`, `TE` and `Transfer-Encoding`. All other headers are kept in any case. The reference keeps all.
    /// Default false, which saves about 250 bytes a connection of a browser.
    pub keep_all_headers: bool,
    /// How long a connection to a listener of ours may take to send a request's head. Default 30 s.
    pub head_timeout: Duration,
    /// How long a client of a listener of ours may take no byte of an answer that waits for it, whatever the path, before
    /// its connection is dropped. Default 30 s.
    pub write_timeout: Duration,
    /// The most bytes that may wait for one peer; beyond them it is a slow consumer and is closed. Default 4 MiB.
    pub outbox_bytes: usize,
    /// Whether every packet, in and out, is logged at level info under the target `sockeye::packets`: its kind and its
    /// size, not what it says. Default false.
    pub log_packets: bool,
    /// How long a closing connection may take to receive its last packets. Default 2 s.
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

/// Which transports an engine offers.
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
