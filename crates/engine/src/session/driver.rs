use std::{
    future::Future,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use sockeye_protocol::{
    engineio::session::{CloseReason, Event, TransportKind},
    websocket::CloseCode,
};
use tokio::time::Instant;

use crate::{
    Batch, Session, SessionHandler,
    log_throttle::log_failed_upgrade,
    memory::RECHECK,
    outgoing::outbox::SLICES,
    session::{
        core::{Core, Delivery},
        flusher::Ticket,
        hang_up::{HungUp, poll_hang_up, poll_shutdown},
        pipelining::Pipelining,
        table::SessionGuard,
        turn::{DELIVERIES, Turn},
    },
    transport::{
        channel::Channel,
        websocket::{ByteStream, Source, WebSocket, limits},
    },
};

/// The task that drives one session from its opening to its end, whatever its transport: it reads, hands packets to
/// the handler, keeps the session's times, and writes what its senders could not.
pub(crate) struct Driver<H> {
    /// Dropped first: the session is over before its handler goes.
    pub(super) guard: SessionGuard,
    pub(super) handler: H,
    /// The WebSocket, once there is one; before, packets come by way of the session's inbox.
    pub(super) websocket: Option<WebSocket>,
    pipelining: Pipelining,
    /// Whether the session knows how to wake this task.
    is_known: bool,
    /// Whether the handler had no work under way when it was last polled.
    is_idle: bool,
    /// Whether the peer is not read at present for reasons of this side.
    held_back: bool,
    /// How many packets the session's turns have sent to other sessions that may not be written yet.
    unwritten: usize,
    /// What the flusher must have written for so many of them to be written.
    awaited: Option<Box<(Ticket, usize)>>,
    /// Whether the peer is not read for want of memory. The heartbeat goes on, and ends the session if that lasts.
    pub(super) is_starved: bool,
    /// The code of the Close frame that answers a peer that broke a rule of WebSocket.
    pub(super) broken_rule: Option<CloseCode>,
}

/// Why a turn stops reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There is nothing more to read, or the session may not be read. Somebody wakes the task when that changes.
    Waits,
    /// Others must have their turn first.
    Spent,
}

impl<H: SessionHandler> Driver<H> {
    pub(crate) fn new(guard: SessionGuard, handler: H, websocket: Option<WebSocket>) -> Self {
        Self {
            guard,
            handler,
            websocket,
            pipelining: Pipelining::default(),
            is_known: false,
            is_idle: false,
            held_back: false,
            unwritten: 0,
            awaited: None,
            is_starved: false,
            broken_rule: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.is_known, true) {
            // Whoever wakes the session finds the task from its first turn on.
            self.session().core().lock().driver = Some(cx.waker().clone());
        }
        let mut turn = Turn::begin(self.session().address());
        let mut stop = Stop::Waits;
        if self.session().is_ending() {
            let _under_way = self.handler.poll(cx);
        } else if self.poll_deliveries(cx).is_ready() {
            self.is_starved &= self.session().is_starved();
            // What is under way comes before what is read. If there is nothing, the poll behind a read is enough.
            let was_idle = self.is_idle;
            if !was_idle {
                self.poll_handler(cx);
            }
            stop = self.read(&mut turn, cx);
            if was_idle && turn.packets == 0 {
                self.poll_handler(cx);
            }
        } else {
            self.hold_input();
        }
        self.unwritten += turn.deliveries();
        // Whoever polls gets its answers when it asks for them.
        let packets = if self.websocket.is_some() { turn.packets } else { 0 };
        let holds = self.pipelining.holds(packets) && !self.session().is_ending();
        if holds || stop == Stop::Spent {
            // Polled once, this has the task woken after the others and after the runtime has looked for input.
            let _pending = std::pin::pin!(tokio::task::yield_now()).poll(cx);
        }
        let mut heard = turn.packets > 0;
        if self.guard.alarm_has_rung() {
            self.keep_time(std::mem::take(&mut heard), cx);
        }
        let mut settled = self.settle(heard, holds, turn.has_answered(), cx);
        self.note_starvation();
        if self.session().is_ending() {
            if self.poll_end(cx).is_ready() {
                return Poll::Ready(());
            }
            settled.deadline = self.session().core().lock().state.poll_timeout().map(Instant::from_std);
        } else if settled.has_events {
            self.note_events();
        }
        self.set_alarm(settled.deadline);
        Poll::Pending
    }

    /// Ends the work of a turn, under one lock: writes what the turn has sent, unless the answers of a client that
    /// pipelines are held back until no more comes, and notes how much the task holds. `heard` says whether packets have
    /// come.
    fn settle(&mut self, heard: bool, holds: bool, has_answered: bool, cx: &mut Context<'_>) -> Settled {
        let input = self.handler.held_bytes() + self.websocket.as_ref().map_or(0, WebSocket::memory);
        let (session, websocket) = (self.guard.session(), &mut self.websocket);
        let mut core = session.core().lock();
        core.note_driver(cx.waker());
        core.input = input;
        if heard {
            core.state.handle_input(|| Instant::now().into_std());
        }
        core.poll_unblock(cx);
        let was_holding = std::mem::replace(&mut core.held, holds);
        if !holds {
            core.scheduled &= !was_holding;
            if was_holding || has_answered {
                // Even if it waits in the flusher's queue, behind a broadcast.
                core.write_as_sender();
            }
        }
        if let Some(WebSocket { source: Source::Stream(stream), .. }) = websocket {
            write_stream(&mut core, stream.as_mut(), cx);
        }
        session.settle(&mut core, "");
        let slow_at = core.slow_at(session.context().config.slow_consumer_timeout);
        Settled {
            has_events: core.state.has_events(),
            deadline: earlier(core.state.poll_timeout().map(Instant::from_std), slow_at),
        }
    }

    /// Notes whether the session may be read.
    fn note_starvation(&mut self) {
        let is_starved = self.session().is_starved();
        if !std::mem::replace(&mut self.is_starved, is_starved) && is_starved {
            self.session().note_starved();
        }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        self.guard.session()
    }

    /// Ready unless so much of what the session has sent to others is not written yet that it must wait.
    fn poll_deliveries(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some((ticket, count)) = self.awaited.as_deref() else {
                if self.unwritten < DELIVERIES / 8 {
                    return Poll::Ready(());
                }
                self.awaited = Some(Box::new((self.session().context().flusher.ticket(), self.unwritten)));
                continue;
            };
            if self.session().context().flusher.poll_written(ticket, cx).is_pending() {
                return if self.unwritten < DELIVERIES { Poll::Ready(()) } else { Poll::Pending };
            }
            self.unwritten -= count;
            self.awaited = None;
        }
    }

    /// Reads and handles what the peer has sent.
    fn read(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Stop {
        loop {
            if turn.is_spent() || self.session().is_ending() {
                return Stop::Spent;
            }
            if self.is_held() {
                if self.session().is_congested() || self.handler.is_behind() {
                    self.hold_input();
                }
                return Stop::Waits;
            }
            if std::mem::take(&mut self.held_back) {
                self.session().core().lock().state.resume_input(|| Instant::now().into_std());
            }
            if self.poll_read(turn, cx).is_pending() {
                return Stop::Waits;
            }
            // Handlers begin in the order of their events and before more is read.
            self.poll_handler(cx);
        }
    }

    /// Advances the work that the handler has under way.
    fn poll_handler(&mut self, cx: &mut Context<'_>) {
        self.is_idle = self.handler.poll(cx).is_ready();
    }

    /// Nothing is read from the peer for now, so that it is not taken for dead.
    fn hold_input(&mut self) {
        if !std::mem::replace(&mut self.held_back, true) {
            self.session().core().lock().state.hold_input();
        }
    }

    /// Does what is due, and calls the handler at its deadline. `heard` says whether packets have come.
    fn keep_time(&mut self, heard: bool, cx: &mut Context<'_>) {
        let now = Instant::now();
        let slow_after = self.session().context().config.slow_consumer_timeout;
        self.session().update(|core| {
            if heard {
                core.state.handle_input(|| now.into_std());
            }
            if core.slow_at(slow_after).is_some_and(|at| now >= at) {
                let limit = format!("{slow_after:?}");
                let why = "disconnected a slow consumer that took nothing";
                self.session().close_slow(core, "slow_consumer_timeout", limit, why);
            }
            core.state.handle_timeout(now.into_std());
            if let Channel::Polling(polling) = &mut core.channel {
                polling.wake_get();
            }
        });
        if !self.session().is_ending() && self.handler.deadline().is_some_and(|at| now >= at) {
            self.handler.timeout(now);
            // It may take messages again, and nobody else would have the task look for them.
            cx.waker().wake_by_ref();
        }
    }

    /// Has the task woken at the earliest of this deadline of the session and, while it is open, those of the handler and
    /// of the next look for memory.
    fn set_alarm(&mut self, own: Option<Instant>) {
        let mut deadline = own;
        if self.is_starved {
            deadline = earlier(deadline, Some(Instant::now() + RECHECK));
        }
        if !self.session().is_ending() {
            deadline = earlier(deadline, self.handler.deadline());
        }
        if let Some(deadline) = deadline {
            self.guard.set_alarm(deadline);
        }
    }

    /// Handles the session's events: counts them, and tells the handler of the end.
    fn note_events(&mut self) {
        loop {
            let (event, stays_known) = {
                let mut core = self.session().core().lock();
                // A client that polls may send one more GET, which is told of the end.
                let stays_known = core.state.transport() == TransportKind::Polling && !core.state.has_ended();
                (core.state.poll(), stays_known)
            };
            let counters = &self.session().context().counters;
            match event {
                None => return,
                Some(Event::Upgraded) => counters.upgrades.increment(),
                Some(Event::UpgradeFailed(error)) => {
                    counters.failed_upgrades.increment();
                    let limit = self.session().context().config.upgrade_timeout;
                    log_failed_upgrade(self.session().id().short(), error, limit);
                }
                Some(Event::Closed(reason)) => {
                    tracing::debug!(sid = self.session().id().short(), %reason, "session closed");
                    self.count_end(reason);
                    // The last packets go to a WebSocket that has just taken over.
                    let keep = |delivery: &Delivery| matches!(delivery, Delivery::Upgrade(_));
                    self.session().core().lock().retain_deliveries(keep);
                    if !stays_known {
                        self.guard.remove();
                    }
                    self.handler.closed(reason);
                }
                Some(Event::Ended) => {}
            }
        }
    }

    fn count_end(&self, reason: CloseReason) {
        let counters = &self.session().context().counters;
        if self.broken_rule == Some(CloseCode::TOO_BIG) {
            counters.too_large.increment();
        }
        match (reason, self.broken_rule) {
            // The connection works, but the peer broke the rules.
            (CloseReason::TransportError, Some(_)) => counters.protocol_errors.increment(),
            _ => counters.closed(reason),
        }
    }

    /// Brings a closed session to its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_events();
        let (delivery, is_shut, has_ended) = self
            .session()
            .update(|core| (core.take_delivery(), matches!(core.channel, Channel::Shut), core.state.has_ended()));
        if let Some(Delivery::Upgrade(websocket)) = delivery {
            self.websocket = Some(*websocket);
        }
        let session = self.guard.session();
        match &mut self.websocket {
            Some(websocket) if has_ended => {
                // The session has ended, so nothing waits for the stream's own closing message, such as TLS's.
                let _pending_or_broken = poll_shutdown(websocket, cx);
            }
            Some(websocket) if is_shut => {
                let limits = limits(&session.context().config);
                if let Poll::Ready(hung_up) = poll_hang_up(websocket, &limits, cx) {
                    session.update(|core| match hung_up {
                        Ok(HungUp::Closed) => core.state.handle_websocket_closed(None, Instant::now().into_std()),
                        Ok(HungUp::Lost) | Err(_) => {
                            let reason = CloseReason::TransportClose;
                            core.state.handle_websocket_lost(reason, Instant::now().into_std());
                        }
                    });
                }
            }
            _ => {}
        }
        // Polled again, because it may have been told of the end since, which wakes nobody.
        let handlers = self.handler.poll(cx);
        if self.session().core().lock().state.has_ended() && handlers.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// What a turn leaves to be done.
#[derive(Debug, Clone, Copy)]
struct Settled {
    /// Events of the session are to be handled.
    has_events: bool,
    /// The session's deadline.
    deadline: Option<Instant>,
}

/// Writes to a stream that only the session's task may write to.
fn write_stream(core: &mut Core, mut stream: Pin<&mut dyn ByteStream>, cx: &mut Context<'_>) {
    let before = core.outbox.bytes();
    while matches!(core.channel, Channel::Stream) {
        let written = if core.outbox.is_empty() {
            match stream.as_mut().poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    core.note_open();
                    return core.note_flushed();
                }
                Poll::Pending => return core.note_shut(before > 0),
            }
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = core.outbox.slices(&mut slices);
            stream.as_mut().poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
        };
        match written {
            Poll::Pending => {
                let progress = core.outbox.bytes() < before;
                return core.note_shut(progress);
            }
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return core.break_off(),
            Poll::Ready(Ok(count)) => core.outbox.advance(count),
        }
    }
}

/// The earlier of two times of which either may be missing.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl<H: SessionHandler> Future for Driver<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _batch = Batch::open();
        self.get_mut().turn(cx)
    }
}
