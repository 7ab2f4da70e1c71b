use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::outgoing::frame_memory;

/// The budget for what clients make an engine hold, which `max_memory` limits.
///
/// Sessions and HTTP connections take a fixed part of it while they exist. What a session holds beyond that it charges in
/// [steps](STEP), so that most packets charge nothing. Frames are charged by themselves and once, in however many outboxes
/// they wait.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    charged: AtomicUsize,
    sessions: AtomicUsize,
    /// Notified when the limit is exceeded.
    exceeded: Notify,
}

/// What a session takes that holds nothing: its task, its tables, and its share of what the runtime and the allocator
/// need.
pub(crate) const SESSION: usize = 4 * 1024;

/// What a connection takes that serves HTTP: the buffers of the HTTP library.
pub(crate) const CONNECTION: usize = 16 * 1024;

/// Sessions charge what they hold in multiples of this.
pub(crate) const STEP: usize = 8 * 1024;

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, charged: AtomicUsize::new(0), sessions: AtomicUsize::new(0), exceeded: Notify::new() }
    }

    /// About how many bytes clients make the engine hold.
    pub(crate) fn held(&self) -> usize {
        self.charged.load(Ordering::Relaxed) + frame_memory::total()
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit < usize::MAX
    }

    /// Whether 80 % are taken: who holds more than its [share](Self::fair_share) is not read.
    pub(crate) fn is_tight(&self) -> bool {
        self.is_limited() && self.held() > self.limit / 10 * 8
    }

    /// Whether 90 % are taken: no sessions are opened.
    pub(crate) fn is_full(&self) -> bool {
        self.is_limited() && self.held() > self.limit / 10 * 9
    }

    /// Whether so much is held that what waits for slow readers must not grow, because sessions are not closed fast enough.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_limited() && self.held() / 21 > self.limit / 20
    }

    /// How many bytes must be freed if the limit is exceeded, to be a little below it.
    pub(crate) fn excess(&self) -> usize {
        let held = self.held();
        if self.is_limited() && held > self.limit { held - self.limit / 20 * 19 } else { 0 }
    }

    /// What each session may hold if all hold the same.
    pub(crate) fn fair_share(&self) -> usize {
        self.limit / 10 * 8 / self.sessions.load(Ordering::Relaxed).max(1)
    }

    /// Wakes who waits for the limit to be exceeded, if it is.
    pub(crate) fn check(&self) {
        if self.excess() > 0 {
            self.exceeded.notify_one();
        }
    }

    /// Waits until the limit may be exceeded.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}

/// A part of the budget that is taken for as long as this exists: so many bytes, and the places of so many sessions.
#[derive(Debug)]
pub(crate) struct FixedCharge<const BYTES: usize, const SESSIONS: usize>(Arc<Memory>);

/// What a session takes.
pub(crate) type SessionCharge = FixedCharge<SESSION, 1>;

/// What a connection takes that serves HTTP.
pub(crate) type ConnectionCharge = FixedCharge<CONNECTION, 0>;

impl<const BYTES: usize, const SESSIONS: usize> FixedCharge<BYTES, SESSIONS> {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        memory.charged.fetch_add(BYTES, Ordering::Relaxed);
        memory.sessions.fetch_add(SESSIONS, Ordering::Relaxed);
        memory.check();
        Self(memory)
    }
}

impl<const BYTES: usize, const SESSIONS: usize> Drop for FixedCharge<BYTES, SESSIONS> {
    fn drop(&mut self) {
        self.0.charged.fetch_sub(BYTES, Ordering::Relaxed);
        self.0.sessions.fetch_sub(SESSIONS, Ordering::Relaxed);
    }
}

/// What one session has charged beyond its fixed part.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

impl Charge {
    /// Charges what the session holds now, beyond its fixed part and besides frames. Nothing is charged for less than a
    /// step, and nothing given back for less than half a step, so that the same step is not charged again and again.
    pub(crate) fn adjust(&mut self, held: usize, memory: &Memory) {
        let charge = held / STEP * STEP;
        if charge > self.0 {
            memory.charged.fetch_add(charge - self.0, Ordering::Relaxed);
            self.0 = charge;
            memory.check();
        } else if held + STEP / 2 <= self.0 {
            memory.charged.fetch_sub(self.0 - charge, Ordering::Relaxed);
            self.0 = charge;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_charges_in_steps_and_gives_all_back() {
        let memory = Memory::new(usize::MAX);
        let charged = || memory.charged.load(Ordering::Relaxed);
        let mut charge = Charge::default();
        for (held, expected) in
            [(100, 0), (STEP - 1, 0), (STEP + 1, STEP), (STEP - 1, STEP), (5 * STEP, 5 * STEP), (STEP, STEP), (0, 0)]
        {
            charge.adjust(held, &memory);
            assert_eq!(charged(), expected, "{held}");
        }
    }

    #[test]
    fn the_levels_follow_what_is_held() {
        // So much that the frames of other tests do not matter.
        const GIB: usize = 1 << 30;
        let memory = Arc::new(Memory::new(100 * GIB));
        let mut taken = Vec::new();
        for (count, levels) in [
            (70, (false, false, false)),
            (85, (true, false, false)),
            (95, (true, true, false)),
            (102, (true, true, true)),
        ] {
            taken.resize_with(count, || FixedCharge::<GIB, 0>::new(memory.clone()));
            assert_eq!((memory.is_tight(), memory.is_full(), memory.excess() > 0), levels, "{count}");
        }
        drop(taken);
        assert_eq!(memory.charged.load(Ordering::Relaxed), 0);
    }
}
