//! Counts the memory of the frames of this process.
use std::{
    cell::Cell,
    sync::atomic::{AtomicIsize, Ordering},
};

/// What all frames take, but for what the threads have not added yet.
static TOTAL: AtomicIsize = AtomicIsize::new(0);

/// A thread adds what it has counted to the total when it is at least this.
const STEP: isize = 16 * 1024;

/// What one thread has counted since it last added it to the total.
struct Pending(Cell<isize>);

impl Pending {
    fn flush(&self) {
        TOTAL.fetch_add(self.0.take(), Ordering::Relaxed);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.flush();
    }
}

thread_local! {
    static PENDING: Pending = const { Pending(Cell::new(0)) };
}

/// Counts a frame of so many bytes that was made.
pub(super) fn add(bytes: usize) {
    change(bytes as isize);
}

/// Counts a frame of so many bytes that is gone.
pub(super) fn remove(bytes: usize) {
    change(-(bytes as isize));
}

/// About how many bytes all frames take, each counted once.
pub(crate) fn total() -> usize {
    TOTAL.load(Ordering::Relaxed).max(0).unsigned_abs()
}

fn change(bytes: isize) {
    let counted = PENDING.try_with(|pending| {
        pending.0.set(pending.0.get() + bytes);
        if pending.0.get().abs() >= STEP {
            pending.flush();
        }
    });
    if counted.is_err() {
        // The thread is ending.
        TOTAL.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    #[test]
    fn a_frame_counts_once_and_until_its_last_reference_is_gone() {
        let before = total();
        let frame = Frame::text(&[b'4'; 1 << 24]);
        let references = vec![frame; 1_000];
        let counted = total() - before;
        assert!(((1 << 24)..(1 << 24) + (1 << 20)).contains(&counted), "{counted}");
        drop(references);
        assert!(total() < before + (1 << 20));
    }
}
