//! Connection state recovery: a client that was cut off for a while takes up where it left off.
//!
//! Every event of the namespace that asks for no acknowledgement carries an offset as its last argument: the epoch of the
//! namespace's log and a number. An event that is not volatile gets the next number and is kept for a while. A volatile
//! event repeats the last number. A client that comes back names the last offset it has seen. The stock clients take the
//! last argument of every such event for the offset if it is a string, so that no event may lack one.
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
/// Events get a number as one more argument, as they do from the JavaScript server, whichever client they are for: a
/// handler of python-socketio that takes a fixed number of arguments then needs `*args`.
#[derive(Debug, Clone)]
pub struct RecoveryConfig {
    /// How long a client may have been away, from when its connection was seen to break. A client that comes back before
    /// that ends its former socket. If a handler of the former socket still runs, the client waits for it, and starts
    /// anew after 5 seconds. Default 2 minutes.
    pub max_disconnection: Duration,
    /// Whether a client that is recovered skips the namespace's middleware; its connect handler runs in any case.
    /// Default true.
    pub skip_middleware: bool,
    /// The most clients of each namespace that are remembered while they are away; beyond it, the one that left first is
    /// forgotten. Default 100,000.
    pub max_absent: usize,
    /// The most bytes of packets that are kept for each namespace. A client that may have missed one that had to go
    /// before its time is not recovered, and neither is one that missed more than the `outbox_bytes` of its connection take.
    /// Default 16 MiB.
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

/// The private id of a socket, by which its client proves that it may take the socket up again. It begins with the
/// socket's id, which is public, so that the socket is found by it; a secret follows.
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

/// It is no character of an id, nor of an epoch.
const SEPARATOR: char = '.';

/// What a socket starts with.
pub(crate) struct Identity {
    pub(crate) pid: PrivateId,
    pub(crate) since: u64,
    pub(crate) reached: Instant,
    pub(crate) extensions: Option<Box<Values>>,
    /// What the client missed, if it takes up where it left off.
    pub(crate) missed: Option<Vec<Frame>>,
}

/// What is kept of a socket whose connection broke.
pub(crate) struct Left {
    pub(crate) sid: Sid,
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) extensions: Option<Box<Values>>,
    /// The last number there was when the client first came.
    pub(crate) since: u64,
    /// What was published before this time and was for the client has reached it.
    pub(crate) reached: Instant,
    /// When the connection broke.
    pub(crate) at: Instant,
}

/// How many characters of base64url an epoch has: 48 bits.
const EPOCH_LENGTH: usize = 8;

/// What a client that comes back says of itself in its CONNECT payload.
#[derive(Deserialize)]
struct Claim {
    pid: Option<String>,
    offset: Option<String>,
}

/// The packets and the absent clients of one namespace.
pub(crate) struct Recovery {
    config: RecoveryConfig,
    /// What tells this log's offsets from those of every other: of a server before it was restarted, of another server, or
    /// of a namespace that had the same name.
    epoch: Box<str>,
    /// How long packets are kept: the time a client may be away, and the time it takes to notice that it is.
    keep: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: VecDeque<Logged>,
    bytes: usize,
    /// The number of the last packet.
    last: u64,
    /// The number and the time of the newest packet that is kept no more.
    forgotten: Option<(u64, Instant)>,
    /// Those who may come back.
    absent: HashMap<PrivateId, Left>,
    /// When the connection of each of the absent broke, oldest first.
    departures: VecDeque<(Instant, PrivateId)>,
    /// The connections whose clients wait for their former socket to leave.
    waiting: Vec<(PrivateId, Waker)>,
}

/// What came of a client's wish to be recovered.
pub(crate) enum Restored<R> {
    /// The client is recovered: its socket has entered the namespace.
    Entered(R),
    /// The client's former socket has not left the namespace yet. The waker is woken when it has.
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

    /// Gives a packet its offset and delivers it; unless it is volatile, it is numbered and kept. The order of the
    /// numbers is the order of delivery, because the lock is held for both; what is delivered is written after it is
    /// released.
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

    /// Lets `enter` put the socket of a new client into the namespace; no packet is published meanwhile, so that it is
    /// known which ones are for the client.
    pub(crate) fn begin<R>(&self, socket: &Sid, enter: impl FnOnce(Identity) -> R) -> R {
        let pid = PrivateId::new(socket);
        let state = self.state.lock();
        let reached = Instant::now();
        enter(Identity { pid, since: state.last, reached, extensions: None, missed: None })
    }

    /// Lets `take_out` take a socket out of the namespace, and keeps what it returns of a socket whose connection broke.
    /// Clients that wait for the socket are woken.
    pub(crate) fn leave<R>(&self, take_out: impl FnOnce() -> (Option<(PrivateId, Option<Left>)>, R)) -> R {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let (left, result) = take_out();
        let Some((pid, left)) = left else { return result };
        for (_, waker) in state.waiting.extract_if(.., |(waited_for, _)| *waited_for == pid) {
            waker.wake();
        }
        let Some(left) = left else { return result };
        // Its handlers may have kept it for a while, so that others who left later stand in the queue already.
        let behind = state.departures.partition_point(|(at, _)| *at <= left.at);
        state.departures.insert(behind, (left.at, pid.clone()));
        state.absent.insert(pid, left);
        self.purge(&mut state, Instant::now(), &mut dropped);
        result
    }

    /// Lets a client take up where it left off, if its CONNECT payload proves that it can, and what it missed has no more
    /// than `space` bytes. `enter` puts its socket back into the namespace; no packet is published meanwhile, so that none
    /// is lost or doubled. `is_present` tells whether the socket with this id and private id is still in the namespace; if
    /// so, `waker` is woken when it has left.
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

    /// Takes an absent client out of the table, and returns what was kept of it and what it missed.
    fn missed(
        &self,
        state: &mut State,
        pid: &PrivateId,
        offset: Option<String>,
        space: usize,
    ) -> Option<(Left, Vec<Frame>)> {
        let left = state.absent.get(pid)?;
        let seen = match &offset {
            // The client does not get what was sent before it first came, whatever offset it names.
            Some(offset) => self.number(offset).filter(|seen| *seen <= state.last)?.max(left.since),
            // The client has never received a numbered packet.
            None => left.since,
        };
        if state.forgotten.is_some_and(|(number, at)| number > seen && at >= left.reached) {
            tracing::debug!("a client is not recovered: packets it may have missed had to go; raise `max_bytes`");
            return None;
        }
        let missed: Vec<Frame> = state
            .log
            .iter()
            .filter(|logged| logged.number > seen && logged.is_for(left))
            .flat_map(|logged| logged.packet.frames().iter().cloned())
            .collect();
        if missed.iter().map(|frame| frame.websocket().len()).sum::<usize>() > space {
            tracing::debug!("a client is not recovered: it missed more than its outbox takes; raise `outbox_bytes`");
            return None;
        }
        Some((state.absent.remove(pid)?, missed))
    }

    /// The offset of the packet with this number.
    fn offset(&self, number: u64) -> String {
        format!("{}{SEPARATOR}{number:x}", self.epoch)
    }

    /// The number of the packet with this offset; none of an offset that this log has not given out.
    fn number(&self, offset: &str) -> Option<u64> {
        let digits = offset.strip_prefix(&*self.epoch)?.strip_prefix(SEPARATOR)?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        (self.offset(number) == offset).then_some(number)
    }

    /// Takes out what is due. Of clients it is left in `dropped`, which is declared before the lock is taken so that it is
    /// dropped after the release: among it are values of the user's, whose `Drop` may emit.
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
            // A client that came back and left again stands further back in the queue too.
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

    /// What is numbered while a client enters would be lost or doubled: it would be missing from what the client missed,
    /// and yet not be delivered to it, or both.
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

    /// The time for which packets are kept is that in which a broken connection is noticed, but for one that is not read
    /// while a handler is at work.
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

    /// A value of the user's that is kept for a client, and whether the lock was held when it was dropped.
    struct Kept {
        recovery: Arc<Recovery>,
        dropped: Arc<Mutex<Vec<bool>>>,
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            self.dropped.lock().push(self.recovery.state.is_locked());
        }
    }

    /// Their `Drop` may emit, which would wait for the lock for ever.
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

    /// What is kept of a socket whose connection has broken now.
    fn left(reached: Instant) -> Left {
        Left { sid: Sid::random(), rooms: Vec::new(), extensions: None, since: 0, reached, at: Instant::now() }
    }
}
