use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use parking_lot::Mutex;
use sockeye_protocol::{
    engineio::{
        Packet, Revision,
        session::{self, CloseReason, Role, Timing, TransportKind},
    },
    websocket::CloseCode,
};
use tokio::time::Instant;

use crate::{
    Frame, Handshake, Sid,
    counters::{Received, Traffic},
    log_throttle::log_limit,
    memory::{SESSION, STEP},
    session::{
        backpressure::{CONGESTED, HELD},
        batch::flush_soon,
        context::Context,
        core::{Core, Settled},
        flusher::{Flush, Flusher},
        turn::{Sender, SessionAddress, runs, sender_to},
    },
    transport::channel::Channel,
};

/// One client's Engine.IO session. Anybody may send to it and close it, from any thread; its own task does the rest.
pub struct Session {
    id: Sid,
    revision: Revision,
    handshake: Handshake,
    context: Arc<Context>,
    received: Received,
    /// A copy of whether the session is closed, for its task to see without the lock while it hands messages on.
    is_ending: AtomicBool,
    /// Whether so much waits for the peer that the session is not read, likewise.
    is_congested: AtomicBool,
    core: Mutex<Core>,
}

/// While this many bytes wait for a peer, every further packet checks `max_memory`.
const MANY: usize = 64 * 1024;

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed, or closing.
    #[error("the session is closed, so nothing more can be sent to it")]
    Closed,
    /// The outbox is full; the session is being closed as a slow consumer.
    #[error(
        "the peer reads too slowly and its outbox is full, so it is being disconnected; raise `outbox_bytes` or send less"
    )]
    SlowConsumer,
}

impl Session {
    pub(crate) fn new(
        id: Sid,
        revision: Revision,
        handshake: Handshake,
        context: Arc<Context>,
        base64: bool,
        channel: Channel,
    ) -> Arc<Self> {
        let config = &context.config;
        let timing = Timing::new(config.ping_interval, config.ping_timeout)
            .upgrade_timeout(config.upgrade_timeout)
            .close_timeout(config.close_timeout);
        let transport = match channel {
            Channel::Polling(_) => TransportKind::Polling,
            Channel::Tcp { .. } | Channel::Stream | Channel::Shut => TransportKind::WebSocket,
        };
        let state = session::Session::new(Role::Server, revision, transport, timing, Instant::now().into_std());
        let core = Core::new(state, channel, revision, base64);
        Arc::new(Self {
            id,
            revision,
            handshake,
            context,
            received: Received::default(),
            is_ending: AtomicBool::new(false),
            is_congested: AtomicBool::new(false),
            core: Mutex::new(core),
        })
    }

    /// The session's identifier, which only its own client may know.
    #[inline]
    pub fn id(&self) -> &Sid {
        &self.id
    }

    /// The protocol's revision the client speaks.
    #[inline]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The request that opened the session.
    #[inline]
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// How packets travel at the moment.
    pub fn transport(&self) -> TransportKind {
        self.core.lock().state.transport()
    }

    /// Sends one packet that may be shared with other sessions.
    ///
    /// # Errors
    /// If the session is closed, or its outbox is full.
    pub fn send(self: &Arc<Self>, frame: Frame) -> Result<(), SendError> {
        self.log_packet("sent", frame.is_binary(), frame.packet());
        self.enqueue(frame.memory(), |core| {
            core.push(frame);
            1
        })
    }

    /// Sends several packets with nothing between them.
    ///
    /// # Errors
    /// If the session is closed, or its outbox is full; then none of them is sent.
    pub fn send_all(self: &Arc<Self>, frames: impl IntoIterator<Item = Frame>) -> Result<(), SendError> {
        let frames: Vec<Frame> = frames.into_iter().collect();
        if frames.is_empty() {
            return Ok(());
        }
        frames.iter().for_each(|frame| self.log_packet("sent", frame.is_binary(), frame.packet()));
        let memory = frames.iter().map(Frame::memory).sum();
        self.enqueue(memory, |core| frames.into_iter().map(|frame| core.push(frame)).count())
    }

    /// Sends one text packet, its type character included, that is for this session alone; cheaper than
    /// [`send`](Self::send), because small packets share a buffer.
    ///
    /// # Errors
    /// If the session is closed, or its outbox is full.
    pub fn send_text(self: &Arc<Self>, packet: &[u8]) -> Result<(), SendError> {
        self.log_packet("sent", false, packet);
        self.enqueue(packet.len(), |core| {
            match core.channel {
                Channel::Polling(_) => core.outbox.push(Frame::text(packet)),
                _ => core.outbox.append_text(packet),
            }
            1
        })
    }

    /// Answers a ping of the WebSocket. Of many answers that wait, the newest are sent.
    pub(crate) fn send_pong(self: &Arc<Self>, payload: &[u8]) {
        // A session that is closed answers no ping.
        let _closed = self.enqueue(payload.len(), |core| core.outbox.append_pong(payload).into());
    }

    /// Waits until little waits for the peer: a sender that awaits this between packets sends as fast as the peer reads,
    /// and never makes it a slow consumer.
    ///
    /// # Errors
    /// If the session is closed.
    pub async fn ready(&self) -> Result<(), SendError> {
        poll_fn(|cx| {
            let mut core = self.core.lock();
            if !core.state.is_open() {
                return Poll::Ready(Err(SendError::Closed));
            }
            if !self.is_congested() {
                return Poll::Ready(Ok(()));
            }
            core.backpressure.get_or_insert_default().wake_later(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Whether the peer would get a packet at once: nothing is stuck before it, and a polling client is asking.
    pub fn is_writable(&self) -> bool {
        let core = self.core.lock();
        core.state.is_writable()
            && match &core.channel {
                Channel::Tcp { blocked, .. } => !blocked,
                Channel::Polling(_) | Channel::Stream => core.outbox.is_empty(),
                Channel::Shut => false,
            }
    }

    /// How many bytes wait in the outbox.
    pub fn buffered_bytes(&self) -> usize {
        self.core.lock().outbox.bytes()
    }

    /// Whether packets are still taken.
    pub fn is_open(&self) -> bool {
        self.core.lock().state.is_open()
    }

    /// When the last ping was sent that the peer has answered; what was sent to it before that has reached it. `None` as
    /// long as it has answered none, and always in revision 3, whose clients ping by themselves.
    pub fn answered_ping(&self) -> Option<Instant> {
        self.core.lock().state.answered_ping().map(Instant::from_std)
    }

    /// Closes the session. What was sent before is still delivered, within the close timeout.
    pub fn close(&self) {
        self.close_for(CloseReason::ForcedClose);
    }

    /// Closes the session because its client broke a rule of the application. A WebSocket's Close frame says so: code 1008
    /// (policy violation), and the first 123 bytes of `fault`. Polling has no room for it.
    pub fn close_for_fault(&self, fault: &str) {
        let now = Instant::now().into_std();
        self.update_with(fault, |core| core.state.close_with(CloseReason::ForcedClose, CloseCode::POLICY, now));
    }

    /// Has the session's task call its handler's [`poll`](crate::SessionHandler::poll).
    pub fn wake(&self) {
        self.core.lock().wake_driver();
    }

    /// What was received and sent so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let (packets_in, bytes_in) = self.received.counts();
        let core = self.core.lock();
        Traffic { packets_in, bytes_in, packets_out: core.packets_out, bytes_out: core.bytes_out }
    }

    pub(crate) fn received(&self) -> &Received {
        &self.received
    }

    /// Whether the session is closed, so that messages that were read already come too late.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Whether the session's own task runs on this thread: whether it is a handler of this session that asks.
    pub fn runs_here(&self) -> bool {
        runs(self.address())
    }

    /// The session's address, by which its turns are known.
    pub(crate) fn address(&self) -> SessionAddress {
        std::ptr::from_ref(self).addr()
    }

    /// Whether so much waits for the peer that nothing more is read from it.
    pub(crate) fn is_congested(&self) -> bool {
        self.is_congested.load(Ordering::Relaxed)
    }

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.update(|core| core.state.close(reason, Instant::now().into_std()));
    }

    /// Closes the session because it holds most of what is held against `max_memory`, and frees what waits for the peer.
    pub(crate) fn close_for_memory(&self) {
        let mut core = self.core.lock();
        self.close_core_for_memory(&mut core);
    }

    fn close_core_for_memory(&self, core: &mut Core) {
        let context = &self.context;
        context.counters.closed_for_memory.increment();
        let why = "closed the connection for which most was held";
        log_limit(self.id.short(), "max_memory", context.config.max_memory, why);
        core.retain_deliveries(|_| false);
        if core.outbox.is_mid_frame() {
            // The peer could not tell a Close frame from the rest of the frame that it is taking.
            core.break_off();
        } else {
            core.outbox.clear();
            core.state.close_with(CloseReason::ForcedClose, CloseCode::TRY_AGAIN_LATER, Instant::now().into_std());
        }
        self.settle(core, "the server is short of memory, and holds most of it for this connection");
    }

    /// How many bytes are held for the session. A frame counts for each session that it waits for.
    pub(crate) fn memory(&self) -> usize {
        let core = self.core.lock();
        SESSION + core.outbox.memory() + core.held_input()
    }

    /// Whether the session holds more than its share while memory is short, so that nothing more is read from its peer.
    pub(crate) fn is_starved(&self) -> bool {
        let memory = &self.context.memory;
        memory.is_tight() && self.memory() > memory.fair_share().max(2 * SESSION)
    }

    /// Counts and logs that the peer is not read for want of memory.
    pub(crate) fn note_starved(&self) {
        self.context.counters.starved.increment();
        let why = "does not read a client for which much is held, until memory is free";
        log_limit(self.id.short(), "max_memory", self.context.config.max_memory, why);
    }

    /// Ends what is left of a session whose task is gone.
    pub(crate) fn abandon(&self) {
        self.update(|core| {
            core.retain_deliveries(|_| false);
            core.outbox.clear();
            core.input = 0;
            core.driver = None;
            core.state.abandon(Instant::now().into_std());
        });
    }

    /// Changes the session under its lock, and does what its state then asks for.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Core) -> R) -> R {
        self.update_with("", change).0
    }

    /// [`update`](Self::update) with the content of the pong, or the text of the Close frame, that the change may ask for.
    pub(crate) fn update_with<R>(&self, data: &str, change: impl FnOnce(&mut Core) -> R) -> (R, Settled) {
        let mut core = self.core.lock();
        let result = change(&mut core);
        let settled = self.settle(&mut core, data);
        (result, settled)
    }

    /// Does what the session's state asks for, and notes what has become of the session.
    pub(crate) fn settle(&self, core: &mut Core, data: &str) -> Settled {
        let settled = core.settle(data);
        if !core.state.is_open() {
            self.is_ending.store(true, Ordering::Relaxed);
        }
        self.note_congestion(core);
        self.charge(core);
        if let Some(control) = settled.control {
            self.log_packet("sent", false, control);
        }
        settled
    }

    /// Logs a packet that has come in the body of a request, if the settings say so.
    pub(crate) fn log_received(&self, packet: &Packet<'_>) {
        if !self.context.config.log_packets {
            return;
        }
        if let Packet::Binary(data) = packet {
            return self.log_packet("received", true, data);
        }
        let mut text = Vec::new();
        packet.encode_text(self.revision, &mut text);
        self.log_packet("received", false, &text);
    }

    /// Logs a packet, if the settings say so.
    pub(crate) fn log_packet(&self, direction: &'static str, binary: bool, packet: &[u8]) {
        if self.context.config.log_packets {
            let kind = match packet.first() {
                _ if binary => "binary",
                Some(b'0') => "open",
                Some(b'1') => "close",
                Some(b'2') => "ping",
                Some(b'3') => "pong",
                Some(b'4') => "message",
                Some(b'5') => "upgrade",
                Some(b'6') => "noop",
                _ => "unknown",
            };
            tracing::info!(target: "sockeye::packets", sid = self.id.short(), kind, bytes = packet.len(), "{direction}");
        }
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn core(&self) -> &Mutex<Core> {
        &self.core
    }

    /// Adds packets that take so much memory to the outbox. `push` returns how many.
    ///
    /// What waits is written before the limit judges. What the session's own task sends is judged by `max_memory` alone: it
    /// holds up the reading of the session instead.
    fn enqueue(self: &Arc<Self>, memory: usize, push: impl FnOnce(&mut Core) -> usize) -> Result<(), SendError> {
        let sender = sender_to(self.address());
        {
            let mut core = self.core.lock();
            if !core.state.is_open() {
                return Err(SendError::Closed);
            }
            let waiting = core.outbox.memory();
            if waiting > 0 {
                self.make_room(&mut core, sender, waiting, memory)?;
            }
            let before = core.outbox.bytes();
            core.packets_out += push(&mut core) as u64;
            core.bytes_out += core.outbox.bytes().saturating_sub(before) as u64;
            self.note_congestion(&mut core);
            if core.outbox.memory() >= STEP {
                self.charge(&mut core);
            }
            // What its own task sends, the task writes at the end of its turn.
            if sender == Sender::Own || std::mem::replace(&mut core.scheduled, true) {
                return Ok(());
            }
        }
        flush_soon(self);
        Ok(())
    }

    /// Judges whether so much more may wait for the peer, behind what is `waiting`.
    fn make_room(
        self: &Arc<Self>,
        core: &mut Core,
        sender: Sender,
        waiting: usize,
        memory: usize,
    ) -> Result<(), SendError> {
        let memory_of_all = &self.context.memory;
        if waiting >= MANY && memory_of_all.is_exhausted() && waiting > memory_of_all.fair_share() {
            self.close_core_for_memory(core);
            return Err(SendError::SlowConsumer);
        }
        let limit = self.context.config.outbox_bytes;
        let written_beyond = match sender {
            Sender::Own => HELD.min(limit),
            Sender::Other => limit,
        };
        if waiting + memory <= written_beyond {
            return Ok(());
        }
        core.write();
        self.settle(core, "");
        match sender {
            _ if !core.state.is_open() => Err(SendError::Closed),
            Sender::Own => Ok(()),
            Sender::Other => self.judge(core, memory),
        }
    }

    /// Closes the session as a slow consumer if what waits and so much more exceeds the limit.
    fn judge(&self, core: &mut Core, memory: usize) -> Result<(), SendError> {
        let mut limit = self.context.config.outbox_bytes;
        if core.takes_bytes() {
            // Another task is about to write it.
            limit = limit.saturating_mul(2);
        }
        if core.outbox.memory() + memory <= limit || core.outbox.is_empty() {
            return Ok(());
        }
        let limit = self.context.config.outbox_bytes;
        self.close_slow(core, "outbox_bytes", limit, "disconnected a slow consumer whose outbox was full");
        self.settle(core, "");
        Err(SendError::SlowConsumer)
    }

    /// Closes the session because its peer takes too little of what it is sent.
    pub(crate) fn close_slow(
        &self,
        core: &mut Core,
        setting: &'static str,
        limit: impl fmt::Display,
        why: &'static str,
    ) {
        log_limit(self.id.short(), setting, limit, why);
        core.state.close(CloseReason::SlowConsumer, Instant::now().into_std());
    }

    /// Charges what the session holds. Frames are charged by themselves, but only here it is seen that they are many.
    fn charge(&self, core: &mut Core) {
        let memory = &self.context.memory;
        core.charge.adjust(core.outbox.own_memory() + core.held_input(), memory);
        if core.outbox.memory() >= MANY {
            memory.check();
        }
    }

    /// Notes whether too much waits for the peer, and wakes who waits for the end of that.
    fn note_congestion(&self, core: &mut Core) {
        let congested =
            core.outbox.memory() > CONGESTED.min(self.context.config.outbox_bytes / 2) && core.state.is_open();
        if congested == self.is_congested() {
            return;
        }
        self.is_congested.store(congested, Ordering::Relaxed);
        if congested {
            if let Channel::Polling(_) = core.channel {
                core.note_shut(false);
            }
            return;
        }
        if let Some(backpressure) = &mut core.backpressure {
            backpressure.wake();
        }
        if let Channel::Polling(_) = core.channel {
            core.note_open();
        }
        core.wake_driver();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Flush for Session {
    fn flush(&self) {
        self.update(|core| {
            if !core.held {
                core.scheduled = false;
                core.write();
            }
        });
    }

    fn flusher(&self) -> &Arc<Flusher> {
        &self.context.flusher
    }
}
