use std::collections::VecDeque;

use super::packet::Outgoing;
use crate::{BufferLimits, OverflowPolicy};

/// Messages to send, in order. An empty queue owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    packets: VecDeque<Outgoing>,
    /// What the messages count.
    bytes: usize,
}

/// The queue has no room for an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Queue {
    pub(crate) fn push(&mut self, packet: Outgoing) {
        self.bytes += packet.size();
        self.packets.push_back(packet);
    }

    /// Adds an event within these limits, and returns the events that it replaced.
    pub(crate) fn push_within(&mut self, packet: Outgoing, limits: &BufferLimits) -> Result<Vec<Outgoing>, Full> {
        let size = packet.size();
        if size > limits.bytes || limits.packets == 0 {
            return Err(Full);
        }
        let mut dropped = Vec::new();
        while self.packets.len() >= limits.packets || self.bytes + size > limits.bytes {
            match limits.policy {
                OverflowPolicy::Reject => return Err(Full),
                OverflowPolicy::DropOldest => dropped.extend(self.pop()),
            }
        }
        self.push(packet);
        Ok(dropped)
    }

    pub(crate) fn push_front(&mut self, packet: Outgoing) {
        self.bytes += packet.size();
        self.packets.push_front(packet);
    }

    pub(crate) fn first(&self) -> Option<&Outgoing> {
        self.packets.front()
    }

    /// Takes the first message.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.size();
        self.release();
        Some(packet)
    }

    /// Moves everything from `other` behind what is here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.packets.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.packets.append(&mut other.packets);
            self.bytes += std::mem::take(&mut other.bytes);
        }
    }

    /// Removes the events that wait for one of these acknowledgements. Returns whether there were any.
    pub(crate) fn remove(&mut self, has: impl Fn(u64) -> bool) -> bool {
        let before = self.packets.len();
        self.packets.retain(|packet| !packet.ack.is_some_and(&has));
        self.bytes = self.packets.iter().map(Outgoing::size).sum();
        self.release();
        self.packets.len() < before
    }

    /// The acknowledgements that the events wait for.
    pub(crate) fn acks(&self) -> impl Iterator<Item = u64> {
        self.packets.iter().filter_map(|packet| packet.ack)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// How many bytes the messages [count](Outgoing::size).
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn into_packets(self) -> impl DoubleEndedIterator<Item = Outgoing> {
        self.packets.into_iter()
    }

    /// Frees room for messages, if there is much more than the messages need.
    fn release(&mut self) {
        let count = self.packets.len();
        if count == 0 || count < self.packets.capacity() / 4 {
            self.packets.shrink_to(2 * count);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Parser, connection::packet::OVERHEAD};

    /// Limits of messages with so many bytes in total, if there are `packets` of them.
    fn limits(packets: usize, bytes: usize, policy: OverflowPolicy) -> BufferLimits {
        BufferLimits { packets, bytes: packets * OVERHEAD + bytes, policy }
    }

    fn packet(id: u64, len: usize) -> Outgoing {
        Outgoing { head: vec![b'x'; len], ack: Some(id), ..Outgoing::default() }
    }

    fn ids(packets: impl IntoIterator<Item = Outgoing>) -> Vec<u64> {
        packets.into_iter().filter_map(|packet| packet.ack).collect()
    }

    #[test]
    fn a_full_queue_rejects_an_event() {
        let limits = limits(2, 10, OverflowPolicy::Reject);
        let mut queue = Queue::default();
        assert_eq!(queue.push_within(packet(0, limits.bytes), &limits).unwrap_err(), Full);
        assert!(queue.push_within(packet(1, 4), &limits).unwrap().is_empty());
        assert_eq!(queue.push_within(packet(2, 7), &limits).unwrap_err(), Full);
        assert!(queue.push_within(packet(3, 6), &limits).unwrap().is_empty());
        assert_eq!(queue.push_within(packet(4, 0), &limits).unwrap_err(), Full);
        assert_eq!(ids(std::mem::take(&mut queue).into_packets()), [1, 3]);
        assert!(queue.push_within(packet(5, 10), &limits).unwrap().is_empty());
    }

    #[test]
    fn a_full_queue_drops_the_oldest_events_by_policy() {
        let limits = limits(3, 10, OverflowPolicy::DropOldest);
        let mut queue = Queue::default();
        for id in 0..3 {
            assert!(queue.push_within(packet(id, 3), &limits).unwrap().is_empty());
        }
        assert_eq!(ids(queue.push_within(packet(3, 6), &limits).unwrap()), [0, 1]);
        assert_eq!(queue.push_within(packet(4, limits.bytes), &limits).unwrap_err(), Full);
        assert_eq!(ids(queue.into_packets()), [2, 3]);
    }

    #[test]
    fn a_queue_counts_its_bytes() {
        let mut queue = Queue::default();
        queue.push(packet(2, 1));
        queue.push_front(packet(1, 2));
        queue.push_front(packet(0, 4));
        assert_eq!((queue.acks().collect::<Vec<_>>(), queue.bytes()), (vec![0, 1, 2], 7 + 3 * OVERHEAD));
        assert!(queue.remove(|ack| ack == 1) && !queue.remove(|ack| ack == 1));
        assert_eq!((queue.len(), queue.bytes()), (2, 5 + 2 * OVERHEAD));
        assert_eq!((ids(queue.pop()), queue.bytes()), (vec![0], 1 + OVERHEAD));
        let mut other = Queue::default();
        other.push(packet(3, 8));
        queue.append(&mut other);
        assert_eq!((queue.bytes(), other.bytes()), (9 + 2 * OVERHEAD, 0));
        assert_eq!(ids(queue.into_packets()), [2, 3]);
    }

    #[test]
    fn a_full_queue_keeps_little_more_memory_than_its_limit() {
        const LIMIT: usize = 4 << 20;
        let limits = BufferLimits { packets: usize::MAX, bytes: LIMIT, policy: OverflowPolicy::Reject };
        // The smallest and the largest events, without attachments and with some.
        for (numbers, attachments, length) in [(0, 0, 0), (2_000_000, 0, 0), (0, 1, 0), (0, 1_000, 0), (0, 1, 1 << 20)]
        {
            let args = (vec![7; numbers], vec![Bytes::from(vec![0; length]); attachments]);
            let mut queue = Queue::default();
            let kept = allocation_counter::measure(|| {
                while let Ok(event) = Parser::Json.event("/", None, "e", &args)
                    && queue.push_within(event, &limits).is_ok()
                {}
            });
            let most = LIMIT + LIMIT / 4 + 8 * 1024;
            assert!(!queue.is_empty() && kept.bytes_current <= most as i64, "{numbers}, {attachments}: {kept:?}");
        }
    }

    #[test]
    fn a_queue_that_was_long_frees_its_memory() {
        let mut queue = Queue::default();
        (0..1_000).for_each(|id| queue.push(packet(id, 1)));
        while queue.len() > 10 {
            queue.pop();
        }
        assert!(queue.packets.capacity() <= 40, "{}", queue.packets.capacity());
        queue.remove(|_| true);
        assert_eq!(queue.packets.capacity(), 0);
    }
}
