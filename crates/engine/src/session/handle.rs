use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    session::{
        batch::flush_soon,
        context::Context,
        core::{Core, Settled},
        flusher::{Flush, Flusher},
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
    core: Mutex<Core>,
}

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
        self.enqueue(1, frame.websocket().len(), |core| core.push(frame))
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
        let length = frames.iter().map(|frame| frame.websocket().len()).sum();
        self.enqueue(frames.len() as u64, length, |core| frames.into_iter().for_each(|frame| core.push(frame)))
    }

    /// Sends one text packet, its type character included, that is for this session alone; cheaper than
    /// [`send`](Self::send), because small packets share a buffer.
    ///
    /// # Errors
    /// If the session is closed, or its outbox is full.
    pub fn send_text(self: &Arc<Self>, packet: &[u8]) -> Result<(), SendError> {
        self.log_packet("sent", false, packet);
        self.enqueue(1, packet.len(), |core| match core.channel {
            Channel::Polling(_) => core.outbox.push(Frame::text(packet)),
            _ => core.outbox.append_text(packet),
        })
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

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.update(|core| core.state.close(reason, Instant::now().into_std()));
    }

    /// Ends what is left of a session whose task is gone.
    pub(crate) fn abandon(&self) {
        self.update(|core| {
            core.inbox.clear();
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

    fn settle(&self, core: &mut Core, data: &str) -> Settled {
        let settled = core.settle(data);
        if !core.state.is_open() {
            self.is_ending.store(true, Ordering::Relaxed);
        }
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

    fn enqueue(self: &Arc<Self>, packets: u64, length: usize, push: impl FnOnce(&mut Core)) -> Result<(), SendError> {
        {
            let mut core = self.core.lock();
            if !core.state.is_open() {
                return Err(SendError::Closed);
            }
            if core.outbox.bytes() + length > self.context.config.outbox_bytes && !core.outbox.is_empty() {
                let limit = self.context.config.outbox_bytes;
                log_limit(self.id.short(), "outbox_bytes", limit, "disconnected a slow consumer whose outbox was full");
                core.state.close(CloseReason::SlowConsumer, Instant::now().into_std());
                self.settle(&mut core, "");
                return Err(SendError::SlowConsumer);
            }
            let before = core.outbox.bytes();
            push(&mut core);
            core.packets_out += packets;
            core.bytes_out += (core.outbox.bytes() - before) as u64;
            if std::mem::replace(&mut core.scheduled, true) {
                return Ok(());
            }
        }
        flush_soon(self);
        Ok(())
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
