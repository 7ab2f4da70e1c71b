use std::collections::VecDeque;

use super::packet::Outgoing;
use crate::{BufferLimits, OverflowPolicy};

/// Messages to send, in order. An empty queue owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    packets: VecDeque<Outgoing>,
    bytes: usize,
}

/// The queue has no room for an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Queue {
    pub(crate) fn push(&mut self, packet: Outgoing) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    /// Adds an event within these limits, and returns the events that it replaced.
    pub(crate) fn push_within(&mut self, packet: Outgoing, limits: &BufferLimits) -> Result<Vec<Outgoing>, Full> {
        let len = packet.len();
        if len > limits.bytes || limits.packets == 0 {
            return Err(Full);
        }
        let mut dropped = Vec::new();
        while self.packets.len() >= limits.packets || self.bytes + len > limits.bytes {
            match limits.policy {
                OverflowPolicy::Reject => return Err(Full),
                OverflowPolicy::DropOldest => dropped.extend(self.pop()),
            }
        }
        self.push(packet);
        Ok(dropped)
    }

    pub(crate) fn push_front(&mut self, packet: Outgoing) {
        self.bytes += packet.len();
        self.packets.push_front(packet);
    }

    pub(crate) fn first(&self) -> Option<&Outgoing> {
        self.packets.front()
    }

    /// Takes the first message.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        if self.packets.is_empty() {
            self.packets = VecDeque::new();
        }
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
        self.bytes = self.packets.iter().map(Outgoing::len).sum();
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

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn into_packets(self) -> impl DoubleEndedIterator<Item = Outgoing> {
        self.packets.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(id: u64, len: usize) -> Outgoing {
        Outgoing { head: vec![b'x'; len], ack: Some(id), ..Outgoing::default() }
    }

    fn ids(packets: impl IntoIterator<Item = Outgoing>) -> Vec<u64> {
        packets.into_iter().filter_map(|packet| packet.ack).collect()
    }

    #[test]
    fn a_full_queue_rejects_an_event() {
        let limits = BufferLimits { packets: 2, bytes: 10, policy: OverflowPolicy::Reject };
        let mut queue = Queue::default();
        assert_eq!(queue.push_within(packet(0, 11), &limits).unwrap_err(), Full);
        assert!(queue.push_within(packet(1, 4), &limits).unwrap().is_empty());
        assert_eq!(queue.push_within(packet(2, 7), &limits).unwrap_err(), Full);
        assert!(queue.push_within(packet(3, 6), &limits).unwrap().is_empty());
        assert_eq!(queue.push_within(packet(4, 0), &limits).unwrap_err(), Full);
        assert_eq!(ids(std::mem::take(&mut queue).into_packets()), [1, 3]);
        assert!(queue.push_within(packet(5, 10), &limits).unwrap().is_empty());
    }

    #[test]
    fn a_full_queue_drops_the_oldest_events_by_policy() {
        let limits = BufferLimits { packets: 3, bytes: 10, policy: OverflowPolicy::DropOldest };
        let mut queue = Queue::default();
        for id in 0..3 {
            assert!(queue.push_within(packet(id, 3), &limits).unwrap().is_empty());
        }
        assert_eq!(ids(queue.push_within(packet(3, 6), &limits).unwrap()), [0, 1]);
        assert_eq!(queue.push_within(packet(4, 11), &limits).unwrap_err(), Full);
        assert_eq!(ids(queue.into_packets()), [2, 3]);
    }

    #[test]
    fn a_queue_counts_its_bytes() {
        let mut queue = Queue::default();
        queue.push(packet(2, 1));
        queue.push_front(packet(1, 2));
        queue.push_front(packet(0, 4));
        assert_eq!((queue.acks().collect::<Vec<_>>(), queue.bytes()), (vec![0, 1, 2], 7));
        assert!(queue.remove(|ack| ack == 1) && !queue.remove(|ack| ack == 1));
        assert_eq!((queue.len(), queue.bytes()), (2, 5));
        assert_eq!((ids(queue.pop()), queue.bytes()), (vec![0], 1));
        let mut other = Queue::default();
        other.push(packet(3, 8));
        queue.append(&mut other);
        assert_eq!((queue.bytes(), other.bytes()), (9, 0));
        assert_eq!(ids(queue.into_packets()), [2, 3]);
    }
}
