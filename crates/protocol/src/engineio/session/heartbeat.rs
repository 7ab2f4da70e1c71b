use std::time::{Duration, Instant};

use super::{role::Role, timing::Timing};
use crate::engineio::Revision;

/// Who pings, and until when the other side may be silent. In revision 4 the server pings; in revision 3 the client
/// does.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// When `due` is due.
    deadline: Instant,
    due: Due,
    pings: Pings,
    /// Whether nothing is read from the peer, so that nothing follows from its silence.
    input_held: bool,
    /// Whether a packet that is no pong has put the deadline off, which happens once for each ping.
    extended: bool,
    /// Whether the peer's time is over but for what it has sent already.
    excused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// This side pings.
    Ping,
    /// A pong must have come.
    Pong,
    /// Something must have come.
    Input,
}

/// What this side knows of its own pings.
#[derive(Debug)]
enum Pings {
    /// When the oldest ping was sent that is not answered, and the latest that is.
    Sent { unanswered: Option<Instant>, answered: Option<Instant> },
    /// When the next one is due, whatever comes from the peer.
    At(Instant),
}

/// What the passing of a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing now.
    Idle,
    /// A ping is to be sent.
    Ping,
    /// The peer is dead.
    Dead,
}

impl Heartbeat {
    pub(super) fn new(role: Role, revision: Revision, timing: Timing, now: Instant) -> Self {
        let (due, after) = match (role, revision) {
            (Role::Server, Revision::V4) => (Due::Ping, timing.ping_interval()),
            (Role::Server, Revision::V3) | (Role::Client, _) => {
                (Due::Input, timing.ping_interval() + timing.ping_timeout())
            }
        };
        let pings = match (role, revision) {
            (Role::Client, Revision::V3) => Pings::At(now + timing.ping_interval()),
            _ => Pings::Sent { unanswered: None, answered: None },
        };
        Self { deadline: now + after, due, pings, input_held: false, extended: false, excused: false }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is worth calling next.
    pub(super) fn deadline(&self) -> Instant {
        match self.pings {
            Pings::At(at) => at.min(self.deadline),
            Pings::Sent { .. } => self.deadline,
        }
    }

    /// When the latest ping was sent that the peer has answered.
    pub(super) fn answered_ping(&self) -> Option<Instant> {
        match self.pings {
            Pings::Sent { answered, .. } => answered,
            Pings::At(_) => None,
        }
    }

    /// What is due at `now`.
    pub(super) fn handle_timeout(&mut self, timing: Timing, now: Instant) -> Beat {
        if now >= self.deadline {
            // Anybody's timer is a little late.
            let is_late = now.duration_since(self.deadline) > IMPRECISION;
            match self.due {
                Due::Ping => {
                    // The timeout runs from when the ping was due, unless this process was held up in between.
                    let from = if is_late { now } else { self.deadline };
                    self.expect(Due::Pong, from + timing.ping_timeout());
                    if let Pings::Sent { unanswered, .. } = &mut self.pings {
                        unanswered.get_or_insert(now);
                    }
                    return Beat::Ping;
                }
                Due::Pong | Due::Input if self.input_held => self.excuse(timing, now),
                Due::Pong | Due::Input if !self.excused => {
                    // What the peer has sent by now may wait to be read: for a moment, or, if this process stood still,
                    // behind all that others have sent meanwhile.
                    self.deadline = now + if is_late { timing.ping_timeout().max(READING) } else { READING };
                    self.excused = true;
                }
                Due::Pong | Due::Input => return Beat::Dead,
            }
        }
        match &mut self.pings {
            Pings::At(at) if now >= *at => {
                *at = now + timing.ping_interval();
                // If this process was held up, the ping is late, and so is its answer.
                self.deadline = self.deadline.max(now + timing.ping_timeout());
                Beat::Ping
            }
            Pings::At(_) | Pings::Sent { .. } => Beat::Idle,
        }
    }

    /// Something has come from the peer. A peer whose pong is stuck behind a large message is alive: it gets the
    /// timeout once more, as in the reference (engine.io 6.6.11).
    ///
    /// The clock is only read if the time matters, which it rarely does for a server of revision 4.
    pub(super) fn heard(&mut self, timing: Timing, now: impl FnOnce() -> Instant) {
        match self.due {
            Due::Pong if !self.extended => {
                self.deadline = now() + timing.ping_timeout();
                self.extended = true;
            }
            Due::Input => self.expect(Due::Input, now() + timing.ping_interval() + timing.ping_timeout()),
            Due::Ping | Due::Pong => {}
        }
    }

    /// A pong has come. One that nobody asked for changes nothing.
    pub(super) fn answered(&mut self, timing: Timing, now: Instant) {
        if self.due == Due::Pong {
            self.expect(Due::Ping, now + timing.ping_interval());
        }
        if let Pings::Sent { unanswered, answered } = &mut self.pings {
            *answered = unanswered.take().or(*answered);
        }
    }

    /// Nothing is read from the peer from now on, for reasons of this side.
    pub(super) fn hold_input(&mut self) {
        self.input_held = true;
    }

    /// The peer is read again. It is pinged again when that would have been due, or has all its time again.
    pub(super) fn resume_input(&mut self, timing: Timing, now: impl FnOnce() -> Instant) {
        if std::mem::replace(&mut self.input_held, false) {
            self.excuse(timing, now());
        }
    }

    fn excuse(&mut self, timing: Timing, now: Instant) {
        match self.due {
            Due::Ping => {}
            Due::Pong => self.expect(Due::Ping, self.deadline - timing.ping_timeout() + timing.ping_interval()),
            Due::Input => self.deadline = now + timing.ping_interval() + timing.ping_timeout(),
        }
    }

    fn expect(&mut self, due: Due, deadline: Instant) {
        (self.due, self.deadline, self.extended, self.excused) = (due, deadline, false, false);
    }
}

/// How late a timer may be in the ordinary course of things. A deadline that is noticed later than this was missed because
/// the process or its machine stood still.
const IMPRECISION: Duration = Duration::from_millis(10);

/// How long it takes in the ordinary course of things until what has come is read.
const READING: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(300);
    const TIMEOUT: Duration = Duration::from_millis(200);

    fn timing() -> Timing {
        Timing::new(INTERVAL, TIMEOUT)
    }

    fn heartbeat(role: Role, revision: Revision, now: Instant) -> Heartbeat {
        Heartbeat::new(role, revision, timing(), now)
    }

    fn server(now: Instant) -> Heartbeat {
        heartbeat(Role::Server, Revision::V4, now)
    }

    #[test]
    fn pings_after_the_interval_and_gives_up_after_the_timeout() {
        let start = Instant::now();
        let mut heartbeat = server(start);
        assert_eq!(heartbeat.handle_timeout(timing(), start), Beat::Idle);
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL), Beat::Ping);
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL), Beat::Idle);
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL + TIMEOUT), Beat::Idle, "its pong may wait");
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL + TIMEOUT + READING), Beat::Dead);
    }

    #[test]
    fn the_timeout_does_not_grow_by_a_late_timer_nor_shrink_by_a_long_pause() {
        let start = Instant::now();
        for (late, expected) in [(3, INTERVAL + TIMEOUT), (5_000, INTERVAL + TIMEOUT + Duration::from_secs(5))] {
            let mut heartbeat = server(start);
            assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL + Duration::from_millis(late)), Beat::Ping);
            assert_eq!(heartbeat.deadline(), start + expected, "{late} ms late");
        }
    }

    #[test]
    fn a_pong_schedules_the_next_ping_from_its_arrival() {
        let start = Instant::now();
        let mut heartbeat = server(start);
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL), Beat::Ping);
        heartbeat.answered(timing(), start + INTERVAL + TIMEOUT / 2);
        assert_eq!(heartbeat.deadline(), start + INTERVAL * 2 + TIMEOUT / 2);
        assert_eq!(heartbeat.answered_ping(), Some(start + INTERVAL));
    }

    #[test]
    fn any_packet_extends_the_timeout_once() {
        let start = Instant::now();
        let mut heartbeat = server(start);
        heartbeat.heard(timing(), || panic!("no pong is awaited, so that the clock is not read"));
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL), Beat::Ping);
        heartbeat.heard(timing(), || start + INTERVAL + TIMEOUT / 2);
        assert_eq!(heartbeat.deadline(), start + INTERVAL + TIMEOUT / 2 + TIMEOUT);
        heartbeat.heard(timing(), || panic!("only once"));
    }

    #[test]
    fn a_peer_that_is_not_read_is_pinged_in_its_turn_and_has_its_timeout_again() {
        let start = Instant::now();
        let mut heartbeat = server(start);
        heartbeat.hold_input();
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL), Beat::Ping);
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL + TIMEOUT), Beat::Idle);
        assert_eq!(heartbeat.deadline(), start + INTERVAL * 2, "it is pinged when that would have been due");
        assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL * 2), Beat::Ping);
        heartbeat.resume_input(timing(), || start + INTERVAL * 2 + TIMEOUT / 2);
        heartbeat.answered(timing(), start + INTERVAL * 2 + TIMEOUT / 2);
        assert_eq!(heartbeat.answered_ping(), Some(start + INTERVAL), "the pong may be the one to the first ping");
        assert_eq!(heartbeat.deadline(), start + INTERVAL * 3);
    }

    #[test]
    fn a_process_that_stood_still_does_not_judge_its_peer_by_that_time() {
        let start = Instant::now();
        let woken = start + Duration::from_secs(60);
        for (role, revision) in [
            (Role::Server, Revision::V4),
            (Role::Server, Revision::V3),
            (Role::Client, Revision::V4),
            (Role::Client, Revision::V3),
        ] {
            let mut heartbeat = heartbeat(role, revision, start);
            if (role, revision) == (Role::Server, Revision::V4) {
                assert_eq!(heartbeat.handle_timeout(timing(), start + INTERVAL), Beat::Ping);
            }
            assert_ne!(heartbeat.handle_timeout(timing(), woken), Beat::Dead, "{role:?} {revision:?}");
            let almost = woken + TIMEOUT - Duration::from_millis(1);
            assert_ne!(heartbeat.handle_timeout(timing(), almost), Beat::Dead, "{role:?} {revision:?}");
            assert_eq!(heartbeat.handle_timeout(timing(), woken + TIMEOUT), Beat::Dead, "{role:?} {revision:?}");
        }
    }

    #[test]
    fn a_revision_3_client_must_ping_by_itself() {
        let start = Instant::now();
        let mut server = heartbeat(Role::Server, Revision::V3, start);
        let mut client = heartbeat(Role::Client, Revision::V3, start);
        assert_eq!(client.handle_timeout(timing(), start + INTERVAL), Beat::Ping);
        assert_eq!(client.handle_timeout(timing(), start + INTERVAL), Beat::Idle);
        server.heard(timing(), || start + INTERVAL);
        let dead = start + INTERVAL + TIMEOUT;
        assert_eq!(client.handle_timeout(timing(), dead), Beat::Idle);
        assert_eq!(client.handle_timeout(timing(), dead + READING), Beat::Dead);
        assert_eq!(server.handle_timeout(timing(), dead), Beat::Idle);
        assert_eq!(server.deadline(), dead + INTERVAL, "it has heard a ping in between");
    }
}
