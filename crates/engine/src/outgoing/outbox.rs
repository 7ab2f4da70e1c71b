use std::io::IoSlice;

use crate::{
    Frame,
    outgoing::queue::{Queue, SMALL, cost},
};

/// What waits to be written to one peer, in order. Empty or with one frame, it owns no memory but the frame's.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// One packet, perhaps shared with other outboxes, before the rest.
    first: Option<Frame>,
    rest: Option<Box<Queue>>,
    /// How many bytes of what is first the socket has taken.
    taken: usize,
}

/// The most slices that one write hands to the kernel.
pub(crate) const SLICES: usize = 64;

impl Outbox {
    /// An outbox of a WebSocket, before whose first packet these bytes are to be written: the end of its handshake.
    pub(crate) fn beginning_with(answer: Vec<u8>) -> Self {
        Self { first: Some(Frame::side_by_side(answer)), rest: None, taken: 0 }
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        if self.is_empty() {
            self.first = Some(frame);
        } else {
            self.rest().push(frame);
        }
    }

    /// Appends a text packet as a WebSocket frame. Only for outboxes that are written to a WebSocket.
    pub(crate) fn append_text(&mut self, packet: &[u8]) {
        if packet.len() > SMALL {
            return self.push(Frame::text(packet));
        }
        self.rest().append_text(packet);
    }

    /// Appends the answer to a WebSocket's ping, or replaces the last answer if many wait. Returns whether one more waits.
    pub(crate) fn append_pong(&mut self, payload: &[u8]) -> bool {
        let taken = if self.first.is_none() { self.taken } else { 0 };
        self.rest().append_pong(payload, taken)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    /// Whether a frame is written in part: the peer must get the rest of it before anything else.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.taken > 0
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.bytes());
        rest + self.first.as_ref().map_or(0, |first| first.websocket().len()) - self.taken
    }

    /// How much memory what waits takes. A frame that others share counts as if it were this outbox's alone.
    pub(crate) fn memory(&self) -> usize {
        self.first.as_ref().map_or(0, cost) + self.rest.as_ref().map_or(0, |rest| rest.memory())
    }

    /// How much memory the outbox takes besides the frames.
    pub(crate) fn own_memory(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.own_memory())
    }

    /// All that is to be written, if it lies in one piece.
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        let mut parts = self.parts();
        let only = parts.next()?.get(self.taken..);
        if parts.next().is_none() { only } else { None }
    }

    /// Fills `slices` with what is to be written next and says how many it filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut taken = self.taken;
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(self.parts()) {
            *slice = IoSlice::new(part.get(taken..).unwrap_or_default());
            taken = 0;
            count += 1;
        }
        count
    }

    /// Forgets `count` bytes that the socket has taken.
    pub(crate) fn advance(&mut self, count: usize) {
        let mut taken = self.taken + count;
        while !self.is_empty() && taken >= self.front_len() {
            taken -= self.front_len();
            self.forget_first();
        }
        self.taken = taken;
    }

    /// Takes the first packet, for a transport that is not a WebSocket.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let first = self.first.as_ref().or_else(|| self.rest.as_ref()?.front())?;
        let frame = first.is_packet().then(|| first.clone())?;
        self.forget_first();
        Some(frame)
    }

    /// The length of what is first.
    pub(crate) fn front_len(&self) -> usize {
        self.parts().next().map_or(0, <[u8]>::len)
    }

    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.taken = 0;
        self.give_rest_back();
    }

    /// What waits, in the pieces in which it lies.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.iter().map(Frame::websocket);
        first.chain(self.rest.iter().flat_map(|rest| rest.parts()))
    }

    fn forget_first(&mut self) {
        if self.first.take().is_none()
            && let Some(rest) = &mut self.rest
        {
            rest.forget_first();
            if rest.is_empty() {
                self.give_rest_back();
            }
        }
    }

    fn rest(&mut self) -> &mut Queue {
        self.rest.get_or_insert_with(Queue::lend)
    }

    fn give_rest_back(&mut self) {
        if let Some(rest) = self.rest.take() {
            Queue::take_back(rest);
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
        assert_eq!(outbox.parts().count(), 3);
        assert_eq!(written(&outbox), b"\x81\x024a\x81\x024b\x81\x024c\x81\x024d");
    }

    #[test]
    fn a_partial_write_goes_on_where_it_stopped_and_an_empty_outbox_owns_nothing() {
        let mut outbox = Outbox::default();
        outbox.push(Frame::text(b"4abc"));
        outbox.push(Frame::text(b"4def"));
        outbox.append_text(b"4ghi");
        outbox.advance(9);
        assert_eq!(written(&outbox), b"def\x81\x044ghi");
        outbox.advance(4);
        assert_eq!((written(&outbox), outbox.only_slice()), (b"\x044ghi".to_vec(), Some(&b"\x044ghi"[..])));
        outbox.advance(5);
        assert!(outbox.is_empty());
        assert_eq!((outbox.bytes(), outbox.memory()), (0, 0));
    }

    #[test]
    fn bytes_and_memory_are_those_of_what_waits() {
        let mut outbox = Outbox::default();
        for round in 0..3 {
            for _ in 0..round * 1_000 {
                outbox.append_text(b"4small");
                outbox.append_pong(b"");
                outbox.push(Frame::binary(&[7; 100]));
            }
            let waiting: usize = outbox.parts().map(<[u8]>::len).sum();
            assert_eq!(outbox.bytes(), waiting);
            assert!(outbox.memory() >= waiting);
            while !outbox.is_empty() {
                outbox.advance(outbox.front_len());
            }
            assert_eq!((outbox.bytes(), outbox.memory()), (0, 0));
        }
    }

    #[test]
    fn a_peer_is_owed_the_newest_of_many_pongs() {
        let mut outbox = Outbox::default();
        outbox.append_text(b"4a");
        for number in 0..100_u8 {
            outbox.append_pong(&[number]);
        }
        outbox.append_text(b"4b");
        let pongs: Vec<u8> = (0..15).chain([99]).collect();
        let pongs: Vec<u8> = pongs.iter().flat_map(|number| [0x8a, 1, *number]).collect();
        assert_eq!(written(&outbox), [b"\x81\x024a", &*pongs, b"\x81\x024b"].concat());
        assert_eq!(outbox.bytes(), written(&outbox).len());
    }

    #[test]
    fn a_pong_that_is_written_in_part_is_not_replaced() {
        let mut outbox = Outbox::default();
        for _ in 0..16 {
            outbox.append_pong(b"old");
        }
        outbox.advance(5 * 16 - 1);
        outbox.append_pong(b"new");
        assert_eq!(written(&outbox), b"d\x8a\x03new");
        outbox.append_pong(b"newest");
        assert_eq!(written(&outbox), b"d\x8a\x06newest");
    }

    #[test]
    fn what_waits_takes_no_more_memory_than_it_counts() {
        let shared = Frame::text(b"4shared");
        type Fill<'a> = &'a dyn Fn(&mut Outbox);
        let fills: [(&str, Fill<'_>); 7] = [
            ("empty packets", &|outbox| outbox.append_text(b"")),
            ("small packets", &|outbox| outbox.append_text(&[b'4'; 1_000])),
            ("the largest packets that lie side by side", &|outbox| outbox.append_text(&[b'4'; SMALL])),
            ("small frames", &|outbox| outbox.push(Frame::text(b"4"))),
            ("shared frames", &|outbox| outbox.push(shared.clone())),
            ("large frames", &|outbox| outbox.push(Frame::binary(&[7; 100_000]))),
            ("packets and frames by turns", &|outbox| {
                outbox.append_text(b"4");
                outbox.push(Frame::text(b"4"));
            }),
        ];
        for (what, fill) in fills {
            let mut outbox = Outbox::default();
            let taken = allocation_counter::measure(|| {
                while outbox.memory() < 1 << 22 {
                    fill(&mut outbox);
                }
            });
            let counted = outbox.memory() as i64;
            assert!(taken.bytes_current <= counted * 5 / 4 + 8 * 1024, "{what}: {taken:?} for {counted}");
            outbox.clear();
        }
    }

    #[test]
    fn a_few_packets_allocate_nothing_but_themselves() {
        let (mut outbox, frame) = (Outbox::default(), Frame::text(b"4shared"));
        let send = |outbox: &mut Outbox| {
            for count in 0..3 {
                (0..count).for_each(|_| outbox.push(frame.clone()));
                outbox.append_text(b"4own");
                outbox.advance(outbox.bytes());
                outbox.push(frame.clone());
                outbox.advance(outbox.bytes());
            }
        };
        send(&mut outbox);
        let taken = allocation_counter::measure(|| send(&mut outbox));
        assert_eq!(taken.count_total, 0, "{taken:?}");
    }
}
