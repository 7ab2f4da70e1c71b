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
    /// How long an acknowledgement is waited for where no other time is given. Default 60 s.
    pub ack_timeout: Duration,
    /// The format of packets. Default JSON, which is also every client's default.
    pub parser: Parser,
    /// Whether clients that were cut off for a while take up where they left off. Default no.
    pub recovery: Option<RecoveryConfig>,
    /// Whether a namespace that was made for a client by [`of_matching`](crate::Server::of_matching) goes when its last
    /// socket leaves. Default false.
    pub cleanup_empty_child_namespaces: bool,
    /// Whether every event, in and out, is logged at level info under the target `sockeye::events`. Default false.
    pub log_events: bool,
    /// The most namespaces one connection may join. Default 100.
    pub max_namespaces: usize,
    /// The most namespaces that are there because clients asked for them. When they are reached, those without sockets
    /// are removed, whatever `cleanup_empty_child_namespaces` says; if none is without, the client is refused. Default
    /// 10,000.
    pub max_child_namespaces: usize,
    /// The most rooms one socket may be in, its own left out. Default 1,000.
    pub max_rooms: usize,
    /// The most acknowledgements that may be waited for from one socket, those of broadcasts included. Who owes as many
    /// is not sent an event that asks for one more; whoever asks gets the error. Default 10,000.
    pub max_pending_acks: usize,
    /// The most events, and requests to join a namespace, that one connection may send a second for long; beyond them
    /// it is not read until it is within them again, and closed by the heartbeat if that takes too long. Bursts of as
    /// many are let through. Default 100,000.
    pub max_event_rate: u32,
    /// How long the attachments of a packet may take to arrive. Default 60 s.
    pub attachments_timeout: Duration,
    /// The most binary attachments one packet may have. Default 10, which is also what the JavaScript client takes.
    pub max_attachments: usize,
    /// The most bytes the attachments of one packet may have together. Default 10 MiB.
    pub max_attachment_bytes: usize,
    /// How deep the arrays and objects of a packet may nest. Default 64.
    pub max_depth: usize,
    /// The most bytes of events that may wait for a handler of their socket to finish; beyond them the connection is
    /// not read until the handler has caught up, and its client not taken for dead meanwhile. A client of Socket.IO 2,
    /// whose own pings are not answered then, gives up after the ping timeout. Nor is an acknowledgement read that comes
    /// behind those events: a handler that asks a client which sends that much waits until the time for the answer is
    /// up. Default 1 MiB.
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
