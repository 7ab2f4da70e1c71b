use std::time::Duration;

use sockeye_protocol::engineio::Revision;
use tokio::time::Instant;

/// Who pings, and until when the other side has time. In revision 4 the server pings; in revision 3 the client does.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A ping is sent at this time.
    PingAt(Instant),
    /// A pong must come before this time, which another packet may put off once.
    PongBy { at: Instant, put_off: bool },
    /// The client's next ping must come before this time.
    ClientPingBy(Instant),
}

/// What the passing of a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It is not time yet.
    Early,
    /// A ping is to be sent now.
    Ping,
    /// The peer is dead.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(revision: Revision, interval: Duration, timeout: Duration, now: Instant) -> Self {
        let state = match revision {
            Revision::V4 => State::PingAt(now + interval),
            Revision::V3 => State::ClientPingBy(now + interval + timeout),
        };
        Self { interval, timeout, state }
    }

    /// When [`beat`](Self::beat) is worth calling next.
    pub(crate) fn deadline(&self) -> Instant {
        match self.state {
            State::PingAt(at) | State::PongBy { at, .. } | State::ClientPingBy(at) => at,
        }
    }

    /// What is due at `now`.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        match self.state {
            State::PingAt(at) if now >= at => {
                // The timeout runs from when the ping was due, unless this process itself was held up for longer than
                // a timer's imprecision: then the peer must not pay for it.
                let from = if now.duration_since(at) <= IMPRECISION { at } else { now };
                self.state = State::PongBy { at: from + self.timeout, put_off: false };
                Beat::Ping
            }
            State::PongBy { at, .. } | State::ClientPingBy(at) if now >= at => Beat::Dead,
            _ => Beat::Early,
        }
    }

    /// Some packet has come. A peer whose pong is stuck behind a large message is alive: it gets the timeout once more,
    /// as the reference has it (engine.io 6.6.11). In revision 3 every packet counts.
    ///
    /// Most of the time no pong is awaited, and then the clock is not even looked at.
    pub(crate) fn heard(&mut self) {
        match self.state {
            State::PongBy { put_off: false, .. } => {
                self.state = State::PongBy { at: Instant::now() + self.timeout, put_off: true };
            }
            State::ClientPingBy(_) => self.answered(Instant::now()),
            State::PingAt(_) | State::PongBy { put_off: true, .. } => {}
        }
    }

    /// The pong, or in revision 3 the client's ping, has come. A pong that is not asked for changes nothing.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.state = match self.state {
            State::ClientPingBy(_) => State::ClientPingBy(now + self.interval + self.timeout),
            State::PongBy { .. } => State::PingAt(now + self.interval),
            // It comes too late to put off the next ping, for which the client waits.
            State::PingAt(at) => State::PingAt(at),
        };
    }

    /// The peer was not read for reasons of this side, so that nothing follows from its silence: it is pinged again when
    /// that would have been due, or in revision 3 has all its time again.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.state = match self.state {
            State::PongBy { at, .. } => State::PingAt(at - self.timeout + self.interval),
            State::ClientPingBy(_) => State::ClientPingBy(now + self.interval + self.timeout),
            State::PingAt(at) => State::PingAt(at),
        };
    }
}

/// How late a timer may be in the ordinary course of things.
const IMPRECISION: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(300);
    const TIMEOUT: Duration = Duration::from_millis(200);

    #[test]
    fn pings_after_the_interval_and_gives_up_after_the_timeout() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Revision::V4, INTERVAL, TIMEOUT, start);
        assert_eq!(heartbeat.beat(start), Beat::Early);
        assert_eq!(heartbeat.beat(start + INTERVAL), Beat::Ping);
        assert_eq!(heartbeat.beat(start + INTERVAL), Beat::Early);
        assert_eq!(heartbeat.beat(start + INTERVAL + TIMEOUT), Beat::Dead);
    }

    #[test]
    fn the_timeout_does_not_grow_by_a_late_timer_nor_shrink_by_a_long_pause() {
        let start = Instant::now();
        for (late, expected) in [(3, INTERVAL + TIMEOUT), (5_000, INTERVAL + TIMEOUT + Duration::from_secs(5))] {
            let mut heartbeat = Heartbeat::new(Revision::V4, INTERVAL, TIMEOUT, start);
            assert_eq!(heartbeat.beat(start + INTERVAL + Duration::from_millis(late)), Beat::Ping);
            assert_eq!(heartbeat.deadline(), start + expected, "{late} ms late");
        }
    }

    #[test]
    fn a_pong_schedules_the_next_ping_from_its_arrival() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Revision::V4, INTERVAL, TIMEOUT, start);
        assert_eq!(heartbeat.beat(start + INTERVAL), Beat::Ping);
        heartbeat.answered(start + INTERVAL + TIMEOUT / 2);
        assert_eq!(heartbeat.deadline(), start + INTERVAL * 2 + TIMEOUT / 2);
    }

    #[test]
    fn any_packet_puts_the_end_off_once() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Revision::V4, INTERVAL, TIMEOUT, start);
        heartbeat.heard();
        assert_eq!(heartbeat.deadline(), start + INTERVAL, "no pong is awaited yet");
        let pinged = start - TIMEOUT / 2 + INTERVAL;
        heartbeat.state = State::PongBy { at: pinged, put_off: false };
        heartbeat.heard();
        let put_off = heartbeat.deadline();
        assert!(put_off >= start + TIMEOUT);
        heartbeat.heard();
        assert_eq!(heartbeat.deadline(), put_off, "only once");
        heartbeat.answered(start);
        assert_eq!(heartbeat.deadline(), start + INTERVAL);
    }

    #[test]
    fn a_peer_that_is_excused_is_pinged_in_its_turn_and_has_its_timeout_again() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Revision::V4, INTERVAL, TIMEOUT, start);
        heartbeat.excuse(start + INTERVAL / 2);
        assert_eq!(heartbeat.deadline(), start + INTERVAL, "no pong is awaited yet");
        assert_eq!(heartbeat.beat(start + INTERVAL), Beat::Ping);
        assert_eq!(heartbeat.beat(start + INTERVAL + TIMEOUT), Beat::Dead);
        heartbeat.excuse(start + INTERVAL + TIMEOUT);
        heartbeat.answered(start + INTERVAL + TIMEOUT);
        assert_eq!(
            heartbeat.deadline(),
            start + INTERVAL * 2,
            "a late pong must not put off what the client waits for"
        );
        assert_eq!(heartbeat.beat(start + INTERVAL * 2), Beat::Ping);
        assert_eq!(heartbeat.deadline(), start + INTERVAL * 2 + TIMEOUT);
        let mut heartbeat = Heartbeat::new(Revision::V3, INTERVAL, TIMEOUT, start);
        heartbeat.excuse(start + INTERVAL);
        assert_eq!(heartbeat.deadline(), start + INTERVAL * 2 + TIMEOUT);
    }

    #[test]
    fn a_revision_3_client_must_ping_by_itself() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Revision::V3, INTERVAL, TIMEOUT, start);
        assert_eq!(heartbeat.beat(start + INTERVAL), Beat::Early);
        heartbeat.answered(start + INTERVAL);
        assert_eq!(heartbeat.beat(start + INTERVAL + TIMEOUT), Beat::Early);
        assert_eq!(heartbeat.beat(start + INTERVAL * 2 + TIMEOUT), Beat::Dead);
    }
}
