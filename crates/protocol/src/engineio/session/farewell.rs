use std::time::{Duration, Instant};

use super::{
    close_reason::CloseReason,
    machine::Session,
    output::{GetAnswer, Transmit},
    role::Role,
    stage::{Stage, Transport},
    transport_kind::TransportKind,
    upgrade_error::UpgradeError,
};
use crate::websocket::CloseCode;

/// What is left of the peer when a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// It may still read what it is sent.
    Listens,
    /// It has sent its Close frame and waits for ours.
    Left,
    /// It left by a POST, beside which a last GET may be on its way.
    MayPoll,
    /// The connection is broken or its rules are.
    Gone,
}

/// How long a GET may come after the POST by which its client ends the session.
const LAST_GET: Duration = Duration::from_millis(100);

impl Session {
    /// Closes the session on this side. A session that is closed already keeps its reason.
    ///
    /// If the reason [is graceful](CloseReason::is_graceful), what waits is delivered before the transport's own
    /// farewell, within the close timeout.
    pub fn close(&mut self, reason: CloseReason, now: Instant) {
        let code = (self.role == Role::Client && reason.is_graceful()).then_some(CloseCode::NORMAL);
        self.end(reason, code, Peer::Listens, now);
    }

    /// Closes the session because of something its peer did, with the code of the Close frame that says so. What waits
    /// is delivered before, because the connection works.
    pub fn close_with(&mut self, reason: CloseReason, code: CloseCode, now: Instant) {
        self.end(reason, Some(code), Peer::Listens, now);
    }

    /// The peer has sent a Close frame on the session's WebSocket.
    pub fn handle_websocket_closed(&mut self, code: Option<CloseCode>, now: Instant) {
        match &mut self.stage {
            Stage::Open(Transport::WebSocket) => {
                // Without a code in it, the answer is as good with one.
                self.end(CloseReason::TransportClose, code.or(Some(CloseCode::NORMAL)), Peer::Left, now);
            }
            Stage::Farewell { transport: Transport::WebSocket, peer_left, .. } => *peer_left = true,
            Stage::HangingUp { .. } => self.finish(),
            Stage::Open(Transport::Polling(_)) | Stage::Farewell { .. } | Stage::Ended { .. } => {}
        }
    }

    /// The session's WebSocket was closed without a Close frame (`TransportClose`) or broke (`TransportError`), so that
    /// nothing more can be sent.
    pub fn handle_websocket_lost(&mut self, reason: CloseReason, now: Instant) {
        match &self.stage {
            Stage::Open(Transport::WebSocket) => self.end(reason, None, Peer::Gone, now),
            Stage::Farewell { transport: Transport::WebSocket, .. } | Stage::HangingUp { .. } => self.finish(),
            Stage::Open(Transport::Polling(_)) | Stage::Farewell { .. } | Stage::Ended { .. } => {}
        }
    }

    /// Everything that waited is written, or is in the answer to a GET or in a POST that was answered. To be called
    /// whenever that becomes so while the session is closed.
    pub fn handle_flushed(&mut self) {
        if !self.transmits.is_empty() {
            return;
        }
        match &self.stage {
            Stage::Farewell { transport: Transport::Polling(_), reason, .. } if reason.is_graceful() => self.finish(),
            Stage::Farewell { transport: Transport::WebSocket, peer_left: true, .. } => self.finish(),
            Stage::Farewell { transport: Transport::WebSocket, reason, until, .. } => {
                self.stage = Stage::HangingUp { reason: *reason, until: *until };
                self.transmits.add(Transmit::Shut);
            }
            _ => {}
        }
    }

    /// Nobody drives the session any more.
    pub fn abandon(&mut self, now: Instant) {
        self.end(CloseReason::TransportError, None, Peer::Gone, now);
        self.finish();
    }

    /// What the GET is answered with that a closed session waits for, if nothing waits to be sent.
    pub(super) fn last_answer(&self) -> Option<GetAnswer> {
        match &self.stage {
            Stage::Farewell { reason: CloseReason::ServerShuttingDown, .. } => Some(GetAnswer::Gone),
            Stage::Farewell { reason, .. } if !reason.is_graceful() => Some(GetAnswer::Noop),
            _ => None,
        }
    }

    /// When a closed session is given up.
    pub(super) fn farewell_deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Farewell { until, .. } | Stage::HangingUp { until, .. } => Some(*until),
            Stage::Open(_) | Stage::Ended { .. } => None,
        }
    }

    /// The one way from open to closed.
    pub(super) fn end(&mut self, reason: CloseReason, code: Option<CloseCode>, peer: Peer, now: Instant) {
        let Stage::Open(transport) = &mut self.stage else { return };
        let transport = std::mem::replace(transport, Transport::WebSocket);
        self.events.closed = Some(reason);
        let delivers = reason.is_graceful() && peer == Peer::Listens || code.is_some();
        if !delivers {
            self.transmits.add(Transmit::Discard);
        }
        let until = now + self.timing.close();
        let farewell = |transport, until| Stage::Farewell { reason, until, transport, peer_left: peer == Peer::Left };
        match transport {
            Transport::Polling(mut polling) if reason.is_graceful() => {
                polling.noop_due = false;
                self.stage = farewell(Transport::Polling(polling), until);
                if self.role == Role::Client {
                    self.drop_probe();
                }
                if self.role == Role::Client || reason != CloseReason::ServerShuttingDown {
                    self.transmits.add(Transmit::ClosePacket);
                }
            }
            Transport::Polling(polling) => {
                let awaits_get = peer == Peer::MayPoll && !polling.get;
                self.stage = farewell(Transport::Polling(polling), now + LAST_GET);
                self.drop_probe();
                if !awaits_get {
                    self.finish();
                }
            }
            Transport::WebSocket if peer == Peer::Gone => {
                self.stage = farewell(Transport::WebSocket, until);
                self.finish();
            }
            Transport::WebSocket => {
                self.stage = farewell(Transport::WebSocket, until);
                self.transmits.add(Transmit::CloseFrame(code));
            }
        }
    }

    /// The one way to the end, after which nothing is due.
    pub(super) fn finish(&mut self) {
        let (Stage::Farewell { reason, .. } | Stage::HangingUp { reason, .. }) = &self.stage else { return };
        let (reason, transport) = (*reason, self.stage.transport());
        self.drop_probe();
        self.stage = Stage::Ended { reason, transport };
        self.transmits.add(Transmit::Discard);
        if transport == TransportKind::WebSocket {
            self.transmits.add(Transmit::Shut);
        }
        self.events.ended = true;
    }

    /// Closes the WebSocket that tries to take a closed session over.
    fn drop_probe(&mut self) {
        self.fail_upgrade(UpgradeError::SessionClosed);
    }
}
