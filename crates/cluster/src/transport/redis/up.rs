//! Whether the bus is up, which several parts know together.
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Whether everything subscribed is heard and everything published leaves.
pub(super) struct Up<'a> {
    both: &'a watch::Sender<bool>,
    hearing: AtomicBool,
    publishing: AtomicBool,
}

impl<'a> Up<'a> {
    /// Both are so.
    pub(super) fn new(both: &'a watch::Sender<bool>) -> Self {
        let up = Self { both, hearing: AtomicBool::new(true), publishing: AtomicBool::new(true) };
        up.tell();
        up
    }

    pub(super) fn set_hearing(&self, hearing: bool) {
        self.hearing.store(hearing, Ordering::Relaxed);
        self.tell();
    }

    pub(super) fn set_publishing(&self, publishing: bool) {
        self.publishing.store(publishing, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let up = self.hearing.load(Ordering::Relaxed) && self.publishing.load(Ordering::Relaxed);
        self.both.send_if_modified(|both| std::mem::replace(both, up) != up);
    }
}
