use std::fmt;

/// Why a session ended, in the words of the JavaScript reference. The enum is exhaustive, because every reason must be
/// counted and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The connection broke, or the peer broke the rules of the transport.
    TransportError,
    /// The peer closed the connection.
    TransportClose,
    /// This side closed the session.
    ForcedClose,
    /// The peer was silent for longer than the heartbeat allows.
    PingTimeout,
    /// The peer sent bytes that are no packet.
    ParseError,
    /// The server is shutting down.
    ServerShuttingDown,
    /// The peer read too slowly and its outbox reached its limit.
    SlowConsumer,
}

impl CloseReason {
    /// The reason as the JavaScript reference spells it. A slow consumer is a `transport error` there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError | Self::SlowConsumer => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
        }
    }

    /// Whether this side ended the session of its own accord, so that the peer still gets what waits for it.
    pub fn is_graceful(self) -> bool {
        matches!(self, Self::ForcedClose | Self::ServerShuttingDown)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_spelled_as_in_the_reference() {
        for (reason, spelled) in [
            (CloseReason::TransportError, "transport error"),
            (CloseReason::TransportClose, "transport close"),
            (CloseReason::ForcedClose, "forced close"),
            (CloseReason::PingTimeout, "ping timeout"),
            (CloseReason::ParseError, "parse error"),
            (CloseReason::ServerShuttingDown, "server shutting down"),
            (CloseReason::SlowConsumer, "transport error"),
        ] {
            assert_eq!(reason.to_string(), spelled, "{reason:?}");
        }
    }
}
