//! Connection state recovery: a client that was cut off for a while takes up where it left off.
//!
//! Every packet of the namespace that is not volatile and asks for no acknowledgement gets a number, carries it as its
//! last argument, and is kept for a while. A client that comes back names the last number it has seen.
use std::{collections::VecDeque, sync::Arc, time::Duration};

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
    /// How long a client may have been away, from when its connection was seen to break. One that comes back while a
    /// handler is still at work for it starts anew. Default 2 minutes.
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

/// The identifier that only its own client knows, and proves itself by.
pub(crate) type Pid = Arc<str>;

/// What a socket starts with.
pub(crate) struct Identity {
    pub(crate) pid: Pid,
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

/// What a client that comes back says of itself in its CONNECT payload.
#[derive(Deserialize)]
struct Claim {
    pid: Option<String>,
    offset: Option<String>,
}

/// The packets and the absent clients of one namespace.
pub(crate) struct Recovery {
    config: RecoveryConfig,
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
    absent: HashMap<Pid, Left>,
    /// When the connection of each of the absent broke, oldest first.
    departures: VecDeque<(Instant, Pid)>,
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
        Self { config, keep, state: Mutex::default() }
    }

    pub(crate) fn skips_middleware(&self) -> bool {
        self.config.skip_middleware
    }

    /// Numbers, keeps and delivers a packet. The numbers' order is the order of delivery, because the lock is held for
    /// both; what is delivered is written after it is released.
    pub(crate) fn publish(
        &self,
        target: &Target,
        number: impl FnOnce(&str) -> Result<EncodedPacket, EmitError>,
        deliver: impl FnOnce(&EncodedPacket),
    ) -> Result<(), EmitError> {
        let _batch = Batch::open();
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let next = state.last + 1;
        let packet = number(&format!("{next:x}"))?;
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
    pub(crate) fn begin<R>(&self, enter: impl FnOnce(Identity) -> R) -> R {
        let state = self.state.lock();
        let (pid, reached) = (Sid::random().as_str().into(), Instant::now());
        enter(Identity { pid, since: state.last, reached, extensions: None, missed: None })
    }

    /// Keeps what a socket leaves behind when its connection breaks.
    pub(crate) fn leave(&self, pid: Pid, left: Left) {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        // Its handlers may have kept it for a while, so that others who left later stand in the queue already.
        let behind = state.departures.partition_point(|(at, _)| *at <= left.at);
        state.departures.insert(behind, (left.at, pid.clone()));
        state.absent.insert(pid, left);
        self.purge(&mut state, Instant::now(), &mut dropped);
    }

    /// Lets a client take up where it left off, if its CONNECT payload proves that it can, and what it missed has no more
    /// than `space` bytes. `enter` puts its socket back into the namespace; no packet is published meanwhile, so that none
    /// is lost or doubled.
    pub(crate) fn restore<R>(
        &self,
        auth: Option<&RawValue>,
        space: usize,
        enter: impl FnOnce(Sid, Vec<Arc<str>>, Identity) -> R,
    ) -> Option<R> {
        let claim: Claim = serde_json::from_str(auth?.get()).ok()?;
        let pid: Pid = claim.pid?.into();
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        self.purge(&mut state, Instant::now(), &mut dropped);
        let left = state.absent.get(&pid)?;
        let seen = match &claim.offset {
            // What was sent before the client first came is none of its business, whatever it claims.
            Some(offset) => u64::from_str_radix(offset, 16).ok().filter(|seen| *seen <= state.last)?.max(left.since),
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
        let left = state.absent.remove(&pid)?;
        let Left { sid, rooms, extensions, since, reached, .. } = left;
        let identity = Identity { pid, since, reached, extensions, missed: Some(missed) };
        Some(enter(sid, rooms, identity))
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
        let pid = recovery.begin(|identity| {
            assert!(recovery.state.is_locked(), "a new client enters");
            identity.pid
        });
        recovery.leave(pid.clone(), left(Instant::now()));
        let encode = |offset: &str| {
            assert!(recovery.state.is_locked(), "a packet is numbered");
            EncodedPacket::event(&Parser::default(), "/", None, "x", &offset, false)
        };
        let deliver = |_: &EncodedPacket| assert!(recovery.state.is_locked(), "a packet is delivered");
        recovery.publish(&Target::default(), encode, deliver).unwrap();
        let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": pid.as_ref() })).unwrap();
        let missed = recovery.restore(Some(&auth), usize::MAX, |_, _, identity| {
            assert!(recovery.state.is_locked(), "a client enters again");
            identity.missed.map(|frames| frames.len())
        });
        assert_eq!(missed, Some(Some(1)));
    }

    /// The time for which packets are kept is that in which a broken connection is noticed, but for one that is not read
    /// while a handler is at work.
    #[tokio::test(start_paused = true)]
    async fn however_late_its_end_was_noticed_nobody_is_recovered_without_what_it_may_have_missed() {
        let recovery = Recovery::new(RecoveryConfig::default(), Duration::ZERO);
        let (pid, reached) = recovery.begin(|identity| (identity.pid, identity.reached));
        let encode = |offset: &str| EncodedPacket::event(&Parser::default(), "/", None, "x", &offset, false);
        recovery.publish(&Target::default(), encode, |_| {}).unwrap();
        tokio::time::sleep(recovery.keep * 2).await;
        let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": pid.as_ref() })).unwrap();
        for (reached, recovers) in [(reached, false), (reached + recovery.keep, true)] {
            recovery.leave(pid.clone(), left(reached));
            assert_eq!(recovery.restore(Some(&auth), usize::MAX, |_, _, _| ()).is_some(), recovers);
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
        let leave = |recovery: &Recovery| recovery.leave("another".into(), left(Instant::now()));
        let restore = |recovery: &Recovery| {
            let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": "one" })).unwrap();
            assert!(recovery.restore(Some(&auth), usize::MAX, |_, _, _| ()).is_none());
        };
        for next in [&publish as &dyn Fn(&Recovery), &leave, &restore] {
            let dropped = Arc::new(Mutex::new(Vec::new()));
            let mut values = Values::default();
            values.insert(Kept { recovery: recovery.clone(), dropped: dropped.clone() });
            recovery.leave("one".into(), Left { extensions: Some(Box::new(values)), ..left(Instant::now()) });
            tokio::time::sleep(recovery.config.max_disconnection * 2).await;
            next(&recovery);
            assert_eq!(*dropped.lock(), [false]);
        }
    }

    /// What is kept of a socket whose connection has broken now.
    fn left(reached: Instant) -> Left {
        Left { sid: Sid::random(), rooms: Vec::new(), extensions: None, since: 0, reached, at: Instant::now() }
    }
}
