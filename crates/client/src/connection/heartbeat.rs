use std::time::{Duration, Instant};

use sockeye_protocol::engineio::{Handshake, Revision};

/// Who pings, and until when the server has time. In revision 4 the server pings; in revision 3 the client does.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    revision: Revision,
    interval: Duration,
    timeout: Duration,
    /// When the server was last heard of.
    heard: Instant,
    /// When this side pings next, in revision 3.
    ping_at: Instant,
}

/// What the passing of a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It is not time yet.
    Early,
    /// A ping is to be sent now.
    Ping,
    /// The server is dead.
    Dead,
}

/// Longer times than this, which a server may announce, mean nothing and would overflow.
const LONGEST: Duration = Duration::from_hours(24);

impl Heartbeat {
    pub(crate) fn new(revision: Revision, handshake: &Handshake, now: Instant) -> Self {
        let interval = Duration::from_millis(handshake.ping_interval).clamp(Duration::from_millis(1), LONGEST);
        let timeout = Duration::from_millis(handshake.ping_timeout).min(LONGEST);
        Self { revision, interval, timeout, heard: now, ping_at: now + interval }
    }

    /// Something has come from the server.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When [`beat`](Self::beat) is worth calling next.
    pub(crate) fn deadline(&self) -> Instant {
        let dead = self.heard + self.interval + self.timeout;
        match self.revision {
            Revision::V4 => dead,
            Revision::V3 => dead.min(self.ping_at),
        }
    }

    /// What is due at `now`.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        if now >= self.heard + self.interval + self.timeout {
            Beat::Dead
        } else if self.revision == Revision::V3 && now >= self.ping_at {
            self.ping_at = now + self.interval;
            Beat::Ping
        } else {
            Beat::Early
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(revision: Revision, ping_interval: u64, ping_timeout: u64, now: Instant) -> Heartbeat {
        let handshake =
            Handshake { sid: String::new(), upgrades: Vec::new(), ping_interval, ping_timeout, max_payload: None };
        Heartbeat::new(revision, &handshake, now)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_server_is_dead_after_interval_and_timeout() {
        let start = Instant::now();
        let mut heartbeat = heartbeat(Revision::V4, 3000, 2000, start);
        assert_eq!(heartbeat.deadline(), start + 5 * SECOND);
        assert_eq!(heartbeat.beat(start + 4 * SECOND), Beat::Early);
        heartbeat.heard(start + 4 * SECOND);
        assert_eq!(heartbeat.beat(start + 8 * SECOND), Beat::Early);
        assert_eq!(heartbeat.beat(start + 9 * SECOND), Beat::Dead);
    }

    #[test]
    fn a_revision_3_client_pings() {
        let start = Instant::now();
        let mut heartbeat = heartbeat(Revision::V3, 3000, 2000, start);
        assert_eq!(heartbeat.deadline(), start + 3 * SECOND);
        assert_eq!(heartbeat.beat(start + 3 * SECOND), Beat::Ping);
        assert_eq!(heartbeat.beat(start + 3 * SECOND), Beat::Early);
        assert_eq!(heartbeat.deadline(), start + 5 * SECOND);
        assert_eq!(heartbeat.beat(start + 5 * SECOND), Beat::Dead);
    }

    #[test]
    fn absurd_times_are_cut() {
        let start = Instant::now();
        let mut heartbeat = heartbeat(Revision::V3, u64::MAX, u64::MAX, start);
        assert_eq!(heartbeat.beat(start + Duration::from_hours(24)), Beat::Ping);
        heartbeat = self::heartbeat(Revision::V3, 0, 0, start);
        assert!(heartbeat.deadline() > start);
    }
}
