use std::time::Instant;

use crate::{
    BufferLimits, OverflowPolicy, Retries,
    connection::{
        packet::Outgoing,
        queue::{Full, Queue},
    },
};

/// The events of one socket that the server has not acknowledged yet.
#[derive(Debug, Default)]
pub(crate) struct RetryQueue {
    entries: Queue,
    head: Head,
}

/// The state of the first entry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Head {
    #[default]
    Waiting,
    /// Sent, for the `tries`th time; the acknowledgement must come by `until`.
    Sent { tries: u32, until: Instant },
    /// Sent before, but to be sent again.
    Again { tries: u32 },
}

/// What to do next for the first entry.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send this now.
    Send(Outgoing),
    /// Give up the event with this acknowledgement: all its tries timed out.
    GiveUp(u64),
}

impl RetryQueue {
    pub(crate) fn push(&mut self, packet: Outgoing, limits: &BufferLimits) -> Result<(), Full> {
        self.entries.push_within(packet, &BufferLimits { policy: OverflowPolicy::Reject, ..*limits }).map(drop)
    }

    /// Returns what to do at `now`, while the socket is connected. Call it until it returns `None`.
    pub(crate) fn step(&mut self, policy: &Retries, now: Instant) -> Option<Step> {
        let first = self.entries.first()?;
        let tries = match self.head {
            Head::Waiting => 0,
            Head::Again { tries } => tries,
            Head::Sent { until, .. } if now < until => return None,
            Head::Sent { tries, .. } if tries > policy.retries => {
                let ack = first.ack;
                self.pop();
                return ack.map(Step::GiveUp);
            }
            Head::Sent { tries, .. } => tries,
        };
        let packet = first.clone();
        self.head = Head::Sent { tries: tries + 1, until: now + policy.ack_timeout };
        Some(Step::Send(packet))
    }

    /// When to call [`step`](Self::step) next, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.head {
            Head::Sent { until, .. } => Some(until),
            Head::Waiting | Head::Again { .. } => None,
        }
    }

    /// An acknowledgement has arrived, perhaps for another event.
    pub(crate) fn acknowledged(&mut self, ack: u64) {
        if self.entries.first().is_some_and(|first| first.ack == Some(ack)) {
            self.pop();
        }
    }

    /// The connection was lost: the first entry is sent again, and the try does not count.
    pub(crate) fn disconnected(&mut self) {
        self.head = match self.head {
            Head::Sent { tries, .. } | Head::Again { tries } => Head::Again { tries: tries.saturating_sub(1) },
            Head::Waiting => Head::Waiting,
        };
    }

    /// Removes the events with these acknowledgements.
    pub(crate) fn forget(&mut self, named: impl Fn(u64) -> bool) {
        if self.entries.first().and_then(|first| first.ack).is_some_and(&named) {
            self.pop();
        }
        self.entries.remove(named);
    }

    /// The acknowledgements that the events wait for.
    pub(crate) fn acks(&self) -> impl Iterator<Item = u64> {
        self.entries.acks()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn pop(&mut self) {
        self.entries.pop();
        self.head = Head::Waiting;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: Retries = Retries { retries: 2, ack_timeout: Duration::from_secs(1), ids: false };

    fn queue(ids: impl IntoIterator<Item = u64>) -> RetryQueue {
        let mut queue = RetryQueue::default();
        for id in ids {
            let packet = Outgoing { head: b"x".to_vec(), ack: Some(id), ..Outgoing::default() };
            queue.push(packet, &BufferLimits::default()).unwrap();
        }
        queue
    }

    fn step(queue: &mut RetryQueue, now: Instant) -> Option<Result<u64, u64>> {
        Some(match queue.step(&POLICY, now)? {
            Step::Send(packet) => Ok(packet.ack.unwrap()),
            Step::GiveUp(id) => Err(id),
        })
    }

    #[test]
    fn one_is_in_flight_in_order() {
        let now = Instant::now();
        let mut queue = queue([1, 2]);
        assert_eq!(step(&mut queue, now), Some(Ok(1)));
        assert_eq!(step(&mut queue, now), None);
        queue.acknowledged(2);
        assert_eq!(step(&mut queue, now), None);
        queue.acknowledged(1);
        assert_eq!(step(&mut queue, now), Some(Ok(2)));
        queue.acknowledged(2);
        assert_eq!((step(&mut queue, now), queue.len(), queue.entries.bytes(), queue.deadline()), (None, 0, 0, None));
    }

    #[test]
    fn gives_up_after_all_tries() {
        let mut now = Instant::now();
        let mut queue = queue([1, 2]);
        for _ in 0..3 {
            assert_eq!(step(&mut queue, now), Some(Ok(1)));
            assert_eq!(queue.deadline(), Some(now + POLICY.ack_timeout));
            now += POLICY.ack_timeout;
        }
        assert_eq!(step(&mut queue, now), Some(Err(1)));
        assert_eq!(step(&mut queue, now), Some(Ok(2)));
    }

    #[test]
    fn a_lost_connection_costs_no_try() {
        let mut now = Instant::now();
        let mut queue = queue([1]);
        for _ in 0..10 {
            assert_eq!(step(&mut queue, now), Some(Ok(1)));
            queue.disconnected();
            assert_eq!(queue.deadline(), None);
        }
        for _ in 0..3 {
            assert_eq!(step(&mut queue, now), Some(Ok(1)));
            now += POLICY.ack_timeout;
        }
        assert_eq!(step(&mut queue, now), Some(Err(1)));
    }

    #[test]
    fn is_bounded() {
        let limits = BufferLimits { packets: 1, ..BufferLimits::default() };
        let mut queue = queue([1]);
        assert_eq!(queue.push(Outgoing::default(), &limits), Err(Full));
        assert_eq!(queue.acks().collect::<Vec<_>>(), [1]);
    }
}
