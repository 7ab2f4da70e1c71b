use std::{
    collections::VecDeque,
    io,
    task::{Context, Waker},
    time::Duration,
};

use sockeye_protocol::{
    engineio::{
        Revision,
        session::{self, CloseReason, Transmit, TransportKind},
    },
    websocket::{Opcode, encode_close},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Frame,
    memory::Charge,
    outgoing::outbox::Outbox,
    session::backpressure::Backpressure,
    transport::{
        channel::{Channel, write_all},
        payload,
        websocket::WebSocket,
    },
};

/// The part of a session that its task, its senders and its HTTP requests share, behind the session's lock.
///
/// `state` decides what happens; everything here carries that out.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: session::Session,
    pub(crate) outbox: Outbox,
    pub(crate) channel: Channel,
    revision: Revision,
    /// Whether a client of revision 3 can only take binary messages as base64.
    pub(crate) base64: bool,
    /// Whether a batch or the flusher already knows that there is something to write.
    pub(crate) scheduled: bool,
    /// Whether the session's task holds back what there is to write, because more is about to come.
    pub(crate) held: bool,
    /// What HTTP requests have for the session's task.
    #[expect(clippy::box_collection, reason = "most sessions have none, and a pointer is smaller")]
    inbox: Option<Box<VecDeque<Delivery>>>,
    /// The session's task.
    pub(crate) driver: Option<Waker>,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    /// Exists while the peer takes less than it is sent.
    pub(crate) backpressure: Option<Box<Backpressure>>,
    /// How many bytes the session's task holds: incomplete messages, and what its handler holds.
    pub(crate) input: usize,
    pub(crate) charge: Charge,
}

/// What an HTTP request brought for the session's task.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The body of a POST. The answer, unless it was given already, says whether all of it is valid.
    Payload { body: payload::Body, answer: Option<oneshot::Sender<bool>> },
    /// The WebSocket that takes over from polling.
    Upgrade(Box<WebSocket>),
}

impl Delivery {
    fn memory(&self) -> usize {
        match self {
            Self::Payload { body, .. } => body.memory(),
            Self::Upgrade(websocket) => websocket.memory(),
        }
    }
}

/// What the session's state asked for besides what was done at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// `3probe` is to be sent on the WebSocket that wants to take over.
    pub(crate) answers_probe: bool,
    /// A control packet was added to the outbox, for the log.
    pub(crate) control: Option<&'static [u8]>,
}

impl Core {
    pub(crate) fn new(state: session::Session, channel: Channel, revision: Revision, base64: bool) -> Self {
        Self {
            state,
            outbox: Outbox::default(),
            channel,
            revision,
            base64,
            scheduled: false,
            held: false,
            inbox: None,
            driver: None,
            packets_out: 0,
            bytes_out: 0,
            backpressure: None,
            input: 0,
            charge: Charge::default(),
        }
    }

    pub(crate) fn wake_driver(&mut self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Notes which task is to be woken. A task that is polled with another waker than before is woken once more, because it
    /// may have missed something.
    pub(crate) fn note_driver(&mut self, waker: &Waker) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            self.driver = Some(waker.clone());
            self.wake_driver();
        }
    }

    /// Has the session's task handle what a request has brought, behind what waits already.
    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        self.inbox.get_or_insert_default().push_back(delivery);
        self.wake_driver();
    }

    /// Puts back what the task has not finished.
    pub(crate) fn put_back(&mut self, delivery: Delivery) {
        self.inbox.get_or_insert_default().push_front(delivery);
    }

    /// Takes what requests have brought first. An empty inbox owns no memory.
    pub(crate) fn take_delivery(&mut self) -> Option<Delivery> {
        let delivery = self.inbox.as_mut()?.pop_front();
        self.inbox.take_if(|inbox| inbox.is_empty());
        delivery
    }

    /// Drops what requests have brought, but for what is to be kept.
    pub(crate) fn retain_deliveries(&mut self, keep: impl Fn(&Delivery) -> bool) {
        if let Some(inbox) = &mut self.inbox {
            inbox.retain(keep);
        }
        self.inbox.take_if(|inbox| inbox.is_empty());
    }

    /// How many bytes of what has come from the peer are held.
    pub(crate) fn held_input(&self) -> usize {
        let posted = if let Channel::Polling(polling) = &self.channel { polling.posted } else { 0 };
        let waiting = self.inbox.as_ref().map_or(0, |inbox| inbox.iter().map(Delivery::memory).sum());
        self.input + posted + waiting
    }

    /// Adds a frame to the outbox, in the form in which the client's transport and revision need it.
    pub(crate) fn push(&mut self, frame: Frame) {
        let frame = match self.revision {
            // Polling's codec adds itself what revision 3 writes before a binary message.
            Revision::V3 if frame.is_binary() && !matches!(self.channel, Channel::Polling(_)) => {
                frame.into_revision_3(self.base64)
            }
            _ => frame,
        };
        self.outbox.push(frame);
    }

    /// Does what the session's state asks for. It is called after everything that may change the state, before the lock
    /// is let go. `data` is the content of a pong or the text of a Close frame, if the change asks for one.
    pub(crate) fn settle(&mut self, data: &str) -> Settled {
        let mut settled = Settled::default();
        loop {
            let mut writes = false;
            while let Some(transmit) = self.state.poll_transmit() {
                match transmit {
                    Transmit::DropProbe => self.wake_probe(),
                    Transmit::ProbeAnswer => settled.answers_probe = true,
                    Transmit::Ping => {
                        self.push_control(PING.with(Frame::clone), &mut settled);
                        writes = true;
                    }
                    Transmit::Pong => {
                        self.push_control(Frame::text(format!("3{data}").as_bytes()), &mut settled);
                        settled.control = Some(b"3");
                        writes = true;
                    }
                    // What the peer has of a frame it must get whole.
                    Transmit::Discard if self.outbox.is_mid_frame() => {}
                    Transmit::Discard => self.outbox.clear(),
                    Transmit::ClosePacket => {
                        self.outbox.push(Frame::text(b"1"));
                        writes = true;
                    }
                    Transmit::CloseFrame(code) => {
                        let mut frame = Vec::new();
                        encode_close(&mut frame, code.map(|code| (code, data)), None);
                        self.outbox.push(Frame::control(Opcode::Close, frame.get(2..).unwrap_or_default()));
                        writes = true;
                    }
                    Transmit::Shut => {
                        let channel = std::mem::replace(&mut self.channel, Channel::Shut);
                        // Dropping the half shuts the connection's sending side. At the end of the session, the whole
                        // connection is about to be closed, which does so, too.
                        if let (Channel::Tcp { half, .. }, true) = (channel, self.state.has_ended()) {
                            half.forget();
                        }
                    }
                    // A server sends neither.
                    Transmit::Probe | Transmit::Upgrade => {}
                }
            }
            if !writes {
                break;
            }
            self.write();
        }
        if self.state.has_events() {
            self.wake_driver();
        }
        if let (Channel::Polling(polling), false) = (&mut self.channel, self.state.is_open()) {
            polling.wake_get();
            polling.wake_post();
        }
        settled
    }

    /// Writes what waits, as far as the peer takes it now. To be followed by [`settle`](Self::settle).
    pub(crate) fn write(&mut self) {
        match &mut self.channel {
            Channel::Polling(polling) => return polling.wake_get(),
            Channel::Stream => return self.wake_driver(),
            Channel::Tcp { half, blocked } if !*blocked => {
                let before = self.outbox.bytes();
                match write_all(half, &mut self.outbox) {
                    Ok(()) => self.note_open(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        *blocked = true;
                        let progress = self.outbox.bytes() < before;
                        self.note_shut(progress);
                        self.wake_driver();
                    }
                    Err(_) => self.break_off(),
                }
            }
            Channel::Tcp { .. } | Channel::Shut => {}
        }
        self.note_flushed();
    }

    /// Writes what the session's task has sent in its turn; a stream it writes itself at the end of the turn.
    pub(crate) fn write_as_sender(&mut self) {
        if !matches!(self.channel, Channel::Stream) {
            self.write();
        }
    }

    /// Whether the peer takes what it is sent, as far as is known.
    pub(crate) fn takes_bytes(&self) -> bool {
        match self.channel {
            Channel::Tcp { blocked, .. } => !blocked,
            Channel::Polling(_) => self.state.is_writable(),
            Channel::Stream => self.backpressure.as_ref().is_none_or(|backpressure| !backpressure.is_shut()),
            Channel::Shut => false,
        }
    }

    /// The peer takes nothing more at present. `progress` says whether it has taken something since it was last asked.
    pub(crate) fn note_shut(&mut self, progress: bool) {
        self.backpressure.get_or_insert_default().note_shut(progress);
    }

    /// The peer has taken all it was sent.
    pub(crate) fn note_open(&mut self) {
        if let Some(backpressure) = &mut self.backpressure {
            backpressure.note_open();
            self.backpressure.take_if(|backpressure| backpressure.is_over());
        }
    }

    /// When the peer is a slow consumer unless it takes something before.
    pub(crate) fn slow_at(&self, timeout: Duration) -> Option<Instant> {
        self.backpressure.as_ref()?.deadline(timeout).filter(|_| self.state.is_open())
    }

    /// Waits for a blocked connection to take bytes again, and writes them.
    pub(crate) fn poll_unblock(&mut self, cx: &mut Context<'_>) {
        while self.channel.poll_unblock(cx).is_ready() {
            self.write();
        }
    }

    /// The WebSocket takes no bytes any more.
    pub(crate) fn break_off(&mut self) {
        self.outbox.clear();
        self.state.handle_websocket_lost(CloseReason::TransportError, Instant::now().into_std());
    }

    /// Tells the state of a closed session when everything is written.
    pub(crate) fn note_flushed(&mut self) {
        if self.outbox.is_empty() && !self.state.is_open() {
            self.state.handle_flushed();
        }
    }

    /// Moves to the WebSocket that has taken over. What waits is written to it, in order.
    pub(crate) fn adopt(&mut self, channel: Channel) {
        let mut waiting = std::mem::take(&mut self.outbox);
        if let Channel::Polling(mut polling) = std::mem::replace(&mut self.channel, channel) {
            // A client that polls on while it upgrades finds its poll ended.
            polling.wake_get();
        }
        while let Some(frame) = waiting.pop() {
            self.push(frame);
        }
        self.write();
    }

    /// Whether packets still travel in requests, so that a body that has come is handled.
    pub(crate) fn takes_payloads(&self) -> bool {
        self.state.is_open() && self.state.transport() == TransportKind::Polling
    }

    fn push_control(&mut self, frame: Frame, settled: &mut Settled) {
        self.packets_out += 1;
        self.bytes_out += frame.websocket().len() as u64;
        settled.control = Some(b"2");
        self.outbox.push(frame);
    }

    fn wake_probe(&mut self) {
        if let Channel::Polling(polling) = &mut self.channel
            && let Some(probe) = polling.probe.take()
        {
            probe.wake();
        }
    }
}

thread_local! {
    static PING: Frame = Frame::text(b"2");
}
