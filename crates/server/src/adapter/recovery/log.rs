use std::{collections::VecDeque, sync::Arc, time::Duration};

use sockeye_engine::{Frame, Sid};
use tokio::time::Instant;

use super::private_id::SEPARATOR;
use crate::adapter::{EncodedPacket, Target};

/// The packets that one namespace keeps for the clients that may have missed them, in the order of their numbers.
pub(super) struct Log {
    /// A random text at the beginning of every offset. It distinguishes the offsets of this log from those of the same
    /// server before a restart, of another server, and of an earlier namespace with the same name.
    epoch: Box<str>,
    packets: VecDeque<Logged>,
    /// How many bytes of memory the packets take.
    memory: usize,
    max_bytes: usize,
    /// How long the log keeps packets.
    keep: Duration,
    /// The number of the last packet.
    last: u64,
    /// The number and the time of the newest packet that the log has dropped.
    dropped: Option<(u64, Instant)>,
}

struct Logged {
    number: u64,
    at: Instant,
    target: Target,
    packet: EncodedPacket,
}

/// The length of an epoch in characters of base64url: 48 bits.
const EPOCH_LENGTH: usize = 8;

impl Log {
    /// An empty log with an epoch of its own.
    pub(super) fn new(max_bytes: usize, keep: Duration) -> Self {
        let epoch = Sid::random().as_str().chars().take(EPOCH_LENGTH).collect();
        Self { epoch, packets: VecDeque::new(), memory: 0, max_bytes, keep, last: 0, dropped: None }
    }

    /// The number of the last packet.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The offset of the last packet.
    pub(super) fn last_offset(&self) -> String {
        self.offset(self.last)
    }

    /// The offset of the packet that is appended next.
    pub(super) fn next_offset(&self) -> String {
        self.offset(self.last + 1)
    }

    /// Appends a packet, which carries the [next offset](Self::next_offset), and returns it.
    pub(super) fn append(&mut self, packet: EncodedPacket, target: Target, now: Instant) -> &EncodedPacket {
        self.last += 1;
        let logged = Logged { number: self.last, at: now, target, packet };
        self.memory += logged.memory();
        &self.packets.push_back_mut(logged).packet
    }

    /// Drops the oldest packets: those kept long enough, and those for which there is no room.
    pub(super) fn purge(&mut self, now: Instant) {
        while let Some(oldest) = self.packets.front()
            && (self.memory > self.max_bytes || now.duration_since(oldest.at) > self.keep)
        {
            self.dropped = Some((oldest.number, oldest.at));
            self.memory -= oldest.memory();
            self.packets.pop_front();
        }
    }

    /// Whether the log has dropped a packet after the number `seen` that was published at `since` or later.
    pub(super) fn has_dropped(&self, seen: u64, since: Instant) -> bool {
        self.dropped.is_some_and(|(number, at)| number > seen && at >= since)
    }

    /// The frames of the packets after the number `seen` for a socket in these rooms.
    pub(super) fn after(&self, seen: u64, rooms: &[Arc<str>]) -> Vec<Frame> {
        let packets = self.packets.iter().filter(|logged| logged.number > seen && logged.is_for(rooms));
        packets.flat_map(|logged| logged.packet.frames().iter().cloned()).collect()
    }

    /// The number in this offset; none if this log has not given out the offset.
    pub(super) fn number(&self, offset: &str) -> Option<u64> {
        let digits = offset.strip_prefix(&*self.epoch)?.strip_prefix(SEPARATOR)?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        (number <= self.last && self.offset(number) == offset).then_some(number)
    }

    /// The offset of the packet with this number.
    fn offset(&self, number: u64) -> String {
        format!("{}{SEPARATOR}{number:x}", self.epoch)
    }
}

impl Logged {
    /// How many bytes of memory the packet takes in a log that is half empty.
    fn memory(&self) -> usize {
        let names = self.target.rooms.iter().chain(&self.target.except);
        let names: usize = names.map(|name| name.len() + size_of::<Arc<str>>() + 2 * size_of::<usize>()).sum();
        self.packet.memory() + names + 2 * size_of::<Self>() - size_of::<EncodedPacket>()
    }

    fn is_for(&self, rooms: &[Arc<str>]) -> bool {
        let is_in = |room: &Arc<str>| rooms.contains(room);
        (self.target.rooms.is_empty() || self.target.rooms.iter().any(is_in)) && !self.target.except.iter().any(is_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_only_from_an_offset_that_this_log_has_given_out() {
        let mut log = Log::new(0, Duration::ZERO);
        let other = Log { last: u64::MAX, ..Log::new(0, Duration::ZERO) };
        log.last = u64::MAX;
        for number in [0, 1, 0xfff, u64::MAX] {
            assert_eq!(log.number(&log.offset(number)), Some(number));
            assert_eq!(log.number(&other.offset(number)), None);
        }
        let offset = |digits: &str| format!("{}.{digits}", log.epoch);
        for wrong in ["", "+1", "01", "-1", "F", " 1", "1 ", "1.1", "10000000000000000"] {
            assert_eq!(log.number(&offset(wrong)), None, "{wrong:?}");
        }
        for wrong in ["", "30", ".30", "chat", &*log.epoch, &offset("30")[1..]] {
            assert_eq!(log.number(wrong), None, "{wrong:?}");
        }
        log.last = 1;
        assert_eq!(log.number(&log.offset(1)), Some(1));
        assert_eq!(log.number(&log.offset(2)), None, "not given out yet");
    }
}
