use std::time::Instant;

use super::{close_reason::CloseReason, transport_kind::TransportKind};

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

/// How far the move from polling to a WebSocket has come.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    /// No WebSocket tries to take over.
    #[default]
    Idle,
    /// A client waits for the WebSocket's handshake.
    Opening { until: Instant },
    /// A server waits for `2probe`, a client for `3probe`.
    Probing { until: Instant },
    /// The probe is answered. A server ends polls by a noop once in a while until `5` comes.
    Answered { until: Instant, noop_at: Instant },
    /// A client makes no new request, and sends `5` when those under way are answered.
    Pausing { until: Instant },
}

impl Upgrade {
    /// Whether a client makes no new requests.
    pub(super) fn is_pausing(&self) -> bool {
        matches!(self, Self::Pausing { .. })
    }
}

impl Transport {
    #[inline]
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

    #[inline]
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
