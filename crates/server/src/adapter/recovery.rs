//! Connection state recovery: a client that reconnects after a short disconnection gets back its socket id, its rooms
//! and its values, and receives the events it missed.
//!
//! Every event of the namespace that asks for no acknowledgement carries an offset as its last argument. The offset
//! consists of the epoch of the namespace's log and a number. An event that is not volatile gets the next number, and
//! the log keeps it for a while. A volatile event repeats the last number. A client that reconnects sends the last
//! offset it has received. The official clients take the last argument of every such event for the offset if it is a
//! string; therefore every such event has one.
use std::{collections::VecDeque, sync::Arc, task::Waker, time::Duration};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use sockeye_engine::{Batch, Frame, Sid};
use sockeye_handler::Values;
use tokio::time::Instant;

use crate::{
    EmitError,
    adapter::{EncodedPacket, Target},
};

/// The settings of connection state recovery.
///
/// With recovery, every client receives an additional last argument with most events: the offset. The JavaScript server
/// does the same. An event handler of python-socketio that takes a fixed number of arguments then also needs `*args`.
#[derive(Debug, Clone)]
pub struct RecoveryConfig {
    /// The longest disconnection after which a client is recovered. It starts when the server notices that the
    /// connection broke. A client that reconnects before the server has noticed ends its former socket. If a handler of
    /// the former socket still runs, the client waits for it; after 5 seconds it gets a new socket instead. Default 2
    /// minutes.
    pub max_disconnection: Duration,
    /// Whether a recovered client skips the namespace's middleware. The connect handlers run in any case. Default true.
    pub skip_middleware: bool,
    /// The most disconnected clients that each namespace remembers. Beyond it, the namespace forgets the client that
    /// disconnected first. Default 100,000.
    pub max_absent: usize,
    /// The most bytes of packets that each namespace keeps. Beyond it, the namespace drops its oldest packets. It does
    /// not recover a client that may have missed a dropped packet, nor one that missed more bytes than the
    /// `outbox_bytes` of its connection. Default 16 MiB.
    pub max_bytes: usize,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            skip_middleware: true,
            max_absent: 100_000,
            max_bytes: 16 * 1024 * 1024,
        }
    }
}

/// The private id of a socket. A client that asks for recovery sends it as a proof. It consists of the socket's public
/// id, by which the server finds the socket, and a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PrivateId(Arc<str>);

impl PrivateId {
    pub(crate) fn new(socket: &Sid) -> Self {
        Self(format!("{socket}{SEPARATOR}{}", Sid::random()).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the socket.
    fn socket(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(socket, _)| socket)
    }
}

/// Separates the parts of private ids and of offsets. Neither ids nor epochs contain it.
const SEPARATOR: char = '.';

/// The recovery state that a socket begins with.
pub(crate) struct Identity {
    pub(crate) pid: PrivateId,
    pub(crate) since: u64,
    pub(crate) reached: Instant,
    pub(crate) extensions: Option<Box<Values>>,
    /// The packets that the client missed, if it is recovered.
    pub(crate) missed: Option<Vec<Frame>>,
}

/// The state that the namespace keeps of a socket whose connection broke.
pub(crate) struct Left {
    pub(crate) sid: Sid,
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) extensions: Option<Box<Values>>,
    /// The number of the last packet when the client first connected.
    pub(crate) since: u64,
    /// The client has received every packet for it that was published before this time.
    pub(crate) reached: Instant,
    /// When the connection broke.
    pub(crate) at: Instant,
}

/// The length of an epoch in characters of base64url: 48 bits.
const EPOCH_LENGTH: usize = 8;

/// The part of a client's CONNECT payload that asks for recovery.
#[derive(Deserialize)]
struct Claim {
    pid: Option<String>,
    offset: Option<String>,
}

/// The packets that one namespace keeps, and its disconnected clients.
pub(crate) struct Recovery {
    config: RecoveryConfig,
    /// A random text at the beginning of every offset. It distinguishes the offsets of this log from those of the same
    /// server before a restart, of another server, and of an earlier namespace with the same name.
    epoch: Box<str>,
    /// How long the log keeps packets: `max_disconnection`, and the time it takes to notice that a connection broke.
    keep: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: VecDeque<Logged>,
    bytes: usize,
    /// The number of the last packet.
    last: u64,
    /// The number and the time of the newest packet that the log has dropped.
    forgotten: Option<(u64, Instant)>,
    /// The disconnected clients.
    absent: HashMap<PrivateId, Left>,
    /// The times at which the connections of the disconnected clients broke, oldest first.
    departures: VecDeque<(Instant, PrivateId)>,
    /// The wakers of connections whose client waits until its former socket has left, with the private id of that
    /// socket.
    waiting: Vec<(PrivateId, Waker)>,
}

/// The outcome of a client's request for recovery.
pub(crate) enum Restored<R> {
    /// The client is recovered: its socket has entered the namespace.
    Entered(R),
    /// The client's former socket has not left the namespace yet. The waker is called when it has left.
    FormerIsPresent,
    /// The client cannot be recovered.
    Unknown,
}

struct Logged {
    number: u64,
    at: Instant,
    target: Target,
    packet: EncodedPacket,
}

impl Recovery {
    pub(crate) fn new(config: RecoveryConfig, noticed_after: Duration) -> Self {
        let keep = config.max_disconnection.saturating_add(noticed_after);
        let epoch = Sid::random().as_str().chars().take(EPOCH_LENGTH).collect();
        Self { config, keep, epoch, state: Mutex::default() }
    }

    pub(crate) fn skips_middleware(&self) -> bool {
        self.config.skip_middleware
    }

    /// Adds the offset to a packet and delivers it. If the packet is not volatile, it gets the next number, and the log
    /// keeps it. One lock covers numbering and delivery, so that packets are delivered in the order of their numbers.
    /// The batch writes them to the connections after the lock is released.
    pub(crate) fn publish(
        &self,
        target: &Target,
        add_offset: impl FnOnce(&str) -> Result<EncodedPacket, EmitError>,
        deliver: impl FnOnce(&EncodedPacket),
    ) -> Result<(), EmitError> {
        let _batch = Batch::open();
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        if target.volatile {
            deliver(&add_offset(&self.offset(state.last))?);
            return Ok(());
        }
        let next = state.last + 1;
        let packet = add_offset(&self.offset(next))?;
        state.last = next;
        state.bytes += packet.len();
        deliver(&packet);
        let now = Instant::now();
        state.log.push_back(Logged { number: next, at: now, target: target.clone(), packet });
        self.purge(&mut state, now, &mut dropped);
        Ok(())
    }

    /// Calls `enter`, which adds the socket of a new client to the namespace. No packet is published meanwhile: every
    /// packet is published either before the client enters or after.
    pub(crate) fn begin<R>(&self, socket: &Sid, enter: impl FnOnce(Identity) -> R) -> R {
        let pid = PrivateId::new(socket);
        let state = self.state.lock();
        let reached = Instant::now();
        enter(Identity { pid, since: state.last, reached, extensions: None, missed: None })
    }

    /// Calls `take_out`, which removes a socket from the namespace. If its connection broke, `take_out` returns the
    /// state to keep. This then wakes the connections that wait until the socket has left.
    pub(crate) fn leave<R>(&self, take_out: impl FnOnce() -> (Option<(PrivateId, Option<Left>)>, R)) -> R {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let (left, result) = take_out();
        let Some((pid, left)) = left else { return result };
        for (_, waker) in state.waiting.extract_if(.., |(waited_for, _)| *waited_for == pid) {
            waker.wake();
        }
        let Some(left) = left else { return result };
        // Handlers may have delayed this socket, so that the queue may already hold clients whose connections broke
        // later.
        let behind = state.departures.partition_point(|(at, _)| *at <= left.at);
        state.departures.insert(behind, (left.at, pid.clone()));
        state.absent.insert(pid, left);
        self.purge(&mut state, Instant::now(), &mut dropped);
        result
    }

    /// Recovers a client if its CONNECT payload has a known private id and offset, and the packets it missed have at
    /// most `space` bytes. `enter` adds its socket to the namespace again. No packet is published meanwhile, so that
    /// the client neither loses a packet nor receives one twice. `is_present` tells whether the socket with this id and
    /// private id is still in the namespace; if it is, `waker` is called when the socket has left.
    pub(crate) fn restore<R>(
        &self,
        auth: Option<&RawValue>,
        space: usize,
        waker: &Waker,
        is_present: impl FnOnce(&str, &PrivateId) -> bool,
        enter: impl FnOnce(Sid, Vec<Arc<str>>, Identity) -> R,
    ) -> Restored<R> {
        let Some(Claim { pid: Some(pid), offset }) = auth.and_then(|auth| serde_json::from_str(auth.get()).ok()) else {
            return Restored::Unknown;
        };
        let pid = PrivateId(pid.into());
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        self.purge(&mut state, Instant::now(), &mut dropped);
        if !state.absent.contains_key(&pid) && is_present(pid.socket(), &pid) {
            state.waiting.retain(|(_, waiting)| !waiting.will_wake(waker));
            state.waiting.push((pid, waker.clone()));
            return Restored::FormerIsPresent;
        }
        match self.missed(&mut state, &pid, offset, space) {
            Some((left, missed)) => {
                let Left { sid, rooms, extensions, since, reached, .. } = left;
                Restored::Entered(enter(sid, rooms, Identity { pid, since, reached, extensions, missed: Some(missed) }))
            }
            None => Restored::Unknown,
        }
    }

    /// Removes a disconnected client from the table. Returns its state and the packets that it missed.
    fn missed(
        &self,
        state: &mut State,
        pid: &PrivateId,
        offset: Option<String>,
        space: usize,
    ) -> Option<(Left, Vec<Frame>)> {
        let left = state.absent.get(pid)?;
        let seen = match &offset {
            // The client does not get packets from before it first connected, even if it sends an older offset.
            Some(offset) => self.number(offset).filter(|seen| *seen <= state.last)?.max(left.since),
            // The client has never received a numbered packet.
            None => left.since,
        };
        if state.forgotten.is_some_and(|(number, at)| number > seen && at >= left.reached) {
            tracing::debug!(
                "did not recover a client: it may have missed packets that the log has dropped; raise `max_bytes`"
            );
            return None;
        }
        let missed: Vec<Frame> = state
            .log
            .iter()
            .filter(|logged| logged.number > seen && logged.is_for(left))
            .flat_map(|logged| logged.packet.frames().iter().cloned())
            .collect();
        if missed.iter().map(|frame| frame.websocket().len()).sum::<usize>() > space {
            tracing::debug!(
                "did not recover a client: it missed more bytes than its outbox takes; raise `outbox_bytes`"
            );
            return None;
        }
        Some((state.absent.remove(pid)?, missed))
    }

    /// The offset of the packet with this number.
    fn offset(&self, number: u64) -> String {
        format!("{}{SEPARATOR}{number:x}", self.epoch)
    }

    /// The number in this offset; none if the offset does not come from this log.
    fn number(&self, offset: &str) -> Option<u64> {
        let digits = offset.strip_prefix(&*self.epoch)?.strip_prefix(SEPARATOR)?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        (self.offset(number) == offset).then_some(number)
    }

    /// Removes the packets and the clients that exceed the limits. It moves the clients to `dropped`. The caller
    /// declares `dropped` before it takes the lock, so that the clients' values are dropped after the lock is released:
    /// their `Drop` is user code, which may emit.
    fn purge(&self, state: &mut State, now: Instant, dropped: &mut Vec<Left>) {
        while let Some(oldest) = state.log.front()
            && (state.bytes > self.config.max_bytes || now.duration_since(oldest.at) > self.keep)
        {
            state.forgotten = Some((oldest.number, oldest.at));
            state.bytes -= oldest.packet.len();
            state.log.pop_front();
        }
        while let Some((at, pid)) = state.departures.front() {
            let expired = now.duration_since(*at) > self.config.max_disconnection;
            if !expired && state.departures.len() <= self.config.max_absent {
                break;
            }
            // A client that reconnected and disconnected again has a second, later entry in the queue.
            if state.absent.get(pid).is_some_and(|left| left.at == *at) {
                dropped.extend(state.absent.remove(pid));
            }
            state.departures.pop_front();
        }
    }
}

impl Logged {
    fn is_for(&self, left: &Left) -> bool {
        let is_in = |room: &Arc<str>| left.rooms.contains(room);
        (self.target.rooms.is_empty() || self.target.rooms.iter().any(is_in)) && !self.target.except.iter().any(is_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parser::Parser;

    /// If a packet were numbered while a client enters, the client would lose it or receive it twice.
    #[test]
    fn nothing_is_published_while_a_client_enters() {
        let recovery = Recovery::new(RecoveryConfig::default(), Duration::ZERO);
        let pid = recovery.begin(&Sid::random(), |identity| {
            assert!(recovery.state.is_locked(), "a new client enters");
            identity.pid
        });
        recovery.leave(|| (Some((pid.clone(), Some(left(Instant::now())))), ()));
        let encode = |offset: &str| {
            assert!(recovery.state.is_locked(), "a packet is numbered");
            EncodedPacket::event(&Parser::default(), "/", None, "x", &offset, false)
        };
        let deliver = |_: &EncodedPacket| assert!(recovery.state.is_locked(), "a packet is delivered");
        recovery.publish(&Target::default(), encode, deliver).unwrap();
        let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": pid.as_str() })).unwrap();
        let missed = recovery.restore(
            Some(&auth),
            usize::MAX,
            Waker::noop(),
            |_, _| false,
            |_, _, identity| {
                assert!(recovery.state.is_locked(), "a client enters again");
                identity.missed.map(|frames| frames.len())
            },
        );
        assert!(matches!(missed, Restored::Entered(Some(1))));
    }

    #[test]
    fn a_number_is_read_only_from_an_offset_that_this_log_has_given_out() {
        let recovery = Recovery::new(RecoveryConfig::default(), Duration::ZERO);
        let other = Recovery::new(RecoveryConfig::default(), Duration::ZERO);
        for number in [0, 1, 0xfff, u64::MAX] {
            assert_eq!(recovery.number(&recovery.offset(number)), Some(number));
            assert_eq!(recovery.number(&other.offset(number)), None);
        }
        let offset = |digits: &str| format!("{}.{digits}", recovery.epoch);
        for wrong in ["", "+1", "01", "-1", "F", " 1", "1 ", "1.1", "10000000000000000"] {
            assert_eq!(recovery.number(&offset(wrong)), None, "{wrong:?}");
        }
        for wrong in ["", "30", ".30", "chat", &*recovery.epoch, &offset("30")[1..]] {
            assert_eq!(recovery.number(wrong), None, "{wrong:?}");
        }
    }

    /// Packets are kept for the time it takes to notice a broken connection. Noticing takes longer if a busy handler
    /// keeps the connection from being read.
    #[tokio::test(start_paused = true)]
    async fn however_late_its_end_was_noticed_nobody_is_recovered_without_what_it_may_have_missed() {
        let recovery = Recovery::new(RecoveryConfig::default(), Duration::ZERO);
        let (pid, reached) = recovery.begin(&Sid::random(), |identity| (identity.pid, identity.reached));
        let encode = |offset: &str| EncodedPacket::event(&Parser::default(), "/", None, "x", &offset, false);
        recovery.publish(&Target::default(), encode, |_| {}).unwrap();
        tokio::time::sleep(recovery.keep * 2).await;
        let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": pid.as_str() })).unwrap();
        for (reached, recovers) in [(reached, false), (reached + recovery.keep, true)] {
            recovery.leave(|| (Some((pid.clone(), Some(left(reached)))), ()));
            let restored = recovery.restore(Some(&auth), usize::MAX, Waker::noop(), |_, _| false, |_, _, _| ());
            assert_eq!(matches!(restored, Restored::Entered(())), recovers);
        }
    }

    /// A value of a client. It records whether the lock was held when it was dropped.
    struct Kept {
        recovery: Arc<Recovery>,
        dropped: Arc<Mutex<Vec<bool>>>,
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            self.dropped.lock().push(self.recovery.state.is_locked());
        }
    }

    /// The `Drop` of such a value may emit. If the lock were held, the emit would wait for it for ever.
    #[tokio::test(start_paused = true)]
    async fn values_of_those_who_do_not_come_back_are_dropped_when_the_lock_is_released() {
        let recovery = Arc::new(Recovery::new(RecoveryConfig::default(), Duration::ZERO));
        let publish = |recovery: &Recovery| {
            let encode = |offset: &str| EncodedPacket::event(&Parser::default(), "/", None, "x", &offset, false);
            recovery.publish(&Target::default(), encode, |_| {}).unwrap();
        };
        let leave = |recovery: &Recovery| leave_as(recovery, "another", left(Instant::now()));
        let restore = |recovery: &Recovery| {
            let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": "one" })).unwrap();
            let restored = recovery.restore(Some(&auth), usize::MAX, Waker::noop(), |_, _| false, |_, _, _| ());
            assert!(matches!(restored, Restored::Unknown));
        };
        for next in [&publish as &dyn Fn(&Recovery), &leave, &restore] {
            let dropped = Arc::new(Mutex::new(Vec::new()));
            let mut values = Values::default();
            values.insert(Kept { recovery: recovery.clone(), dropped: dropped.clone() });
            leave_as(&recovery, "one", Left { extensions: Some(Box::new(values)), ..left(Instant::now()) });
            tokio::time::sleep(recovery.config.max_disconnection * 2).await;
            next(&recovery);
            assert_eq!(*dropped.lock(), [false]);
        }
    }

    fn leave_as(recovery: &Recovery, pid: &str, left: Left) {
        recovery.leave(|| (Some((PrivateId(pid.into()), Some(left))), ()));
    }

    /// The state of a socket whose connection broke just now.
    fn left(reached: Instant) -> Left {
        Left { sid: Sid::random(), rooms: Vec::new(), extensions: None, since: 0, reached, at: Instant::now() }
    }
}
