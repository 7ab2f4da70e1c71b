use std::time::Duration;

/// The settings of connection state recovery.
///
/// With recovery, every client receives an additional last argument with most events: the offset. The JavaScript server
/// does the same. An event handler of python-socketio that takes a fixed number of arguments then also needs `*args`.
#[derive(Debug, Clone)]
pub struct RecoveryConfig {
    /// The longest disconnection after which a client is recovered. It starts when the server notices that the
    /// connection broke. A client that reconnects before the server has noticed ends its former socket. If a handler of
    /// the former socket still runs, the client waits for it; after 5 seconds it gets a new socket instead. Default 2
    /// minutes.
    pub max_disconnection: Duration,
    /// Whether a recovered client skips the namespace's middleware. The connect handlers run in any case. Default true.
    pub skip_middleware: bool,
    /// The most disconnected clients that each namespace remembers. Beyond it, the namespace forgets the client that
    /// disconnected first. Default 100,000.
    pub max_absent: usize,
    /// The most memory, in bytes, that the packets take which each namespace keeps. Beyond it, the namespace drops its oldest packets. It does
    /// not recover a client that may have missed a dropped packet, nor one that missed more bytes than the
    /// `outbox_bytes` of its connection. Default 16 MiB.
    pub max_bytes: usize,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            skip_middleware: true,
            max_absent: 100_000,
            max_bytes: 16 * 1024 * 1024,
        }
    }
}
