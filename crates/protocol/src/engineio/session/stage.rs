use std::time::Instant;

use super::{CloseReason, upgrade::Upgrade};

/// Where a session stands. Its transport is part of it, so that no other field can contradict it.
#[derive(Debug)]
pub(super) enum Stage {
    /// Messages are taken and delivered.
    Open(Transport),
    /// The session is closed and its last packets are on their way, for as long as `until`. `peer_left` says that the
    /// peer has sent its own Close frame, after which it sends nothing more.
    Farewell { reason: CloseReason, until: Instant, transport: Transport, peer_left: bool },
    /// Everything is said on the WebSocket; the peer has until `until` to close its side.
    HangingUp { reason: CloseReason, until: Instant },
    /// Nothing is left to do. What polls all the same is told so.
    Ended { reason: CloseReason, transport: TransportKind },
}

/// How an open session's packets travel.
#[derive(Debug)]
pub(super) enum Transport {
    Polling(Box<Polling>),
    WebSocket,
}

/// The requests of a session that polls, and the WebSocket that is about to take over.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// Whether a GET is under way: on the server it waits for packets.
    pub(super) get: bool,
    /// Whether a POST is under way.
    pub(super) post: bool,
    /// Whether the waiting GET is to be answered with a noop.
    pub(super) noop_due: bool,
    pub(super) upgrade: Upgrade,
    /// How many WebSockets have tried to take over.
    pub(super) probes: u32,
}

/// A way in which packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl TransportKind {
    /// The name in the protocol: `polling` or `websocket`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

impl std::fmt::Display for TransportKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Transport {
    pub(super) fn kind(&self) -> TransportKind {
        match self {
            Self::Polling(_) => TransportKind::Polling,
            Self::WebSocket => TransportKind::WebSocket,
        }
    }
}

impl Stage {
    /// The requests and the upgrade of a session that polls and has not ended.
    pub(super) fn polling(&mut self) -> Option<&mut Polling> {
        match self {
            Self::Open(Transport::Polling(polling)) => Some(polling),
            Self::Farewell { transport: Transport::Polling(polling), .. } => Some(polling),
            _ => None,
        }
    }

    pub(super) fn transport(&self) -> TransportKind {
        match self {
            Self::Open(transport) | Self::Farewell { transport, .. } => transport.kind(),
            Self::HangingUp { .. } => TransportKind::WebSocket,
            Self::Ended { transport, .. } => *transport,
        }
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        match self {
            Self::Open(_) => None,
            Self::Farewell { reason, .. } | Self::HangingUp { reason, .. } | Self::Ended { reason, .. } => {
                Some(*reason)
            }
        }
    }
}
