use std::time::Instant;

use super::{close_reason::CloseReason, farewell::Peer, heartbeat::Beat, machine::Session, output::Transmit};

impl Session {
    /// When to call [`handle_timeout`](Self::handle_timeout); never, once the session has ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_open() {
            let beat = self.heartbeat.deadline();
            return Some(self.upgrade_deadline().map_or(beat, |at| at.min(beat)));
        }
        let farewell = self.farewell_deadline()?;
        Some(self.upgrade_deadline().map_or(farewell, |at| at.min(farewell)))
    }

    /// Does what is due at `now`. What the peer has sent by then is to be read before.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.farewell_deadline().is_some_and(|until| now >= until) {
            return self.finish();
        }
        self.handle_upgrade_timeout(now);
        if self.is_open() {
            match self.heartbeat.handle_timeout(self.timing, now) {
                Beat::Idle => {}
                Beat::Ping => self.transmits.add(Transmit::Ping),
                Beat::Dead => self.end(CloseReason::PingTimeout, None, Peer::Listens, now),
            }
        }
    }
}
