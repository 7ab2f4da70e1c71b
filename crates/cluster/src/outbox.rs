//! What waits to be published. It is bounded in bytes and in age, so that a broker that is down or slow costs no more.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::format::Publication;

/// The publications that wait for the broker, oldest first.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

/// How much may wait, and what happens beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxLimits {
    /// How much memory the waiting publications may take, in bytes. Default 16 MiB.
    pub bytes: usize,
    /// How long a publication may wait. Default 30 s.
    pub age: Duration,
    /// Which publications are dropped when there is no room. Default the oldest.
    pub overflow: Overflow,
}

/// Which publications are dropped when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Those that have waited longest.
    #[default]
    DropOldest,
    /// The new one.
    DropNewest,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The memory of those that wait and of those that were taken, which may come back.
    bytes: usize,
    /// How many publications were taken and are neither sent nor put back.
    taken: usize,
    dropped: u64,
    expired: u64,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    publication: Publication,
}

/// A publication that was taken from the outbox. It goes to [`Outbox::sent`] or [`Outbox::put_back`].
#[derive(Debug)]
pub struct Taken {
    entry: Entry,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, age: Duration::from_secs(30), overflow: Overflow::default() }
    }
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Self {
        Self { limits, state: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    /// Adds a publication. If there is no room, publications are dropped and counted; nobody waits.
    pub fn push(&self, publication: Publication) {
        let cost = cost(&publication);
        let mut state = self.state.lock();
        while state.bytes + cost > self.limits.bytes {
            let oldest = match self.limits.overflow {
                // For one that never finds room, none that waits makes place.
                Overflow::DropOldest if cost <= self.limits.bytes => state.entries.pop_front(),
                Overflow::DropOldest | Overflow::DropNewest => None,
            };
            state.dropped += 1;
            let Some(oldest) = oldest else { return };
            state.bytes -= self::cost(&oldest.publication);
        }
        state.bytes += cost;
        state.entries.push_back(Entry { since: Instant::now(), publication });
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until there are publications, and takes the oldest ones, at most `max`. If the future is dropped, nothing is
    /// taken.
    pub async fn take(&self, max: usize) -> Vec<Taken> {
        loop {
            let taken = self.take_now(max);
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }

    /// Notes that publications that were taken have been published.
    pub fn sent(&self, taken: Vec<Taken>) {
        let mut state = self.state.lock();
        state.taken = state.taken.saturating_sub(taken.len());
        state.bytes -= taken.iter().map(|taken| cost(taken.publication())).sum::<usize>();
        if state.is_done() {
            self.emptied.notify_waiters();
        }
    }

    /// Puts publications back that have not left, before all others and in their order.
    pub fn put_back(&self, taken: Vec<Taken>) {
        let mut state = self.state.lock();
        state.taken = state.taken.saturating_sub(taken.len());
        for Taken { entry } in taken.into_iter().rev() {
            state.entries.push_front(entry);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until everything has been published.
    pub async fn emptied(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.state.lock().is_done() {
                return;
            }
            emptied.await;
        }
    }

    /// The number of publications that wait, and how much memory they and those on their way take in bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.entries.len(), state.bytes)
    }

    /// How many publications were dropped for want of room, and how many because they had waited too long.
    pub fn dropped(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.dropped, state.expired)
    }

    fn take_now(&self, max: usize) -> Vec<Taken> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(entry) = state.entries.pop_front()
        {
            if now.duration_since(entry.since) > self.limits.age {
                state.bytes -= cost(&entry.publication);
                state.expired += 1;
            } else {
                taken.push(Taken { entry });
            }
        }
        state.taken += taken.len();
        if state.is_done() {
            self.emptied.notify_waiters();
        }
        taken
    }
}

impl State {
    fn is_done(&self) -> bool {
        self.entries.is_empty() && self.taken == 0
    }
}

impl Taken {
    /// What is to be published.
    #[must_use]
    pub fn publication(&self) -> &Publication {
        &self.entry.publication
    }
}

/// How much memory a publication takes: what holds it, and its bytes.
fn cost(publication: &Publication) -> usize {
    let bytes = match publication {
        Publication::Publish { channel, payload } => channel.len() + payload.len(),
        Publication::Append { stream, fields } => {
            stream.len()
                + fields.iter().map(|(_, value)| size_of::<(&str, bytes::Bytes)>() + value.len()).sum::<usize>()
        }
        Publication::Attach { channel, payload, announcement } => {
            channel.len() + payload.len() + announcement.0.len() + announcement.1.len()
        }
    };
    size_of::<Entry>() + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(payload: &'static str) -> Publication {
        Publication::Publish { channel: "c".into(), payload: payload.into() }
    }

    fn payloads(taken: &[Taken]) -> Vec<&str> {
        taken
            .iter()
            .map(|taken| match taken.publication() {
                Publication::Publish { payload, .. } => std::str::from_utf8(payload).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn outbox(entries: usize, overflow: Overflow, age: Duration) -> Outbox {
        Outbox::new(OutboxLimits { bytes: entries * cost(&publication("1")), age, overflow })
    }

    #[tokio::test]
    async fn what_is_put_back_comes_first_again() {
        let outbox = outbox(10, Overflow::DropOldest, Duration::MAX);
        ["1", "2", "3"].into_iter().for_each(|payload| outbox.push(publication(payload)));
        let taken = outbox.take(2).await;
        assert_eq!(payloads(&taken), ["1", "2"]);
        outbox.put_back(taken);
        let taken = outbox.take(9).await;
        assert_eq!(payloads(&taken), ["1", "2", "3"]);
        assert_eq!(outbox.waiting().0, 0);
        let emptied = outbox.emptied();
        tokio::pin!(emptied);
        assert!(tokio::time::timeout(Duration::ZERO, &mut emptied).await.is_err(), "it is not published yet");
        outbox.sent(taken);
        emptied.await;
        assert_eq!(outbox.waiting(), (0, 0));
    }

    #[tokio::test]
    async fn an_outbox_without_room_drops_by_its_policy_and_counts() {
        for (overflow, left) in [(Overflow::DropOldest, ["2", "3"]), (Overflow::DropNewest, ["1", "2"])] {
            let outbox = outbox(2, overflow, Duration::MAX);
            ["1", "2", "3"].into_iter().for_each(|payload| outbox.push(publication(payload)));
            assert_eq!(payloads(&outbox.take(9).await), left);
            assert_eq!(outbox.dropped(), (1, 0));
        }
    }

    #[tokio::test]
    async fn a_publication_that_is_larger_than_the_outbox_is_dropped_alone() {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let outbox = outbox(1, overflow, Duration::MAX);
            outbox.push(publication("1"));
            outbox.push(publication("a longer one"));
            assert_eq!(payloads(&outbox.take(9).await), ["1"]);
        }
    }

    #[tokio::test]
    async fn what_was_taken_counts_until_it_is_published() {
        let outbox = outbox(2, Overflow::DropOldest, Duration::MAX);
        ["1", "2"].into_iter().for_each(|payload| outbox.push(publication(payload)));
        let taken = outbox.take(9).await;
        outbox.push(publication("3"));
        assert_eq!(outbox.dropped(), (1, 0), "what may come back has no room for it");
        outbox.put_back(taken);
        let taken = outbox.take(9).await;
        assert_eq!(payloads(&taken), ["1", "2"]);
        outbox.sent(taken);
        outbox.push(publication("4"));
        assert_eq!(payloads(&outbox.take(9).await), ["4"]);
    }

    #[test]
    fn publications_that_have_waited_too_long_are_not_published() {
        let outbox = outbox(2, Overflow::DropOldest, Duration::ZERO);
        outbox.push(publication("1"));
        std::thread::yield_now();
        assert!(outbox.take_now(9).is_empty());
        assert_eq!(outbox.dropped(), (0, 1));
    }
}
