use std::collections::VecDeque;

use crate::{BufferLimits, OverflowPolicy, connection::packet::Outgoing};

/// The events emitted while a namespace was not connected, in order.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    packets: VecDeque<Outgoing>,
    bytes: usize,
}

/// The buffer has no room for an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl SendBuffer {
    /// Adds an event behind the others and returns the events that it replaced.
    pub(crate) fn push(&mut self, packet: Outgoing, limits: &BufferLimits) -> Result<Vec<Outgoing>, Full> {
        let len = packet.len();
        if len > limits.bytes || limits.packets == 0 {
            return Err(Full);
        }
        let mut dropped = Vec::new();
        while self.packets.len() >= limits.packets || self.bytes + len > limits.bytes {
            match (limits.policy, self.packets.pop_front()) {
                (OverflowPolicy::DropOldest, Some(oldest)) => {
                    self.bytes -= oldest.len();
                    dropped.push(oldest);
                }
                (_, Some(oldest)) => {
                    self.packets.push_front(oldest);
                    return Err(Full);
                }
                (_, None) => return Err(Full),
            }
        }
        self.bytes += len;
        self.packets.push_back(packet);
        Ok(dropped)
    }

    /// Puts an event that a lost connection had not sent in front of the others. It was within the limits of the
    /// connection, so it is not dropped here.
    pub(crate) fn put_back(&mut self, packet: Outgoing) {
        self.bytes += packet.len();
        self.packets.push_front(packet);
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> VecDeque<Outgoing> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }

    /// Removes the event that waits for this acknowledgement.
    pub(crate) fn remove(&mut self, ack: u64) -> Option<Outgoing> {
        let index = self.packets.iter().position(|packet| packet.ack == Some(ack))?;
        let packet = self.packets.remove(index)?;
        self.bytes -= packet.len();
        Some(packet)
    }

    /// Removes the events with these acknowledgements.
    pub(crate) fn forget(&mut self, named: impl Fn(u64) -> bool) {
        self.packets.retain(|packet| !packet.ack.is_some_and(&named));
        self.bytes = self.packets.iter().map(Outgoing::len).sum();
    }

    /// The acknowledgements that the events wait for.
    pub(crate) fn acks(&self) -> impl Iterator<Item = u64> {
        self.packets.iter().filter_map(|packet| packet.ack)
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
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
    fn rejects_what_exceeds_count_or_bytes() {
        let limits = BufferLimits { packets: 2, bytes: 10, policy: OverflowPolicy::Reject };
        let mut buffer = SendBuffer::default();
        assert_eq!(buffer.push(packet(0, 11), &limits).unwrap_err(), Full);
        assert!(buffer.push(packet(1, 4), &limits).unwrap().is_empty());
        assert_eq!(buffer.push(packet(2, 7), &limits).unwrap_err(), Full);
        assert!(buffer.push(packet(3, 6), &limits).unwrap().is_empty());
        assert_eq!(buffer.push(packet(4, 0), &limits).unwrap_err(), Full);
        assert_eq!(ids(buffer.drain()), [1, 3]);
        assert!(buffer.push(packet(5, 10), &limits).unwrap().is_empty());
    }

    #[test]
    fn drops_the_oldest_by_policy() {
        let limits = BufferLimits { packets: 3, bytes: 10, policy: OverflowPolicy::DropOldest };
        let mut buffer = SendBuffer::default();
        for id in 0..3 {
            assert!(buffer.push(packet(id, 3), &limits).unwrap().is_empty());
        }
        assert_eq!(ids(buffer.push(packet(3, 6), &limits).unwrap()), [0, 1]);
        assert_eq!(buffer.push(packet(4, 11), &limits).unwrap_err(), Full);
        assert_eq!(ids(buffer.drain()), [2, 3]);
    }

    #[test]
    fn what_was_put_back_comes_first() {
        let limits = BufferLimits::default();
        let mut buffer = SendBuffer::default();
        buffer.push(packet(2, 1), &limits).unwrap();
        buffer.put_back(packet(1, 1));
        buffer.put_back(packet(0, 1));
        assert_eq!(buffer.acks().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(ids(buffer.remove(1)), [1]);
        assert_eq!(buffer.len(), 2);
        assert_eq!(ids(buffer.drain()), [0, 2]);
        assert_eq!(buffer.bytes, 0);
    }
}
