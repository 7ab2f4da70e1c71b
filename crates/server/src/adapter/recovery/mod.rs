//! Connection state recovery: a client that reconnects after a short disconnection gets back its socket id, its rooms
//! and its values, and receives the events it missed.
//!
//! Every event of the namespace that asks for no acknowledgement carries an offset as its last argument. The offset
//! consists of the epoch of the namespace's log and a number. An event that is not volatile gets the next number, and
//! the log keeps it for a while. A volatile event repeats the last number. A client that reconnects sends the last
//! offset it has received. The official clients take the last argument of every such event for the offset if it is a
//! string; therefore every such event has one.
mod config;
mod log;
mod private_id;

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
pub use config::RecoveryConfig;
use log::Log;
pub(crate) use private_id::PrivateId;

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

/// The part of a client's CONNECT payload that asks for recovery.
#[derive(Deserialize)]
struct Claim {
    pid: Option<String>,
    offset: Option<String>,
}

/// The packets that one namespace keeps, and its disconnected clients.
pub(crate) struct Recovery {
    config: RecoveryConfig,
    state: Mutex<State>,
}

struct State {
    log: Log,
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

impl Recovery {
    pub(crate) fn new(config: RecoveryConfig, noticed_after: Duration) -> Self {
        let log = Log::new(config.max_bytes, config.max_disconnection.saturating_add(noticed_after));
        let state = State { log, absent: HashMap::new(), departures: VecDeque::new(), waiting: Vec::new() };
        Self { config, state: Mutex::new(state) }
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
            deliver(&add_offset(&state.log.last_offset())?);
            return Ok(());
        }
        let packet = add_offset(&state.log.next_offset())?;
        let now = Instant::now();
        deliver(state.log.append(packet, target.clone(), now));
        self.purge(&mut state, now, &mut dropped);
        Ok(())
    }

    /// Calls `enter`, which adds the socket of a new client to the namespace. No packet is published meanwhile: every
    /// packet is published either before the client enters or after.
    pub(crate) fn begin<R>(&self, socket: &Sid, enter: impl FnOnce(Identity) -> R) -> R {
        let pid = PrivateId::new(socket);
        let state = self.state.lock();
        let reached = Instant::now();
        enter(Identity { pid, since: state.log.last(), reached, extensions: None, missed: None })
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
        let pid = PrivateId::from(pid);
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
            Some(offset) => state.log.number(offset)?.max(left.since),
            // The client has never received a numbered packet.
            None => left.since,
        };
        if state.log.has_dropped(seen, left.reached) {
            tracing::debug!(
                "did not recover a client: it may have missed packets that the log has dropped; raise `max_bytes`"
            );
            return None;
        }
        let missed = state.log.after(seen, &left.rooms);
        if missed.iter().map(|frame| frame.websocket().len()).sum::<usize>() > space {
            tracing::debug!(
                "did not recover a client: it missed more bytes than its outbox takes; raise `outbox_bytes`"
            );
            return None;
        }
        Some((state.absent.remove(pid)?, missed))
    }

    /// Removes the packets and the clients that exceed the limits. It moves the clients to `dropped`. The caller
    /// declares `dropped` before it takes the lock, so that the clients' values are dropped after the lock is released:
    /// their `Drop` is user code, which may emit.
    fn purge(&self, state: &mut State, now: Instant, dropped: &mut Vec<Left>) {
        state.log.purge(now);
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

    /// Packets are kept for the time it takes to notice a broken connection. Noticing takes longer if a busy handler
    /// keeps the connection from being read.
    #[tokio::test(start_paused = true)]
    async fn a_client_whose_end_was_noticed_late_is_recovered_only_with_every_packet_it_may_have_missed() {
        let recovery = Recovery::new(RecoveryConfig::default(), Duration::ZERO);
        let keep = recovery.config.max_disconnection;
        let (pid, reached) = recovery.begin(&Sid::random(), |identity| (identity.pid, identity.reached));
        let encode = |offset: &str| EncodedPacket::event(&Parser::default(), "/", None, "x", &offset, false);
        recovery.publish(&Target::default(), encode, |_| {}).unwrap();
        tokio::time::sleep(keep * 2).await;
        let auth = serde_json::value::to_raw_value(&serde_json::json!({ "pid": pid.as_str() })).unwrap();
        for (reached, recovers) in [(reached, false), (reached + keep, true)] {
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
    async fn values_of_forgotten_clients_are_dropped_after_the_lock_is_released() {
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
        recovery.leave(|| (Some((PrivateId::from(pid.to_owned()), Some(left))), ()));
    }

    /// The state of a socket whose connection broke just now.
    fn left(reached: Instant) -> Left {
        Left { sid: Sid::random(), rooms: Vec::new(), extensions: None, since: 0, reached, at: Instant::now() }
    }
}
