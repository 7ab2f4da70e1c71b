use std::{cell::RefCell, collections::VecDeque};

use sockeye_protocol::websocket::{self, Opcode};

use crate::Frame;

/// What waits in an outbox behind its first frame.
///
/// Empty queues are lent and taken back, so that they need not be allocated each time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Packets, perhaps shared with other outboxes, and full tails.
    frames: VecDeque<Frame>,
    /// Small packets for this peer alone, as WebSocket frames side by side, behind the frames.
    tail: Vec<u8>,
    bytes: usize,
    memory: usize,
    pongs: Pongs,
}

/// The pongs at the end of a tail.
#[derive(Debug, Default, Clone, Copy)]
struct Pongs {
    count: usize,
    /// Where the last of them begins.
    last: usize,
}

/// Packets beyond this size get a frame of their own.
pub(super) const SMALL: usize = 4 * 1024;

/// A tail is not grown beyond this size.
const FULL: usize = 32 * 1024;

/// The most pongs that wait. A further one replaces the last, because only the newest ping must be answered (RFC 6455
/// §5.5.3).
const MAX_PONGS: usize = 16;

/// What an entry takes besides its frame: its place in a queue that is half empty, and its part in the queue itself.
const ENTRY: usize = 32;

/// How much memory a frame takes that waits.
pub(super) fn cost(frame: &Frame) -> usize {
    frame.memory() + ENTRY
}

impl Queue {
    /// An empty queue, which has room already if this thread has kept one.
    pub(super) fn lend() -> Box<Self> {
        KEPT.with_borrow_mut(Kept::take).unwrap_or_default()
    }

    /// Keeps a queue for the next outbox of this thread, unless it is large or enough are kept: a burst leaves little
    /// behind.
    pub(super) fn take_back(mut queue: Box<Self>) {
        queue.frames.clear();
        queue.tail.clear();
        (queue.bytes, queue.memory, queue.pongs) = (0, 0, Pongs::default());
        KEPT.with_borrow_mut(|kept| kept.add(queue));
    }

    /// How much memory the empty queue takes.
    fn capacity(&self) -> usize {
        size_of::<Self>() + self.frames.capacity() * size_of::<Frame>() + self.tail.capacity()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much memory the frames and the tail take.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// How much memory the queue takes besides the frames.
    pub(super) fn own_memory(&self) -> usize {
        self.frames.len() * ENTRY + self.tail_memory()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.tail.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Frame> {
        self.frames.front()
    }

    /// The frames, and the tail.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let tail = Some(&*self.tail).filter(|tail| !tail.is_empty());
        self.frames.iter().map(Frame::websocket).chain(tail)
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.finish_tail();
        self.bytes += frame.websocket().len();
        self.memory += cost(&frame);
        self.frames.push_back(frame);
    }

    /// Appends a text packet as a WebSocket frame.
    pub(super) fn append_text(&mut self, packet: &[u8]) {
        self.append(Opcode::Text, packet);
    }

    /// Appends a pong, or replaces the last if many wait. `taken` bytes of the first part are on their way already.
    /// Returns whether one more waits.
    pub(super) fn append_pong(&mut self, payload: &[u8], taken: usize) -> bool {
        let Pongs { count, last } = self.pongs;
        let is_begun = self.frames.is_empty() && last < taken;
        let replaces = count >= MAX_PONGS && !is_begun;
        if replaces {
            self.bytes -= self.tail.len() - last;
            self.tail.truncate(last);
        }
        let last = self.append(Opcode::Pong, payload);
        // If the tail was full, the pong is the first in a new one, and may be replaced there.
        self.pongs = Pongs { count: if replaces { count } else { count + 1 }, last };
        !replaces
    }

    /// Forgets the first part.
    pub(super) fn forget_first(&mut self) {
        match self.frames.pop_front() {
            Some(frame) => {
                self.bytes -= frame.websocket().len();
                self.memory -= cost(&frame);
            }
            None => {
                self.bytes -= self.tail.len();
                self.memory -= self.tail_memory();
                self.pongs = Pongs::default();
                self.tail.clear();
            }
        }
    }

    /// Appends a frame to the tail and says where it begins.
    fn append(&mut self, opcode: Opcode, payload: &[u8]) -> usize {
        if self.tail.len() + websocket::MAX_SERVER_HEAD + payload.len() > FULL {
            self.finish_tail();
        }
        let (begin, memory) = (self.tail.len(), self.tail_memory());
        websocket::encode_frame(&mut self.tail, opcode, payload, None);
        self.bytes += self.tail.len() - begin;
        self.memory += self.tail_memory() - memory;
        self.pongs = Pongs::default();
        begin
    }

    /// Makes the tail the last of the frames.
    fn finish_tail(&mut self) {
        self.pongs = Pongs::default();
        if self.tail.is_empty() {
            return;
        }
        self.memory -= self.tail_memory();
        let frame = Frame::side_by_side(std::mem::take(&mut self.tail));
        self.memory += cost(&frame);
        self.frames.push_back(frame);
    }

    fn tail_memory(&self) -> usize {
        if self.tail.is_empty() { 0 } else { self.tail.capacity() + ENTRY }
    }
}

/// The empty queues that a thread keeps.
#[derive(Debug)]
struct Kept {
    #[expect(clippy::vec_box, reason = "an outbox holds a queue by one pointer")]
    queues: Vec<Box<Queue>>,
    /// How much memory they take.
    memory: usize,
}

/// The most memory that the kept queues of a thread may take: enough for a broadcast to a thousand sockets that have some
/// packets each to be written.
const MAX_KEPT: usize = 256 * 1024;

/// The largest queue that is kept.
const MAX_KEPT_QUEUE: usize = 32 * 1024;

impl Kept {
    fn take(&mut self) -> Option<Box<Queue>> {
        let queue = self.queues.pop()?;
        self.memory -= queue.capacity();
        Some(queue)
    }

    fn add(&mut self, queue: Box<Queue>) {
        let capacity = queue.capacity();
        if capacity <= MAX_KEPT_QUEUE && self.memory + capacity <= MAX_KEPT {
            self.memory += capacity;
            self.queues.push(queue);
        }
    }
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { queues: Vec::new(), memory: 0 }) };
}
