use std::{cell::RefCell, marker::PhantomData, sync::Arc};

use crate::session::flusher::Flush;

/// While a batch is open on this thread, sessions that are sent to only note that they have something to write; when
/// the outermost batch closes, each of them is written once, with all its frames.
///
/// The engine opens one around everything a session's task does in one turn, so a handler need not care; open one
/// yourself around a loop of emits in a task of your own. A batch belongs to one thread and must not be held across an
/// `.await`, which the compiler enforces for tasks that may move.
///
/// A handler that blocks its thread, say by `block_in_place` and `block_on`, keeps the batch of its task open: what it
/// emits goes out when it returns, so it must not wait for an answer to it. Spawn such work instead.
#[derive(Debug)]
#[must_use = "the batch ends when this is dropped"]
pub struct Batch {
    not_send: PhantomData<*const ()>,
}

impl Batch {
    /// Opens a batch on this thread, or joins the one that is open.
    pub fn open() -> Self {
        OPEN.with_borrow_mut(|open| open.depth += 1);
        Self { not_send: PhantomData }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let waiting = OPEN.with_borrow_mut(|open| {
            open.depth -= 1;
            if open.depth == 0 { std::mem::take(&mut open.waiting) } else { Vec::new() }
        });
        if !waiting.is_empty() {
            write(waiting);
        }
    }
}

/// How many sessions a closing batch writes itself; the others go to the flusher, so that a large broadcast neither
/// holds up the task that made it nor stays on one core.
const WRITTEN_DIRECTLY: usize = 32;

#[derive(Default)]
struct Open {
    depth: usize,
    waiting: Vec<Arc<dyn Flush>>,
}

thread_local! {
    static OPEN: RefCell<Open> = RefCell::default();
}

/// Flushes `session` when the open batch closes, or at once where none is open.
pub(crate) fn flush_soon<S: Flush + 'static>(session: &Arc<S>) {
    let batched = OPEN.with_borrow_mut(|open| {
        if open.depth > 0 {
            open.waiting.push(session.clone());
        }
        open.depth > 0
    });
    if !batched {
        session.flush();
    }
}

fn write(mut waiting: Vec<Arc<dyn Flush>>) {
    let rest = waiting.split_off(waiting.len().min(WRITTEN_DIRECTLY));
    for session in &waiting {
        session.flush();
    }
    let mut rest = rest.into_iter().peekable();
    while let Some(first) = rest.next() {
        let flusher = first.flusher().clone();
        let mut sessions = vec![first];
        while let Some(next) = rest.next_if(|next| Arc::ptr_eq(next.flusher(), &flusher)) {
            sessions.push(next);
        }
        flusher.submit(sessions);
    }
    // The vector's memory is used again by the next batch of this thread.
    waiting.clear();
    OPEN.with_borrow_mut(|open| {
        if open.waiting.capacity() == 0 {
            open.waiting = waiting;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Engine, Frame, silent::Silent};

    #[tokio::test]
    async fn a_broadcast_allocates_nothing_for_a_delivery() {
        let engine = Engine::new(Config::default(), Silent);
        let mut clients = Vec::new();
        for _ in 0..1_000 {
            clients.push(engine.connect_in_process(&http::Request::new(()).into_parts().0).await.unwrap());
        }
        let frame = Frame::text(b"4to all");
        let broadcast = || {
            let _batch = Batch::open();
            clients.iter().for_each(|client| client.session().send(frame.clone()).unwrap());
        };
        for round in 0..3 {
            let taken = allocation_counter::measure(broadcast);
            // The lists of sessions that are handed to the flusher.
            assert!(taken.count_total < 100, "{taken:?} in round {round}");
            for client in &clients {
                while client.try_receive().is_none() {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
