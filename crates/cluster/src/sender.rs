//! The names under which servers send, and how a message is known that arrives by several buses.
//!
//! A server has a random name of 32 hexadecimal digits. A server on several buses publishes its messages on each of them
//! and numbers them, `NAME.NUMBER`, so that another server on the same buses carries out each only once. A message that a
//! server passes on from another bus says so, `NAME.NUMBER~BUS`, and servers that are on that bus themselves ignore it.
//! Servers of other kinds compare names only with their own.
use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;

use crate::message::ServerId;

/// This server's name.
#[derive(Debug)]
pub(crate) struct Name {
    name: ServerId,
    next: AtomicU64,
}

/// Who has sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender<'a> {
    /// The server's name.
    pub(crate) name: &'a str,
    /// The message's number, if the server is on several buses.
    pub(crate) number: Option<u64>,
    /// The bus from which the server passes it on.
    pub(crate) passed_on_from: Option<&'a str>,
}

impl Name {
    /// A random name.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let mut name = String::with_capacity(32);
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ok = write!(name, "{byte:02x}");
        }
        Ok(Self { name: name.into(), next: AtomicU64::new(0) })
    }

    /// The name itself, under which requests and answers are sent.
    pub(crate) fn plain(&self) -> &ServerId {
        &self.name
    }

    /// The name with the next number.
    pub(crate) fn numbered(&self) -> ServerId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::from(format!("{}.{number}", self.name))
    }

    /// The name with the next number, for a message that comes from another bus.
    pub(crate) fn passing_on_from(&self, bus: &str) -> ServerId {
        Arc::from(format!("{}~{bus}", self.numbered()))
    }
}

impl<'a> Sender<'a> {
    /// Reads the sender of a message. Every text is a name.
    pub(crate) fn parse(text: &'a str) -> Self {
        Self::parse_numbered(text).unwrap_or(Self { name: text, number: None, passed_on_from: None })
    }

    fn parse_numbered(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_at_checked(32)?;
        if !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let rest = rest.strip_prefix('.')?;
        let (number, passed_on_from) = match rest.split_once('~') {
            Some((number, bus)) => (number, Some(bus)),
            None => (rest, None),
        };
        Some(Self { name, number: Some(number.parse().ok()?), passed_on_from })
    }
}

/// The numbers of the messages that have arrived lately, of each sender.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    senders: Mutex<HashMap<String, Window>>,
    requests: Mutex<HashSet<Box<str>>>,
}

/// The number of requests that are remembered. Beyond, all are forgotten, with the same effect.
const REQUESTS: usize = 16_384;

/// The number of senders that are remembered. Beyond, all are forgotten: a message that is on its way by a second bus at
/// this moment may then be carried out twice.
const SENDERS: usize = 4_096;

impl Arrived {
    /// Notes that a message has arrived; false if it had arrived before.
    pub(crate) fn is_new(&self, sender: &Sender<'_>) -> bool {
        let Some(number) = sender.number else { return true };
        let mut senders = self.senders.lock();
        if senders.len() >= SENDERS && !senders.contains_key(sender.name) {
            senders.clear();
        }
        senders.entry_ref(sender.name).or_default().insert(number)
    }

    /// Notes that a request has arrived; false if it had arrived before.
    pub(crate) fn is_new_request(&self, sender: Option<&str>, id: &str) -> bool {
        let mut requests = self.requests.lock();
        if requests.len() >= REQUESTS {
            requests.clear();
        }
        requests.insert(format!("{} {id}", sender.unwrap_or_default()).into())
    }
}

/// Which of the last numbers have arrived. Numbers before the window count as arrived.
#[derive(Debug, Default)]
struct Window {
    /// The highest number that has arrived.
    highest: Option<u64>,
    /// A bit for each number: whether it has arrived.
    bits: [u64; WORDS],
}

const WORDS: usize = 16;
const NUMBERS: u64 = 64 * WORDS as u64;

impl Window {
    /// Adds a number; false if it has arrived before.
    fn insert(&mut self, number: u64) -> bool {
        match self.highest {
            Some(highest) if number <= highest => highest - number < NUMBERS && self.set(number, true),
            highest => {
                // The bits of the numbers between belong to numbers that leave the window.
                let first = highest.map_or(number, |highest| (highest + 1).max(number.saturating_sub(NUMBERS - 1)));
                for skipped in first..=number {
                    self.set(skipped, false);
                }
                self.highest = Some(number);
                self.set(number, true)
            }
        }
    }

    /// Sets the bit of a number; returns whether it has changed.
    fn set(&mut self, number: u64, arrived: bool) -> bool {
        let position = number % NUMBERS;
        let Some(word) = usize::try_from(position / 64).ok().and_then(|index| self.bits.get_mut(index)) else {
            return false;
        };
        let bit = 1 << (position % 64);
        let before = *word;
        *word = if arrived { before | bit } else { before & !bit };
        *word != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_read_as_they_are_written() {
        let name = Name::random().unwrap();
        let plain = name.plain().clone();
        assert_eq!(Sender::parse(&plain), Sender { name: &plain, number: None, passed_on_from: None });
        assert_eq!(Sender::parse(&name.numbered()), Sender { name: &plain, number: Some(0), passed_on_from: None });
        let passed_on = name.passing_on_from("node.js~1");
        assert_eq!(
            Sender::parse(&passed_on),
            Sender { name: &plain, number: Some(1), passed_on_from: Some("node.js~1") }
        );
    }

    #[test]
    fn names_of_other_kinds_of_servers_are_kept_whole() {
        let long = "é".repeat(40);
        for name in ["", "emitter", "QB73Ai", "a.1", "88f2be882503a1f0", "0123456789abcdef0123456789abcdef.x", &long] {
            assert_eq!(Sender::parse(name), Sender { name, number: None, passed_on_from: None });
        }
    }

    #[test]
    fn a_message_is_new_once_whichever_bus_is_faster() {
        let arrived = Arrived::default();
        let mut is_new = |number| arrived.is_new(&Sender { name: "a", number: Some(number), passed_on_from: None });
        assert_eq!([0, 0, 2, 1, 2, 1].map(&mut is_new), [true, false, true, true, false, false]);
        assert_eq!([1500, 1400, 1500, 3, 1400].map(&mut is_new), [true, true, false, false, false]);
        assert_eq!([u64::MAX, u64::MAX, 1501].map(&mut is_new), [true, false, false]);
    }
}
