use std::fmt;

/// Why a socket or a connection ended, in the words of the JavaScript reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The server disconnected the socket. It does not reconnect by itself.
    ServerDisconnect,
    /// This side disconnected the socket.
    ClientDisconnect,
    /// The server sent no ping within its ping interval and ping timeout.
    PingTimeout,
    /// The server closed the connection, for example because it shuts down.
    TransportClose,
    /// The connection broke.
    TransportError,
    /// The server sent bytes that are no packet.
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

    /// Whether the socket reconnects by itself after this, if reconnection is enabled.
    pub const fn is_temporary(self) -> bool {
        !matches!(self, Self::ServerDisconnect | Self::ClientDisconnect)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
