//! The two ways packets travel: [`polling`] in the bodies of HTTP requests, [`websocket`] in frames.
pub(crate) mod polling;
pub(crate) mod upgrade;
pub(crate) mod websocket;

/// How a session's packets travel at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl TransportKind {
    /// The name in the protocol: `polling` or `websocket`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}
