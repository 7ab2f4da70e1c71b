use std::time::Duration;

use sockeye_engine::Config as EngineConfig;

use crate::{Parser, RecoveryConfig};

/// The settings of a server. The defaults are those of the JavaScript reference, and every limit is on.
///
/// ```
/// use std::time::Duration;
/// use sockeye::{Config, EngineConfig, OriginPolicy, Server};
///
/// # fn main() -> Result<(), sockeye::OriginError> {
/// let origins = OriginPolicy::list(["https://example.org"])?;
/// let config = Config {
///     connect_timeout: Duration::from_secs(10),
///     engine: EngineConfig { origins, ..EngineConfig::default() },
///     ..Config::default()
/// };
/// assert_eq!(config.engine.path, "/socket.io/");
/// let server = Server::builder().config(config).build();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The settings of the connections.
    pub engine: EngineConfig,
    /// How long a connection may stay without joining a namespace. Default 45 s.
    pub connect_timeout: Duration,
    /// How long `emit_with_ack` and its relatives wait for an acknowledgement if the call sets no other timeout.
    /// Default 60 s.
    pub ack_timeout: Duration,
    /// The format of packets. Default JSON, which is also every client's default.
    pub parser: Parser,
    /// Connection state recovery: a client that reconnects after a short disconnection gets back its socket id, rooms
    /// and values, and receives the events it missed. Default off.
    pub recovery: Option<RecoveryConfig>,
    /// Whether the server removes a child namespace, one created for a client by
    /// [`of_matching`](crate::Server::of_matching), when its last socket leaves. Default false.
    pub cleanup_empty_child_namespaces: bool,
    /// Whether the server logs every incoming and outgoing event at level info under the target `sockeye::events`.
    /// Default false.
    pub log_events: bool,
    /// The most namespaces one connection may join. Default 100.
    pub max_namespaces: usize,
    /// The most child namespaces, which the server creates when clients ask for them. At the limit the server removes
    /// the child namespace that has been without sockets for the longest time, even if `cleanup_empty_child_namespaces`
    /// is false; if every one has sockets, it refuses the client. Default 10,000.
    pub max_child_namespaces: usize,
    /// The most rooms one socket may be in, not counting the room named after its id. Default 1,000.
    pub max_rooms: usize,
    /// The most bytes of the payload of a client's CONNECT packet (`auth` in the JavaScript client). The server refuses a
    /// client that sends more. Default 16 KiB.
    pub max_auth: usize,
    /// Whether a socket keeps the payload of its client's CONNECT packet for as long as it exists. If false, the payload
    /// is dropped when the connect handlers have ended; what is needed later belongs into
    /// [`Socket::insert`](crate::Socket::insert). Default false.
    pub keep_auth: bool,
    /// The most unanswered acknowledgements of one socket, including those of broadcasts. At the limit `emit_with_ack`
    /// fails with [`LimitError::PendingAcks`](crate::LimitError::PendingAcks) and does not send the event to that
    /// socket. Default 10,000.
    pub max_pending_acks: usize,
    /// The most events and requests to join a namespace, together, that one connection may send per second. The server
    /// allows bursts of this size. Beyond the rate it pauses reading the connection; if the pause outlasts the
    /// heartbeat, the heartbeat closes the connection. Default 100,000.
    pub max_event_rate: u32,
    /// How long the attachments of a packet may take to arrive. Default 60 s.
    pub attachments_timeout: Duration,
    /// The most binary attachments one packet may have. Default 10, as in the JavaScript client.
    pub max_attachments: usize,
    /// The most bytes that all attachments of one packet may have together. Default 10 MiB.
    pub max_attachment_bytes: usize,
    /// How deep the arrays and objects of a packet may nest. Default 64.
    pub max_depth: usize,
    /// The most bytes of events that may wait while a handler of their socket runs. Beyond it the server does not read
    /// the connection until the handler has caught up, and does not close the connection for missing pongs meanwhile. A
    /// client of Socket.IO 2 gets no answer to its own pings then, and gives up after the ping timeout. The server does
    /// not read acknowledgements behind those events either: a handler that awaits the acknowledgement of such a client
    /// waits until it times out. Default 1 MiB.
    pub backlog_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: EngineConfig::default(),
            connect_timeout: Duration::from_secs(45),
            ack_timeout: Duration::from_secs(60),
            parser: Parser::default(),
            recovery: None,
            cleanup_empty_child_namespaces: false,
            log_events: false,
            max_namespaces: 100,
            max_child_namespaces: 10_000,
            max_rooms: 1_000,
            max_auth: 16 * 1024,
            keep_auth: false,
            max_pending_acks: 10_000,
            max_event_rate: 100_000,
            attachments_timeout: Duration::from_secs(60),
            max_attachments: 10,
            max_attachment_bytes: 10 * 1024 * 1024,
            max_depth: 64,
            backlog_bytes: 1024 * 1024,
        }
    }
}
