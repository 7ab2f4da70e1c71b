use std::{collections::VecDeque, io::IoSlice};

use sockeye_protocol::websocket::{self, Opcode};

use crate::Frame;

/// What waits to be written to one peer, in order. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// How many bytes wait, those already taken of the first chunk included.
    bytes: usize,
    /// How many bytes of the first chunk the socket has taken.
    taken: usize,
}

#[derive(Debug)]
enum Chunk {
    /// One packet, perhaps shared with other outboxes.
    Frame(Frame),
    /// Small packets for this peer alone, as WebSocket frames side by side.
    Frames(Vec<u8>),
}

/// The most slices that one write hands to the kernel.
pub(crate) const SLICES: usize = 64;

/// Packets beyond this size get a chunk of their own.
const SMALL: usize = 4 * 1024;

/// A chunk of small packets is not grown beyond this size.
const FULL: usize = 16 * 1024;

impl Outbox {
    /// An outbox of a WebSocket, before whose first packet these bytes are to be written: the end of its handshake.
    pub(crate) fn beginning_with(answer: Vec<u8>) -> Self {
        Self { bytes: answer.len(), chunks: VecDeque::from([Chunk::Frames(answer)]), taken: 0 }
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        self.bytes += frame.websocket().len();
        self.chunks.push_back(Chunk::Frame(frame));
    }

    /// Appends a text packet as a WebSocket frame. Only for outboxes that are written to a WebSocket.
    pub(crate) fn append_text(&mut self, packet: &[u8]) {
        if packet.len() > SMALL {
            return self.push(Frame::text(packet));
        }
        if !matches!(self.chunks.back(), Some(Chunk::Frames(bytes)) if bytes.len() < FULL) {
            self.chunks.push_back(Chunk::Frames(Vec::with_capacity(packet.len() + websocket::MAX_SERVER_HEAD)));
        }
        if let Some(Chunk::Frames(bytes)) = self.chunks.back_mut() {
            let before = bytes.len();
            websocket::encode_frame(bytes, Opcode::Text, packet, None);
            self.bytes += bytes.len() - before;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether a frame is written in part: the peer must get the rest of it before anything else.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.taken > 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All that is to be written, if it lies in one piece.
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        match self.chunks.len() {
            1 => self.chunks.front()?.bytes().get(self.taken..),
            _ => None,
        }
    }

    /// Fills `slices` with what is to be written next and says how many it filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut taken = self.taken;
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk.bytes().get(taken..).unwrap_or_default());
            taken = 0;
            count += 1;
        }
        count
    }

    /// Forgets `count` bytes that the socket has taken.
    pub(crate) fn advance(&mut self, count: usize) {
        let mut taken = self.taken + count;
        while let Some(chunk) = self.chunks.front() {
            let length = chunk.bytes().len();
            if taken < length {
                break;
            }
            taken -= length;
            self.bytes -= length;
            self.chunks.pop_front();
        }
        self.taken = taken;
        if self.chunks.is_empty() {
            *self = Self::default();
        }
    }

    /// Takes the first packet, for a transport that is not a WebSocket.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        match self.chunks.pop_front() {
            Some(Chunk::Frame(frame)) => {
                self.bytes -= frame.websocket().len();
                if self.chunks.is_empty() {
                    *self = Self::default();
                }
                Some(frame)
            }
            Some(frames @ Chunk::Frames(_)) => {
                self.chunks.push_front(frames);
                None
            }
            None => None,
        }
    }

    /// The length of the first chunk.
    pub(crate) fn front_len(&self) -> usize {
        self.chunks.front().map_or(0, |chunk| chunk.bytes().len())
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame.websocket(),
            Self::Frames(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = outbox.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn small_packets_lie_side_by_side_and_order_is_kept() {
        let mut outbox = Outbox::default();
        outbox.append_text(b"4a");
        outbox.append_text(b"4b");
        outbox.push(Frame::text(b"4c"));
        outbox.append_text(b"4d");
        assert_eq!(outbox.chunks.len(), 3);
        assert_eq!(written(&outbox), b"\x81\x024a\x81\x024b\x81\x024c\x81\x024d");
    }

    #[test]
    fn a_partial_write_goes_on_where_it_stopped_and_an_empty_outbox_owns_nothing() {
        let mut outbox = Outbox::default();
        outbox.push(Frame::text(b"4abc"));
        outbox.push(Frame::text(b"4def"));
        outbox.advance(9);
        assert_eq!(written(&outbox), b"def");
        outbox.advance(3);
        assert!(outbox.is_empty());
        assert_eq!((outbox.bytes(), outbox.chunks.capacity()), (0, 0));
    }
}
