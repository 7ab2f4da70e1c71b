use std::time::Instant;

use super::{
    close_reason::CloseReason, farewell::Peer, machine::Session, output::Transmit, role::Role,
    transport_kind::TransportKind,
};
use crate::engineio::{Packet, Revision};

/// What the driver does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is a message for the application.
    Deliver,
    /// It was for the session alone, or comes too late.
    Done,
}

impl Session {
    /// Something has come from the peer, by whatever transport the session uses. To be called once for each read or
    /// body that brought packets, before or after they are handled.
    ///
    /// `now` is only called if the time matters, so that messages cost no look at the clock.
    pub fn handle_input(&mut self, now: impl FnOnce() -> Instant) {
        self.heartbeat.heard(self.timing, now);
    }

    /// A packet has come by a request, its answer or the session's own WebSocket.
    ///
    /// A driver need not ask about messages as long as [`is_open`](Self::is_open): they are to be delivered.
    pub fn handle_packet(&mut self, via: TransportKind, packet: &Packet<'_>, now: Instant) -> Delivery {
        if !self.is_open() {
            return Delivery::Done;
        }
        match (self.role, self.revision, packet) {
            (_, _, Packet::Text(_) | Packet::Binary(_)) => return Delivery::Deliver,
            (Role::Server, Revision::V4, Packet::Pong(_)) => self.heartbeat.answered(self.timing, now),
            (Role::Server, Revision::V3, Packet::Ping(_)) | (Role::Client, _, Packet::Ping(_)) => {
                self.transmits.add(Transmit::Pong);
            }
            // A heartbeat in the wrong direction.
            (Role::Server, Revision::V4, Packet::Ping(_)) | (Role::Server, Revision::V3, Packet::Pong(_)) => {
                self.end(CloseReason::TransportError, None, Peer::Listens, now);
            }
            (_, _, Packet::Close) => {
                let peer = match via {
                    // The poll of a client that leaves by a POST may be the later of the two.
                    TransportKind::Polling if self.role == Role::Server => Peer::MayPoll,
                    TransportKind::Polling => Peer::Gone,
                    TransportKind::WebSocket => Peer::Listens,
                };
                self.end(CloseReason::TransportClose, None, peer, now);
            }
            (Role::Client, _, Packet::Pong(_)) | (_, _, Packet::Open(_) | Packet::Upgrade | Packet::Noop) => {}
        }
        Delivery::Done
    }

    /// Something has come that is no packet.
    pub fn handle_invalid_packet(&mut self, now: Instant) {
        self.end(CloseReason::ParseError, None, Peer::Listens, now);
    }

    /// Nothing is read from the peer from now on because this side is behind with its own work. Until
    /// [`resume_input`](Self::resume_input) the peer is pinged on, and is not taken for dead.
    pub fn hold_input(&mut self) {
        self.heartbeat.hold_input();
    }

    /// The peer is read again. `now` is only called if its input was held.
    pub fn resume_input(&mut self, now: impl FnOnce() -> Instant) {
        self.heartbeat.resume_input(self.timing, now);
    }
}
