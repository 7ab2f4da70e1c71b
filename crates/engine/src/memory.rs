use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::outgoing::frame_memory;

/// The budget for what clients make an engine hold, which `max_memory` limits.
///
/// Sessions and HTTP connections take a fixed part of it while they exist. What they hold beyond that they charge in
/// [steps](STEP), so that most packets charge nothing. Frames are charged by themselves and once, in however many outboxes
/// they wait.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    charged: AtomicUsize,
    /// How many sessions, HTTP connections and clients of other protocols there are.
    holders: AtomicUsize,
    /// What is held for clients of other protocols, by the address of the entry.
    others: Mutex<HashMap<usize, Arc<Other>>>,
    /// Notified when the limit is exceeded.
    exceeded: Notify,
}

/// What a session takes that holds nothing: its task, its tables, and its share of what the runtime and the allocator
/// need.
pub(crate) const SESSION: usize = 4 * 1024;

/// What a connection takes that serves HTTP: the buffers of the HTTP library, and its part of the gaps that they leave
/// between other memory.
pub(crate) const CONNECTION: usize = 20 * 1024;

/// So often a client that is not read for want of memory looks whether there is some.
pub(crate) const RECHECK: Duration = Duration::from_millis(250);

/// Sessions charge what they hold in multiples of this.
pub(crate) const STEP: usize = 8 * 1024;

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            charged: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
            others: Mutex::default(),
            exceeded: Notify::new(),
        }
    }

    /// About how many bytes clients make the engine hold, and the allocator for them: an eighth of what is in use lies in
    /// gaps between what is in use.
    pub(crate) fn held(&self) -> usize {
        let used = self.charged.load(Ordering::Relaxed) + frame_memory::total();
        used + used / 8
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit < usize::MAX
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
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

    /// Whether the limit is reached: no connections are accepted.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.is_limited() && self.held() > self.limit
    }

    /// What each holder may hold if all hold the same.
    pub(crate) fn fair_share(&self) -> usize {
        self.limit / 10 * 8 / self.holders.load(Ordering::Relaxed).max(1)
    }

    /// What is held for the clients of other protocols.
    pub(crate) fn others(&self) -> Vec<Arc<Other>> {
        self.others.lock().values().cloned().collect()
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

/// A part of the budget that is taken for as long as this exists: so many bytes, and the places of so many holders.
#[derive(Debug)]
pub(crate) struct FixedCharge<const BYTES: usize, const HOLDERS: usize>(Arc<Memory>);

/// What a session takes.
pub(crate) type SessionCharge = FixedCharge<SESSION, 1>;

/// What a connection takes that serves HTTP.
pub(crate) type ConnectionCharge = FixedCharge<CONNECTION, 1>;

impl<const BYTES: usize, const HOLDERS: usize> FixedCharge<BYTES, HOLDERS> {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        memory.charged.fetch_add(BYTES, Ordering::Relaxed);
        memory.holders.fetch_add(HOLDERS, Ordering::Relaxed);
        memory.check();
        Self(memory)
    }
}

impl<const BYTES: usize, const HOLDERS: usize> Drop for FixedCharge<BYTES, HOLDERS> {
    fn drop(&mut self) {
        self.0.charged.fetch_sub(BYTES, Ordering::Relaxed);
        self.0.holders.fetch_sub(HOLDERS, Ordering::Relaxed);
    }
}

/// So many bytes of the budget that are taken for as long as this exists.
#[derive(Debug)]
pub(crate) struct BytesCharge {
    memory: Arc<Memory>,
    bytes: usize,
}

impl BytesCharge {
    pub(crate) fn new(memory: Arc<Memory>, bytes: usize) -> Self {
        memory.charged.fetch_add(bytes, Ordering::Relaxed);
        memory.check();
        Self { memory, bytes }
    }
}

impl Drop for BytesCharge {
    fn drop(&mut self) {
        self.memory.charged.fetch_sub(self.bytes, Ordering::Relaxed);
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

/// What an application holds for one client of a protocol of its own, which counts towards `max_memory` as sessions do.
///
/// Dropping it gives everything back.
#[derive(Debug)]
pub struct MemoryCharge {
    other: Arc<Other>,
    _fixed: SessionCharge,
}

/// What is held for one client of another protocol.
#[derive(Debug)]
pub(crate) struct Other {
    memory: Arc<Memory>,
    charge: Mutex<Charge>,
    /// How many bytes are held, shared ones included.
    held: AtomicUsize,
    /// Notified when the client is to be closed because most is held for it.
    evicted: Notify,
}

impl MemoryCharge {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        let other = Arc::new(Other {
            memory: memory.clone(),
            charge: Mutex::default(),
            held: AtomicUsize::new(SESSION),
            evicted: Notify::new(),
        });
        memory.others.lock().insert(Arc::as_ptr(&other).addr(), other.clone());
        Self { other, _fixed: SessionCharge::new(memory) }
    }

    /// Charges what is held now: `own` bytes besides the first 4 KiB and besides [frames](crate::Frame), which are counted
    /// by themselves. `shared` is how many bytes of frames wait for the client.
    pub fn set(&self, own: usize, shared: usize) {
        let Other { memory, charge, held, .. } = &*self.other;
        held.store(SESSION + own + shared, Ordering::Relaxed);
        charge.lock().adjust(own, memory);
        if shared > 0 {
            memory.check();
        }
    }

    /// Whether memory is short and more than an equal share is held for the client, so that it should not be read.
    pub fn is_starved(&self) -> bool {
        self.other.memory.is_tight() && self.other.exceeds_share()
    }

    /// Whether so much is held in all that nothing more must be held for this client, for which more than an equal share is
    /// held: it is to be closed.
    pub fn is_exhausted(&self) -> bool {
        self.other.memory.is_exhausted() && self.other.exceeds_share()
    }

    /// Waits until the client is to be closed, because `max_memory` is exceeded and most of it is held for this client.
    pub async fn evicted(&self) {
        self.other.evicted.notified().await;
    }
}

impl Other {
    /// How many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Has the application close the client.
    pub(crate) fn evict(&self) {
        self.evicted.notify_one();
    }

    fn exceeds_share(&self) -> bool {
        self.held() > self.memory.fair_share().max(2 * SESSION)
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        let Other { memory, charge, .. } = &*self.other;
        charge.lock().adjust(0, memory);
        memory.others.lock().remove(&Arc::as_ptr(&self.other).addr());
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
            (75, (true, false, false)),
            (85, (true, true, false)),
            (91, (true, true, true)),
        ] {
            taken.resize_with(count, || FixedCharge::<GIB, 0>::new(memory.clone()));
            assert_eq!((memory.is_tight(), memory.is_full(), memory.excess() > 0), levels, "{count}");
        }
        drop(taken);
        assert_eq!(memory.charged.load(Ordering::Relaxed), 0);
    }
}
