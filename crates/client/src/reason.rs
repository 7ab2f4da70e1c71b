use std::fmt;

/// Why a socket or a connection ended, in the words of the JavaScript reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The server disconnected the socket; it is not connected again unless asked to.
    ServerDisconnect,
    /// This side disconnected the socket.
    ClientDisconnect,
    /// The server was silent for longer than its ping interval and timeout.
    PingTimeout,
    /// The connection was closed, as by a server that shuts down or a network that changes.
    TransportClose,
    /// The connection broke.
    TransportError,
    /// The server sent something that is no packet.
    ParseError,
}

impl DisconnectReason {
    /// The reason as the reference spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerDisconnect => "io server disconnect",
            Self::ClientDisconnect => "io client disconnect",
            Self::PingTimeout => "ping timeout",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::ParseError => "parse error",
        }
    }

    /// Whether the socket reconnects by itself after it, where reconnection is on.
    pub const fn is_temporary(self) -> bool {
        !matches!(self, Self::ServerDisconnect | Self::ClientDisconnect)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
