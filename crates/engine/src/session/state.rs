use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use sockeye_protocol::{
    engineio::{Packet, Revision},
    websocket::{CloseCode, Opcode, encode_close},
};
use tokio::{net::tcp::OwnedWriteHalf, sync::oneshot, time::Instant};

use crate::{
    CloseReason, Frame, Handshake, Refusal, Sid, TransportKind,
    engine::Shared,
    metrics::{Received, Traffic},
    outgoing::outbox::{Outbox, SLICES},
    session::batch::write_soon,
    transport::{polling, websocket::WebSocket},
};

/// One client's Engine.IO session. Anybody may send to it and close it, from any thread; its own task does the rest.
pub struct Session {
    id: Sid,
    revision: Revision,
    handshake: Handshake,
    engine: Arc<Shared>,
    received: Received,
    /// Set by whoever closes the session on this side, for its task to see without the lock while it hands messages on.
    is_ending: AtomicBool,
    core: Mutex<Core>,
}

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
        engine: Arc<Shared>,
        base64: bool,
        channel: Channel,
    ) -> Arc<Self> {
        let core = Core {
            outbox: Outbox::default(),
            channel,
            base64,
            stage: Stage::Open,
            scheduled: false,
            held: false,
            inbox: VecDeque::new(),
            driver: None,
            pinged: None,
            answered_ping: None,
            packets_out: 0,
            bytes_out: 0,
        };
        Arc::new(Self {
            id,
            revision,
            handshake,
            engine,
            received: Received::default(),
            is_ending: AtomicBool::new(false),
            core: Mutex::new(core),
        })
    }

    /// The session's identifier, which only its own client may know.
    pub fn id(&self) -> &Sid {
        &self.id
    }

    /// The protocol's revision the client speaks.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The request that opened the session.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// How packets travel at the moment.
    pub fn transport(&self) -> TransportKind {
        match self.core.lock().channel {
            Channel::Polling(_) => TransportKind::Polling,
            Channel::Tcp { .. } | Channel::Stream | Channel::Gone => TransportKind::WebSocket,
        }
    }

    /// Sends one packet that may be shared with other sessions.
    ///
    /// # Errors
    /// If the session is closed, or its outbox is full.
    pub fn send(self: &Arc<Self>, frame: Frame) -> Result<(), SendError> {
        self.log_packet("sent", frame.is_binary(), frame.packet());
        self.enqueue(1, frame.websocket().len(), |core, revision| core.push(frame, revision))
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
        self.enqueue(frames.len() as u64, length, |core, revision| {
            frames.into_iter().for_each(|frame| core.push(frame, revision));
        })
    }

    /// Sends one text packet, its type character included, that is for this session alone; cheaper than
    /// [`send`](Self::send), because small packets share a buffer.
    ///
    /// # Errors
    /// If the session is closed, or its outbox is full.
    pub fn send_text(self: &Arc<Self>, packet: &[u8]) -> Result<(), SendError> {
        self.log_packet("sent", false, packet);
        self.enqueue(1, packet.len(), |core, _| match core.channel {
            Channel::Polling(_) => core.outbox.push(Frame::text(packet)),
            _ => core.outbox.append_text(packet),
        })
    }

    /// Whether the peer would get a packet at once: nothing is stuck before it, and a polling client is asking.
    pub fn is_writable(&self) -> bool {
        let core = self.core.lock();
        core.stage == Stage::Open
            && match &core.channel {
                Channel::Polling(polling) => polling.is_waiting() && core.outbox.is_empty(),
                Channel::Tcp { blocked, .. } => !blocked,
                Channel::Stream => core.outbox.is_empty(),
                Channel::Gone => false,
            }
    }

    /// How many bytes wait in the outbox.
    pub fn buffered_bytes(&self) -> usize {
        self.core.lock().outbox.bytes()
    }

    /// Whether packets are still taken.
    pub fn is_open(&self) -> bool {
        self.core.lock().stage == Stage::Open
    }

    /// When the last ping was sent that the peer has answered; what was sent to it before that has reached it. `None` as
    /// long as it has answered none, and always in revision 3, whose clients ping by themselves.
    pub fn answered_ping(&self) -> Option<Instant> {
        self.core.lock().answered_ping
    }

    /// Closes the session. What was sent before is still delivered, within the close timeout.
    pub fn close(&self) {
        self.close_for(CloseReason::ForcedClose);
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

    /// Whether somebody on this side has closed the session, so that messages that were read already come too late.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.core.lock().close(reason);
    }

    /// Notes that a ping is about to be sent.
    pub(crate) fn pinged(&self, now: Instant) {
        self.core.lock().pinged = Some(now);
    }

    /// Notes that the peer has answered the ping, if there was one.
    pub(crate) fn ponged(&self) {
        let mut core = self.core.lock();
        core.answered_ping = core.pinged.take().or(core.answered_ping);
    }

    /// Logs a packet that has come in the body of a request, if the settings say so.
    pub(crate) fn log_received(&self, packet: &Packet<'_>) {
        if !self.engine.config.log_packets {
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
        if self.engine.config.log_packets {
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

    pub(crate) fn engine(&self) -> &Arc<Shared> {
        &self.engine
    }

    pub(crate) fn core(&self) -> &Mutex<Core> {
        &self.core
    }

    /// Writes what waits, as far as the peer takes it now.
    pub(crate) fn flush(&self) {
        let mut core = self.core.lock();
        if core.held {
            return;
        }
        core.scheduled = false;
        core.flush();
    }

    /// Answers a GET of the polling transport: waits until there is something to say.
    ///
    /// `text_only` asks for a body without bytes, whatever the client could take otherwise.
    pub(crate) async fn poll_payload(self: &Arc<Self>, text_only: bool) -> Result<polling::Payload, Refusal> {
        let mut waiting = polling::WaitingGet::begin(self)?;
        let limit = self.engine.config.max_payload;
        let payload = poll_fn(|cx| self.core.lock().poll_payload(cx, self.revision, text_only, limit)).await;
        waiting.finish();
        if let Ok(polling::Payload { control: Some(packet), .. }) = payload {
            self.log_packet("sent", false, packet);
        }
        payload
    }

    /// Hands the body of a POST to the session's task, and waits until all its packets are handled or are known to be
    /// valid and wait for the handler.
    pub(crate) async fn deliver(&self, body: polling::Body) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        {
            let mut core = self.core.lock();
            if core.stage != Stage::Open || !matches!(core.channel, Channel::Polling(_)) {
                return Err(Refusal::BadRequest("the session does not poll any more"));
            }
            core.inbox.push_back(Delivery::Payload { body, answer: Some(answer) });
            core.wake_driver();
        }
        match answered.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refusal::BadRequest("the payload holds an invalid packet")),
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        packets: u64,
        length: usize,
        push: impl FnOnce(&mut Core, Revision),
    ) -> Result<(), SendError> {
        {
            let mut core = self.core.lock();
            if core.stage != Stage::Open {
                return Err(SendError::Closed);
            }
            if core.outbox.bytes() + length > self.engine.config.outbox_bytes && !core.outbox.is_empty() {
                tracing::warn!(
                    sid = self.id.short(),
                    waiting = core.outbox.bytes(),
                    "disconnecting a slow consumer: its outbox reached the limit `outbox_bytes`"
                );
                core.close(CloseReason::SlowConsumer);
                return Err(SendError::SlowConsumer);
            }
            let before = core.outbox.bytes();
            push(&mut core, self.revision);
            core.packets_out += packets;
            core.bytes_out += (core.outbox.bytes() - before) as u64;
            if std::mem::replace(&mut core.scheduled, true) {
                return Ok(());
            }
        }
        write_soon(self);
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// The part of a session that its task, its senders and its HTTP requests share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) outbox: Outbox,
    pub(crate) channel: Channel,
    pub(crate) stage: Stage,
    /// Whether a client of revision 3 can only take binary messages as base64.
    base64: bool,
    /// Whether a batch or the flusher already knows that there is something to write.
    pub(crate) scheduled: bool,
    /// Whether the session's task holds back what there is to write, because more is about to come.
    pub(crate) held: bool,
    /// What HTTP requests have for the session's task.
    pub(crate) inbox: VecDeque<Delivery>,
    pub(crate) driver: Option<Waker>,
    /// When the ping was sent whose answer is still to come.
    pinged: Option<Instant>,
    /// When the last ping was sent that was answered.
    answered_ping: Option<Instant>,
    packets_out: u64,
    bytes_out: u64,
}

/// Where the outbox goes.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Into the answers of GET requests.
    Polling(Box<polling::Polling>),
    /// Straight into a TCP connection, by whoever sends.
    Tcp { half: OwnedWriteHalf, blocked: bool },
    /// Into a stream that only the session's task may write.
    Stream,
    /// Nowhere: the transport is shut.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    /// Somebody asked for the end; the session's task has yet to act on it.
    Closing(CloseReason),
    /// The handler knows of the end; last packets may still be on their way.
    Farewell(CloseReason),
    /// Nothing will be sent any more.
    Closed(CloseReason),
}

/// What an HTTP request brought for the session's task.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The body of a POST. The answer, unless it was given already, says whether all of it is valid.
    Payload { body: polling::Body, answer: Option<oneshot::Sender<bool>> },
    /// The WebSocket that takes over from polling.
    Upgrade(Box<WebSocket>),
}

impl Core {
    pub(crate) fn close(&mut self, reason: CloseReason) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing(reason);
            self.wake_driver();
        }
    }

    pub(crate) fn wake_driver(&mut self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Moves from polling to a WebSocket. What waits is written to it, in order.
    pub(crate) fn adopt(&mut self, channel: Channel, revision: Revision) {
        let mut waiting = std::mem::take(&mut self.outbox);
        self.channel = channel;
        while let Some(frame) = waiting.pop() {
            self.push(frame, revision);
        }
        self.flush();
    }

    /// Moves on to the last packets: what waits if the end is graceful, and the transport's own word of farewell.
    pub(crate) fn begin_farewell(&mut self, reason: CloseReason, close: Option<(CloseCode, &str)>) {
        // A WebSocket that has just taken over is what the last words go to.
        self.inbox.retain(|delivery| matches!(delivery, Delivery::Upgrade(_)));
        // A connection that a close code is sent on works, and so does what was sent before it.
        if !reason.is_graceful() && close.is_none() && !self.outbox.is_mid_frame() {
            self.outbox.clear();
        }
        self.stage = Stage::Farewell(reason);
        match (&mut self.channel, reason) {
            (Channel::Polling(polling), _) => {
                if !reason.is_graceful() {
                    self.stage = Stage::Closed(reason);
                } else if reason != CloseReason::ServerShuttingDown {
                    self.outbox.push(Frame::text(b"1"));
                }
                polling.wake();
            }
            (_, CloseReason::TransportClose) if close.is_none() => self.shut(),
            _ => self.close_websocket(close),
        }
    }

    /// Adds the WebSocket's own farewell behind everything.
    pub(crate) fn close_websocket(&mut self, close: Option<(CloseCode, &str)>) {
        let mut frame = Vec::new();
        encode_close(&mut frame, close, None);
        self.outbox.push(Frame::control(Opcode::Close, frame.get(2..).unwrap_or_default()));
        self.flush();
    }

    /// Ends a polling session that has received all that was sent before the server shut down; says whether it is one.
    ///
    /// It gets no close packet: python-engineio takes that for the wish that it stay away. Polls that fail make every
    /// client reconnect, as they do after a server was killed.
    pub(crate) fn end_shutdown(&mut self) -> bool {
        let ends = self.stage == Stage::Farewell(CloseReason::ServerShuttingDown) && self.outbox.is_empty();
        if ends {
            self.stage = Stage::Closed(CloseReason::ServerShuttingDown);
            self.wake_driver();
        }
        ends
    }

    /// Keeps a word for the poll of a client that has said farewell by a POST: the two travel side by side, and the
    /// poll may be the later one.
    pub(crate) fn await_last_poll(&mut self) {
        if let (Channel::Polling(polling), Stage::Closed(reason)) = (&self.channel, self.stage)
            && !polling.is_waiting()
        {
            self.outbox.push(Frame::text(b"6"));
            self.stage = Stage::Farewell(reason);
        }
    }

    /// Gives the transport up, whatever still waits.
    pub(crate) fn shut(&mut self) {
        self.outbox.clear();
        self.channel = match std::mem::replace(&mut self.channel, Channel::Gone) {
            polling @ Channel::Polling(_) => polling,
            // Dropping the half shuts the connection's sending side.
            _ => Channel::Gone,
        };
        if let Stage::Farewell(reason) | Stage::Closing(reason) = self.stage {
            self.stage = Stage::Closed(reason);
        }
    }

    /// Ends what is left of a session whose task is no more.
    pub(crate) fn abandon(&mut self) {
        self.inbox.clear();
        self.driver = None;
        if !matches!(self.stage, Stage::Closed(_)) {
            self.stage = Stage::Closing(CloseReason::TransportError);
            self.shut();
        }
        if let Channel::Polling(polling) = &mut self.channel {
            polling.wake();
        }
    }

    pub(crate) fn flush(&mut self) {
        match &mut self.channel {
            Channel::Polling(polling) => polling.wake(),
            Channel::Stream => self.wake_driver(),
            Channel::Tcp { half, blocked } if !*blocked => match write_all(half, &mut self.outbox) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *blocked = true;
                    self.wake_driver();
                }
                Err(_) => {
                    self.outbox.clear();
                    self.close(CloseReason::TransportError);
                }
            },
            Channel::Tcp { .. } | Channel::Gone => {}
        }
    }

    /// Waits for a blocked connection to take bytes again, and writes them.
    pub(crate) fn poll_unblock(&mut self, cx: &mut Context<'_>) {
        while let Channel::Tcp { half, blocked } = &mut self.channel
            && *blocked
        {
            match half.as_ref().poll_write_ready(cx) {
                Poll::Pending => return,
                Poll::Ready(_) => *blocked = false,
            }
            self.flush();
        }
    }

    fn push(&mut self, frame: Frame, revision: Revision) {
        let frame = match revision {
            // Polling's codec adds itself what revision 3 writes before a binary message.
            Revision::V3 if frame.is_binary() && !matches!(self.channel, Channel::Polling(_)) => {
                frame.into_revision_3(self.base64)
            }
            _ => frame,
        };
        self.outbox.push(frame);
    }

    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        revision: Revision,
        text_only: bool,
        limit: usize,
    ) -> Poll<Result<polling::Payload, Refusal>> {
        if matches!(self.channel, Channel::Polling(_)) && self.end_shutdown() {
            return Poll::Ready(Err(Refusal::ShuttingDown));
        }
        let Channel::Polling(polling) = &mut self.channel else {
            // A client that upgrades has let its polls end before, so that this one came too late.
            return Poll::Ready(Err(Refusal::BadRequest("the session has moved to another transport")));
        };
        match self.stage {
            Stage::Closed(CloseReason::ServerShuttingDown) => return Poll::Ready(Err(Refusal::ShuttingDown)),
            Stage::Closed(CloseReason::TransportClose) => return Poll::Ready(Ok(polling::Payload::noop(revision))),
            Stage::Closed(_) => return Poll::Ready(Ok(polling::Payload::close(revision))),
            Stage::Open | Stage::Closing(_) | Stage::Farewell(_) => {}
        }
        if self.outbox.is_empty() {
            return polling.poll_noop(cx).map(|()| Ok(polling::Payload::noop(revision)));
        }
        let (text_only, max_packets) = (text_only || self.base64, polling.max_packets());
        let payload = polling::Payload::drain(&mut self.outbox, revision, text_only, limit, max_packets);
        if let (Stage::Farewell(reason), true) = (self.stage, self.outbox.is_empty()) {
            self.stage = Stage::Closed(reason);
            self.wake_driver();
        }
        Poll::Ready(Ok(payload))
    }
}

fn write_all(half: &OwnedWriteHalf, outbox: &mut Outbox) -> io::Result<()> {
    while !outbox.is_empty() {
        let written = match outbox.only_slice() {
            // Plain sends are cheaper than vectored writes, and one slice is the rule.
            Some(slice) => half.try_write(slice)?,
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = outbox.slices(&mut slices);
                half.try_write_vectored(slices.get(..count).unwrap_or_default())?
            }
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outbox.advance(written);
    }
    Ok(())
}
