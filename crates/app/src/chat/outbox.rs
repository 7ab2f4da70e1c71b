use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;
use sockeye::{Frame, MemoryCharge};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The messages that wait for one plain WebSocket, bounded in bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    limit: usize,
    charge: MemoryCharge,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// The bytes of `messages` and of those that the connection has taken but not yet written.
    bytes: usize,
    /// How many messages these are.
    count: usize,
    /// How many bytes the connection holds besides.
    held: usize,
    has_overflowed: bool,
    /// Wakes the connection's task.
    waker: Option<Waker>,
}

/// More bytes waited for the connection than its outbox may hold, because the client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflowed;

/// What each message counts in addition to its bytes: its entry in the queue, which may have room for twice as many, and
/// what keeps its payload.
const OVERHEAD: usize = 2 * size_of::<Message>() + 64;

/// A message whose bytes count towards `max_memory` once, for however many connections it waits.
#[derive(Debug, Clone)]
pub(crate) struct Counted(Message);

impl From<Message> for Counted {
    fn from(message: Message) -> Self {
        struct Payload(Frame);
        impl AsRef<[u8]> for Payload {
            fn as_ref(&self) -> &[u8] {
                self.0.packet()
            }
        }
        let counted = |bytes: &[u8]| Bytes::from_owner(Payload(Frame::binary(bytes)));
        Self(match message {
            Message::Text(text) => match Utf8Bytes::try_from(counted(text.as_bytes())) {
                Ok(counted) => Message::Text(counted),
                // It was UTF-8 before.
                Err(_) => Message::Text(text),
            },
            Message::Binary(data) => Message::Binary(counted(&data)),
            message => message,
        })
    }
}

impl Outbox {
    /// An outbox that holds at most `limit` bytes.
    pub(crate) fn new(limit: usize, charge: MemoryCharge) -> Self {
        Self(Arc::new(Inner { queue: Mutex::default(), limit, charge }))
    }

    /// Adds a message. If it exceeds the limit, the outbox drops every message and reports [`Overflowed`] from then on:
    /// the connection ends rather than miss a message in between. It does so, too, if `max_memory` is exceeded and much of
    /// it is held for this connection.
    pub(crate) fn push(&self, message: impl Into<Counted>) {
        let Counted(message) = message.into();
        let mut queue = self.0.queue.lock();
        if queue.has_overflowed {
            return;
        }
        queue.bytes += message.len() + OVERHEAD;
        queue.count += 1;
        if queue.bytes > self.0.limit || self.0.charge.is_exhausted() {
            queue.overflow();
        } else {
            queue.messages.push_back(message);
        }
        self.charge(&queue);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    /// Takes all messages, once there are some. They count until the next call with `is_written`, which says that the
    /// connection has written what it took before; without it, only an overflow is reported.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        is_written: bool,
    ) -> Poll<Result<VecDeque<Message>, Overflowed>> {
        let mut queue = self.0.queue.lock();
        if queue.has_overflowed {
            return Poll::Ready(Err(Overflowed));
        }
        if is_written {
            queue.bytes = queue.messages.iter().map(|message| message.len() + OVERHEAD).sum();
            queue.count = queue.messages.len();
            self.charge(&queue);
            if !queue.messages.is_empty() {
                // The queue's memory goes with the messages: an idle connection keeps none.
                return Poll::Ready(Ok(std::mem::take(&mut queue.messages)));
            }
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes what still waits when the connection closes: nothing if the outbox has overflowed.
    pub(crate) fn take_rest(&self) -> VecDeque<Message> {
        std::mem::take(&mut self.0.queue.lock().messages)
    }

    /// Drops what waits, and takes nothing more.
    pub(crate) fn close(&self) {
        let mut queue = self.0.queue.lock();
        queue.overflow();
        self.charge(&queue);
    }

    /// Notes how many bytes the connection holds besides the messages, and says whether it may read more.
    pub(crate) fn note_held(&self, bytes: usize) -> bool {
        let mut queue = self.0.queue.lock();
        if queue.held != bytes {
            queue.held = bytes;
            self.charge(&queue);
        }
        !self.0.charge.is_starved()
    }

    /// Waits until the connection is to be closed, because `max_memory` is exceeded and most of it is held for this one.
    pub(crate) async fn evicted(&self) {
        self.0.charge.evicted().await;
    }

    fn charge(&self, queue: &Queue) {
        let entries = queue.count * OVERHEAD;
        self.0.charge.set(entries + queue.held, queue.bytes - entries);
    }
}

impl Queue {
    fn overflow(&mut self) {
        self.has_overflowed = true;
        self.messages = VecDeque::new();
        (self.bytes, self.count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use sockeye::Server;

    use super::*;

    fn outbox(limit: usize) -> Outbox {
        Outbox::new(limit, Server::new().charge_memory().unwrap())
    }

    fn take(outbox: &Outbox, is_written: bool) -> Poll<Result<VecDeque<Message>, Overflowed>> {
        outbox.poll_take(&mut Context::from_waker(Waker::noop()), is_written)
    }

    #[test]
    fn messages_come_out_in_order_and_together() {
        let outbox = outbox(1000);
        assert_eq!(take(&outbox, true), Poll::Pending);
        for text in ["one", "two"] {
            outbox.push(Message::text(text));
        }
        assert_eq!(take(&outbox, true), Poll::Ready(Ok([Message::text("one"), Message::text("two")].into())));
        outbox.push(Message::text("three"));
        assert_eq!(take(&outbox, false), Poll::Pending, "the first two are not written yet");
        assert_eq!(take(&outbox, true), Poll::Ready(Ok([Message::text("three")].into())));
    }

    #[test]
    fn a_full_outbox_keeps_little_more_memory_than_its_limit() {
        const LIMIT: usize = 4 << 20;
        for length in [1, 64 * 1024] {
            let outbox = outbox(LIMIT);
            let kept = allocation_counter::measure(|| {
                for _ in 0..LIMIT / (length + OVERHEAD) {
                    outbox.push(Message::text("x".repeat(length)));
                }
            });
            assert!(!outbox.0.queue.lock().has_overflowed);
            let most = LIMIT + LIMIT / 4 + 8 * 1024;
            assert!(kept.bytes_max <= most as u64, "{} bytes with messages of {length}", kept.bytes_max);
            outbox.push(Message::text("x".repeat(length)));
            assert_eq!(take(&outbox, true), Poll::Ready(Err(Overflowed)));
        }
    }

    #[test]
    fn messages_that_are_being_written_count_towards_the_limit() {
        let outbox = outbox(2 * (100 + OVERHEAD));
        let message = Message::binary(vec![0; 100]);
        outbox.push(message.clone());
        assert!(take(&outbox, true).is_ready());
        outbox.push(message.clone());
        assert!(take(&outbox, true).is_ready(), "the first is written and counts no more");
        outbox.push(message.clone());
        assert_eq!(take(&outbox, false), Poll::Pending);
        outbox.push(message);
        assert_eq!(take(&outbox, false), Poll::Ready(Err(Overflowed)));
    }
}
