use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The frames that wait for one connection, bounded in bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    changed: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// The bytes that wait, those that are being written included.
    bytes: usize,
    overflowed: bool,
}

/// The connection reads too slowly: more waited for it than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflowed;

/// What a frame costs besides its bytes, so that many empty ones are bounded, too.
const OVERHEAD: usize = 64;

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { queue: Mutex::default(), changed: Notify::new(), limit }))
    }

    /// Adds a frame. If that is too much, everything is dropped and the connection is told that it has overflowed:
    /// better none than some with holes between them.
    pub(crate) fn push(&self, frame: Bytes) {
        let mut queue = self.0.queue.lock();
        if queue.overflowed {
            return;
        }
        let bytes = queue.bytes + frame.len() + OVERHEAD;
        if bytes > self.0.limit {
            *queue = Queue { overflowed: true, ..Queue::default() };
        } else {
            queue.bytes = bytes;
            queue.frames.push_back(frame);
        }
        drop(queue);
        self.0.changed.notify_one();
    }

    /// Waits for frames and takes all of them, joined. They count as waiting until [`written`](Self::written) is called.
    ///
    /// # Errors
    /// If the outbox has overflowed.
    pub(crate) async fn next(&self) -> Result<Bytes, Overflowed> {
        loop {
            if let Some(frames) = self.take()? {
                return Ok(frames);
            }
            self.0.changed.notified().await;
        }
    }

    /// Completes when the outbox has overflowed.
    pub(crate) async fn overflowed(&self) {
        while !self.0.queue.lock().overflowed {
            self.0.changed.notified().await;
        }
    }

    /// Notes that what was taken has been written.
    pub(crate) fn written(&self) {
        let mut queue = self.0.queue.lock();
        queue.bytes = queue.frames.iter().map(|frame| frame.len() + OVERHEAD).sum();
    }

    /// Takes all frames that wait, joined, if there are any.
    ///
    /// # Errors
    /// If the outbox has overflowed.
    pub(crate) fn take(&self) -> Result<Option<Bytes>, Overflowed> {
        let mut queue = self.0.queue.lock();
        if queue.overflowed {
            return Err(Overflowed);
        }
        // The memory goes with the frames: an idle connection keeps none.
        let mut frames = std::mem::take(&mut queue.frames);
        drop(queue);
        match (frames.pop_front(), frames.is_empty()) {
            (None, _) => Ok(None),
            (Some(only), true) => Ok(Some(only)),
            (Some(first), false) => Ok(Some(std::iter::once(first).chain(frames).flatten().collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_in_order_and_joined() {
        let outbox = Outbox::new(1000);
        for frame in ["one ", "two ", "three"] {
            outbox.push(Bytes::from_static(frame.as_bytes()));
        }
        assert_eq!(outbox.next().await.unwrap(), "one two three");
        outbox.push(Bytes::from_static(b"four"));
        assert_eq!(outbox.next().await.unwrap(), "four");
    }

    #[tokio::test]
    async fn too_much_overflows_even_while_it_is_being_written() {
        let outbox = Outbox::new(2 * (100 + OVERHEAD));
        let frame = Bytes::from(vec![0; 100]);
        outbox.push(frame.clone());
        outbox.next().await.unwrap();
        outbox.push(frame.clone());
        outbox.written();
        outbox.push(frame.clone());
        assert_eq!(outbox.next().await.unwrap().len(), 200);
        outbox.push(frame);
        outbox.overflowed().await;
        assert_eq!(outbox.next().await, Err(Overflowed));
    }
}
