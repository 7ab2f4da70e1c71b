use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    vec,
};

use parking_lot::Mutex;

/// Something with frames to write: a session.
pub(crate) trait Flush: fmt::Debug + Send + Sync {
    /// Writes what waits, as far as the peer takes it now.
    fn flush(&self);

    /// The tasks that flush it if a batch holds too many sessions.
    fn flusher(&self) -> &Arc<Flusher>;
}

/// Writes the sessions of large broadcasts: one task a worker thread, each with a queue of sessions that have frames
/// to write. A session is in a queue at most once at a time, and whichever task writes it takes all its frames in
/// order.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    shards: OnceLock<Box<[Arc<Shard>]>>,
    next: AtomicUsize,
}

impl Flusher {
    /// Starts the tasks, unless they run already; they end when the flusher is dropped.
    pub(crate) fn start(&self) {
        self.shards.get_or_init(|| {
            let workers = tokio::runtime::Handle::current().metrics().num_workers();
            (0..workers.max(1))
                .map(|_| {
                    let shard = Arc::new(Shard::default());
                    tokio::spawn(run(Running::new(shard.clone())));
                    shard
                })
                .collect()
        });
    }

    /// Takes over the writing of these sessions, spread over the tasks.
    pub(crate) fn submit(&self, mut sessions: Vec<Arc<dyn Flush>>) {
        // No session was ever opened through this engine where there are none, so nothing can be waiting.
        let Some(shards) = self.shards.get() else { return };
        let share = sessions.len().div_ceil(shards.len()).max(MIN_SHARE);
        while !sessions.is_empty() {
            let rest = sessions.split_off(sessions.len().min(share));
            let at = self.next.fetch_add(1, Ordering::Relaxed) % shards.len();
            let refused = shards.get(at).map_or(Vec::new(), |shard| shard.push(sessions));
            // The runtime that ran the task is gone, though others may still drive sessions.
            for session in refused {
                session.flush();
            }
            sessions = rest;
        }
    }
}

/// How much the flusher's queues had been given when the ticket was taken, a number for each.
#[derive(Debug)]
pub(crate) struct Ticket(Box<[u64]>);

impl Flusher {
    /// A ticket for what is in the queues now.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.shards().iter().map(|shard| shard.queue.lock().queued).collect())
    }

    /// Ready when everything is written that was in the queues when the ticket was taken.
    pub(crate) fn poll_written(&self, ticket: &Ticket, cx: &mut Context<'_>) -> Poll<()> {
        for (shard, queued) in self.shards().iter().zip(&ticket.0) {
            ready!(shard.poll_written(*queued, cx));
        }
        Poll::Ready(())
    }

    fn shards(&self) -> &[Arc<Shard>] {
        self.shards.get().map_or(&[], |shards| shards)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        for shard in self.shards.get().into_iter().flatten() {
            shard.close();
        }
    }
}

/// Below this many sessions a second task is not worth waking.
const MIN_SHARE: usize = 128;

/// How many sessions are written before other tasks get their turn.
const TURN: usize = 128;

#[derive(Debug, Default)]
struct Shard {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    sessions: Vec<Arc<dyn Flush>>,
    waker: Option<Waker>,
    closed: bool,
    /// How many sessions were ever queued, and how many of them are written.
    queued: u64,
    written: u64,
    /// Tasks that wait until so many are written.
    waiters: Vec<(u64, Waker)>,
}

impl Shard {
    /// Queues sessions, or gives them back if nobody writes them any more.
    fn push(&self, sessions: Vec<Arc<dyn Flush>>) -> Vec<Arc<dyn Flush>> {
        let waker = {
            let mut queue = self.queue.lock();
            if queue.closed {
                return sessions;
            }
            queue.queued += sessions.len() as u64;
            if queue.sessions.is_empty() {
                queue.sessions = sessions;
            } else {
                queue.sessions.extend(sessions);
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Vec::new()
    }

    fn close(&self) {
        let (waker, waiters) = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            (queue.waker.take(), std::mem::take(&mut queue.waiters))
        };
        waker.into_iter().chain(waiters.into_iter().map(|(_, waiter)| waiter)).for_each(Waker::wake);
    }

    /// Notes that so many more sessions are written, and wakes who has waited for them.
    fn note_written(&self, count: usize) {
        let ready: Vec<_> = {
            let mut queue = self.queue.lock();
            queue.written += count as u64;
            let written = queue.written;
            queue.waiters.extract_if(.., |(queued, _)| *queued <= written).collect()
        };
        ready.into_iter().for_each(|(_, waiter)| waiter.wake());
    }

    fn poll_written(&self, queued: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.closed || queue.written >= queued {
            return Poll::Ready(());
        }
        queue.waiters.retain(|(_, waiter)| !waiter.will_wake(cx.waker()));
        queue.waiters.push((queued, cx.waker().clone()));
        Poll::Pending
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<Arc<dyn Flush>>>> {
        let mut queue = self.queue.lock();
        if !queue.sessions.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut queue.sessions)));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What a task has taken out of its queue, and the queue. When the task ends, the queue is closed, and what is left in
/// either is written: a session that is never written would take nothing to write again.
struct Running {
    shard: Arc<Shard>,
    in_hand: vec::IntoIter<Arc<dyn Flush>>,
}

impl Running {
    fn new(shard: Arc<Shard>) -> Self {
        Self { shard, in_hand: Vec::new().into_iter() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shard.close();
        let left = std::mem::take(&mut self.shard.queue.lock().sessions);
        for session in self.in_hand.by_ref().chain(left) {
            session.flush();
        }
    }
}

async fn run(mut running: Running) {
    while let Some(sessions) = poll_fn(|cx| running.shard.poll_take(cx)).await {
        running.in_hand = sessions.into_iter();
        loop {
            let before = running.in_hand.len();
            running.in_hand.by_ref().take(TURN).for_each(|session| session.flush());
            running.shard.note_written(before - running.in_hand.len());
            if running.in_hand.len() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use super::*;
    use crate::{Batch, Config, Engine, silent::Silent};

    #[tokio::test]
    async fn a_task_that_ends_within_a_broadcast_leaves_nobody_unwritten() {
        let engine = Engine::new(Config::default(), Silent);
        let request = http::Request::new(()).into_parts().0;
        let mut clients = Vec::new();
        for _ in 0..3 * TURN {
            clients.push(engine.connect_in_process(&request).await.unwrap());
        }
        let sessions: Vec<_> = clients.iter().map(|client| client.session().clone()).collect();
        let are_scheduled = || sessions.iter().map(|session| session.core().lock().scheduled).collect::<Vec<_>>();
        let _batch = Batch::open();
        sessions.iter().for_each(|session| session.send_text(b"4to all").unwrap());
        assert!(!are_scheduled().contains(&false));
        let (in_hand, queued) = sessions.split_at(2 * TURN);
        let shard = Arc::new(Shard::default());
        shard.push(in_hand.iter().map(|session| session.clone() as Arc<dyn Flush>).collect());
        let mut task = Box::pin(run(Running::new(shard.clone())));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(are_scheduled()[..2 * TURN].contains(&true), "it is through already");
        shard.push(queued.iter().map(|session| session.clone() as Arc<dyn Flush>).collect());
        drop(task);
        assert!(!are_scheduled().contains(&true));
    }
}
