use std::{task::Waker, time::Duration};

use tokio::time::Instant;

/// A peer that takes less than it is sent, for as long as it does.
#[derive(Debug, Default)]
pub(crate) struct Backpressure {
    /// Since when the peer has taken nothing, if it takes nothing now.
    shut_since: Option<Instant>,
    /// Tasks that wait until little waits for the peer.
    senders: Vec<Waker>,
}

/// A session is not read while more than this waits for its peer, in bytes of memory.
pub(crate) const CONGESTED: usize = 256 * 1024;

/// More than this is not held back to be written together with what comes next.
pub(crate) const HELD: usize = 64 * 1024;

impl Backpressure {
    /// The peer takes nothing more at present. `progress` says whether it has taken something since it was last asked.
    pub(crate) fn note_shut(&mut self, progress: bool) {
        if progress || self.shut_since.is_none() {
            self.shut_since = Some(Instant::now());
        }
    }

    /// The peer takes what it is sent.
    pub(crate) fn note_open(&mut self) {
        self.shut_since = None;
    }

    /// Whether the peer takes nothing at present.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut_since.is_some()
    }

    /// When a peer that goes on taking nothing is a slow consumer.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.shut_since?.checked_add(timeout)
    }

    /// Has a task woken when little waits.
    pub(crate) fn wake_later(&mut self, waker: &Waker) {
        if !self.senders.iter().any(|sender| sender.will_wake(waker)) {
            self.senders.push(waker.clone());
        }
    }

    /// Wakes the tasks that wait.
    pub(crate) fn wake(&mut self) {
        self.senders.drain(..).for_each(Waker::wake);
    }

    /// Whether nothing is to be remembered.
    pub(crate) fn is_over(&self) -> bool {
        self.shut_since.is_none() && self.senders.is_empty()
    }
}
