use std::time::Instant;

use super::{
    close_reason::CloseReason,
    heartbeat::Heartbeat,
    output::{Event, Events, Transmit, Transmits},
    role::Role,
    stage::{Stage, Transport},
    timing::Timing,
    transport_kind::TransportKind,
};
use crate::engineio::Revision;

/// One end of a session, from its opening to its end; see the [module](super) for how it is driven.
#[derive(Debug)]
pub struct Session {
    pub(super) role: Role,
    pub(super) revision: Revision,
    pub(super) timing: Timing,
    pub(super) stage: Stage,
    pub(super) heartbeat: Heartbeat,
    pub(super) transmits: Transmits,
    pub(super) events: Events,
}

impl Session {
    /// A session whose open packet is on its way by `transport` (server) or has come by it (client).
    pub fn new(role: Role, revision: Revision, transport: TransportKind, timing: Timing, now: Instant) -> Self {
        let transport = match transport {
            TransportKind::Polling => Transport::Polling(Box::default()),
            TransportKind::WebSocket => Transport::WebSocket,
        };
        Self {
            role,
            revision,
            timing,
            stage: Stage::Open(transport),
            heartbeat: Heartbeat::new(role, revision, timing, now),
            transmits: Transmits::default(),
            events: Events::default(),
        }
    }

    /// Whether messages are taken and delivered.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether nothing is left to be sent or awaited.
    #[inline]
    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// Why the session is closed; none while it is open.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.stage.close_reason()
    }

    /// How packets travel at the moment.
    #[inline]
    pub fn transport(&self) -> TransportKind {
        self.stage.transport()
    }

    /// When the latest ping was sent that the peer has answered: what was sent to it before that has reached it.
    pub fn answered_ping(&self) -> Option<Instant> {
        self.heartbeat.answered_ping()
    }

    /// What the driver does next, if anything. What it appends to what waits belongs to the transport that
    /// [`transport`](Self::transport) names.
    #[inline]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.next()
    }

    /// What happened next, if anything.
    #[inline]
    pub fn poll(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// Whether [`poll`](Self::poll) has something to tell.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }
}
