use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    hash::BuildHasher,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::session::handle::Session;

/// Wakes the sessions of an engine at their deadlines: one task with one timer for all of them.
///
/// Time is divided into ticks, and deadlines are rounded up to the end of their tick, distant ones to that of a later tick,
/// so that there are fewer buckets. A session is in the bucket of one tick at a time. If its deadline moves to a later time, as with every pong, it stays there and moves on when it is woken.
#[derive(Debug)]
pub(crate) struct Deadlines(Arc<Shared>);

/// The tick in whose bucket a session is, or [`UNSET`]. The session's task owns it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alarm(u64);

/// Later than every tick.
const UNSET: u64 = u64::MAX;

impl Default for Alarm {
    fn default() -> Self {
        Self(UNSET)
    }
}

impl Alarm {
    fn take(&mut self) -> Option<u64> {
        Some(std::mem::replace(&mut self.0, UNSET)).filter(|tick| *tick != UNSET)
    }
}

/// A session is woken at most this long after a deadline that is near.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks a second has.
const TICKS_A_SECOND: u64 = 1_000;

/// Deadlines more than so many ticks away are distant.
const NEAR: u64 = 1_000;

/// Distant deadlines are rounded up to multiples of so many ticks.
const TICKS_IF_DISTANT: u64 = 10;

/// How many sessions are woken before other tasks get their turn.
const TURN: usize = 128;

/// The last tick that a deadline can have.
const FARTHEST: u64 = u64::MAX - 2 * TICKS_IF_DISTANT;

/// The value of `Shared::rung` while no task rings: every alarm must be set again.
const NOBODY_RINGS: u64 = u64::MAX;

#[derive(Debug)]
struct Shared {
    /// The beginning of tick 0.
    origin: Instant,
    /// The last tick whose sessions were woken.
    rung: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    buckets: Buckets<Session>,
    /// The tick at whose end the task wakes by itself, or [`u64::MAX`].
    sleeps_until: u64,
    /// The task, if it sleeps.
    task: Option<Waker>,
    is_closed: bool,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self(Arc::new(Shared {
            origin: Instant::now(),
            rung: AtomicU64::new(NOBODY_RINGS),
            state: Mutex::new(State {
                buckets: Buckets::default(),
                sleeps_until: u64::MAX,
                task: None,
                is_closed: false,
            }),
        }))
    }
}

impl Deadlines {
    /// Whether a session's alarm has rung, so that its deadline may have passed.
    pub(crate) fn has_rung(&self, alarm: &Alarm) -> bool {
        alarm.0 != UNSET && alarm.0 <= self.0.rung.load(Ordering::Acquire)
    }

    /// Has a session woken at this deadline, or earlier if its alarm is set to an earlier time already. To be called by
    /// the session's task.
    pub(crate) fn set(&self, alarm: &mut Alarm, session: &Arc<Session>, deadline: Instant) {
        let tick = self.0.tick_of(deadline);
        let distant = tick.next_multiple_of(TICKS_IF_DISTANT);
        if alarm.0 <= distant && !self.has_rung(alarm) {
            return;
        }
        let tick = if tick.saturating_sub(self.0.elapsed_ticks()) > NEAR { distant } else { tick };
        let oversleeping = {
            let mut state = self.0.state.lock();
            if let Some(former) = alarm.take() {
                state.buckets.remove(former, session);
            }
            alarm.0 = tick;
            state.buckets.insert(tick, session.clone());
            if tick < state.sleeps_until { state.task.take() } else { None }
        };
        if let Some(task) = oversleeping {
            task.wake();
        }
        if self.0.rung.load(Ordering::Acquire) == NOBODY_RINGS {
            self.start();
        }
    }

    /// Takes a session out of its bucket.
    pub(crate) fn cancel(&self, alarm: &mut Alarm, session: &Arc<Session>) {
        if let Some(tick) = alarm.take() {
            self.0.state.lock().buckets.remove(tick, session);
        }
    }

    /// Starts the task on the runtime of the session that sets its alarm. It ends with that runtime; the next session that
    /// sets its alarm, on another one, starts it again.
    fn start(&self) {
        let elapsed = self.0.elapsed_ticks();
        let started = self.0.rung.compare_exchange(NOBODY_RINGS, elapsed, Ordering::AcqRel, Ordering::Acquire);
        if started.is_ok() {
            tokio::spawn(run(Ringer { shared: self.0.clone(), timer: Box::pin(sleep_until(self.0.origin)) }));
        }
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        let task = {
            let mut state = self.0.state.lock();
            state.is_closed = true;
            state.task.take()
        };
        task.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    fn tick_of(&self, deadline: Instant) -> u64 {
        // Without a division of 128 bits, because every turn asks.
        let from_origin = deadline.saturating_duration_since(self.origin);
        let ticks = from_origin.as_secs().saturating_mul(TICKS_A_SECOND);
        ticks.saturating_add(from_origin.subsec_nanos().div_ceil(TICK.subsec_nanos()).into()).min(FARTHEST)
    }

    /// The number of ticks that have ended.
    fn elapsed_ticks(&self) -> u64 {
        let elapsed = self.origin.elapsed();
        let ticks = elapsed.as_secs().saturating_mul(TICKS_A_SECOND);
        ticks.saturating_add((elapsed.subsec_nanos() / TICK.subsec_nanos()).into()).min(FARTHEST)
    }

    /// The end of a tick, unless it is too far away to be reached.
    fn end_of(&self, tick: u64) -> Option<Instant> {
        let nanos = u64::try_from(TICK.as_nanos()).ok()?.checked_mul(tick)?;
        self.origin.checked_add(Duration::from_nanos(nanos))
    }
}

/// The task's part. When it ends, with the engine or with its runtime, it wakes all sessions that have set their alarms, so
/// that those on other runtimes set them again.
struct Ringer {
    shared: Arc<Shared>,
    timer: Pin<Box<Sleep>>,
}

impl Ringer {
    /// Waits until sessions are to be woken, and takes them out of their buckets. Ends with the engine.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Arc<Session>>>> {
        loop {
            {
                let mut state = self.shared.state.lock();
                if state.is_closed {
                    return Poll::Ready(None);
                }
                state.task = Some(cx.waker().clone());
                let first = state.buckets.first().filter(|first| *first < state.sleeps_until);
                if let Some((first, end)) = first.and_then(|first| Some((first, self.shared.end_of(first)?))) {
                    self.timer.as_mut().reset(end);
                    state.sleeps_until = first;
                }
                if state.sleeps_until == u64::MAX {
                    return Poll::Pending;
                }
            }
            ready!(self.timer.as_mut().poll(cx));
            let elapsed = self.shared.elapsed_ticks();
            let mut state = self.shared.state.lock();
            self.shared.rung.store(elapsed, Ordering::Release);
            state.sleeps_until = u64::MAX;
            let due = state.buckets.take_until(elapsed);
            if !due.is_empty() {
                return Poll::Ready(Some(due));
            }
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        self.shared.rung.store(NOBODY_RINGS, Ordering::Release);
        let sessions = {
            let mut state = self.shared.state.lock();
            (state.sleeps_until, state.task) = (u64::MAX, None);
            state.buckets.all()
        };
        sessions.iter().for_each(|session| session.wake());
    }
}

async fn run(mut ringer: Ringer) {
    while let Some(due) = poll_fn(|cx| ringer.poll_due(cx)).await {
        for sessions in due.chunks(TURN) {
            sessions.iter().for_each(|session| session.wake());
            if sessions.len() == TURN {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Buckets of pointers, each for one tick.
#[derive(Debug)]
struct Buckets<T> {
    by_tick: BTreeMap<u64, HashTable<Arc<T>>>,
    hasher: DefaultHashBuilder,
}

impl<T> Buckets<T> {
    fn insert(&mut self, tick: u64, item: Arc<T>) {
        let hash = |item: &Arc<T>| self.hasher.hash_one(Arc::as_ptr(item));
        self.by_tick.entry(tick).or_default().insert_unique(hash(&item), item, hash);
    }

    fn remove(&mut self, tick: u64, item: &Arc<T>) {
        let Some(bucket) = self.by_tick.get_mut(&tick) else { return };
        let hash = self.hasher.hash_one(Arc::as_ptr(item));
        if let Ok(entry) = bucket.find_entry(hash, |other| Arc::ptr_eq(other, item)) {
            entry.remove();
        }
        if bucket.is_empty() {
            self.by_tick.remove(&tick);
        }
    }

    fn first(&self) -> Option<u64> {
        self.by_tick.first_key_value().map(|(tick, _)| *tick)
    }

    /// Removes the items of this tick and of all before it.
    fn take_until(&mut self, tick: u64) -> Vec<Arc<T>> {
        let mut taken = Vec::new();
        while let Some(entry) = self.by_tick.first_entry().filter(|entry| *entry.key() <= tick) {
            taken.extend(entry.remove());
        }
        taken
    }

    fn all(&self) -> Vec<Arc<T>> {
        self.by_tick.values().flatten().cloned().collect()
    }
}

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self { by_tick: BTreeMap::new(), hasher: DefaultHashBuilder::default() }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::engineio::Revision;

    use super::*;
    use crate::{Config, Engine, Sid, session::opening::Opening, silent::Silent};

    #[test]
    fn items_leave_their_buckets_in_the_order_of_the_ticks_and_empty_buckets_go() {
        let mut buckets = Buckets::default();
        let items: Vec<_> = (0..6).map(Arc::new).collect();
        [5, 5, 3, 7, 3, 9].iter().zip(&items).for_each(|(tick, item)| buckets.insert(*tick, item.clone()));
        buckets.remove(9, &items[5]);
        buckets.remove(5, &items[0]);
        buckets.remove(5, &items[2]);
        assert_eq!((buckets.first(), buckets.by_tick.len()), (Some(3), 3));
        assert_eq!(Arc::strong_count(&items[5]), 1, "a removed item is kept");
        let mut taken: Vec<_> = buckets.take_until(5).iter().map(|item| **item).collect();
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 4]);
        assert_eq!((buckets.first(), buckets.all().len()), (Some(7), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_are_rounded_up_to_the_end_of_their_tick() {
        let deadlines = Deadlines::default();
        let shared = &deadlines.0;
        for (nanos, tick) in [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2), (25_000_000_000, 25_000)] {
            let deadline = shared.origin + Duration::from_nanos(nanos);
            assert_eq!(shared.tick_of(deadline), tick, "{nanos} ns");
            assert!(shared.end_of(tick).unwrap() >= deadline);
        }
        assert_eq!(shared.end_of(u64::MAX), None);
        tokio::time::advance(Duration::from_micros(2_900)).await;
        assert_eq!(shared.elapsed_ticks(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_distant_deadlines_are_rounded_to_a_later_tick() {
        let engine = Engine::new(Config::default(), Silent);
        let session = open(&engine);
        let deadlines = engine.shared.sessions.deadlines();
        for (millis, tick) in [(301, 301), (1_000, 1_000), (1_001, 1_010), (25_000, 25_000), (25_001, 25_010)] {
            let mut alarm = Alarm::default();
            deadlines.set(&mut alarm, &session, deadlines.0.origin + Duration::from_millis(millis));
            assert_eq!(alarm.0, tick);
            deadlines.cancel(&mut alarm, &session);
        }
    }

    fn open(engine: &Engine<Silent>) -> Arc<Session> {
        let request = http::Request::builder().uri("/socket.io/?EIO=4").body(()).unwrap().into_parts().0;
        let opening = Opening {
            id: Sid::random(),
            permit: engine.take_permit(&request).unwrap(),
            revision: Revision::V4,
            base64: false,
            handshake: engine.handshake(&request),
        };
        engine.open_polling(opening).unwrap()
    }

    fn alarms(engine: &Engine<Silent>) -> usize {
        engine.shared.sessions.deadlines().0.state.lock().buckets.all().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_has_one_alarm_and_leaves_none_behind() {
        let engine = Engine::new(Config::default(), Silent);
        let sessions = [open(&engine), open(&engine)];
        tokio::task::yield_now().await;
        assert_eq!(alarms(&engine), 2);
        sessions[0].close();
        // A session that polls stays known until its client has been told of the end, or for the close timeout.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(alarms(&engine), 1);
        // The other client answers no ping.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!sessions[1].is_open());
        assert_eq!(alarms(&engine), 0);
    }

    #[test]
    fn alarms_ring_on_after_the_runtime_that_opened_the_first_session_is_gone() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (ping_interval, ping_timeout) = (Duration::from_millis(50), Duration::from_millis(50));
        let (first, second) = (runtime(), runtime());
        let engine = Engine::new(Config { ping_interval, ping_timeout, ..Config::default() }, Silent);
        let open_on = |runtime: &tokio::runtime::Runtime| {
            runtime.block_on(async {
                let session = open(&engine);
                tokio::task::yield_now().await;
                session
            })
        };
        let (_first, session) = (open_on(&first), open_on(&second));
        assert_eq!(alarms(&engine), 2);
        drop(first);
        assert_eq!(alarms(&engine), 1, "a session that is dropped leaves its alarm behind");
        second.block_on(async {
            let ended = async {
                while session.is_open() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the ping timeout passes unnoticed");
        });
    }
}
