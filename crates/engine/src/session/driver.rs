use std::{
    future::Future,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use sockeye_protocol::{
    engineio::session::{CloseReason, Event, TransportKind},
    websocket::CloseCode,
};
use tokio::time::Instant;

use crate::{
    Batch, Session, SessionHandler,
    log_throttle::log_failed_upgrade,
    outgoing::outbox::SLICES,
    session::{
        core::{Core, Delivery},
        flusher::{Flush as _, Ticket},
        hang_up::{HungUp, poll_hang_up, poll_shutdown},
        pipelining::Pipelining,
        table::SessionGuard,
        turn::{DELIVERIES, Turn},
    },
    transport::{
        channel::Channel,
        websocket::{Source, WebSocket, limits},
    },
};

/// The task that drives one session from its opening to its end, whatever its transport: it reads, hands packets to
/// the handler, keeps the session's times, and writes what its senders could not.
pub(crate) struct Driver<H> {
    /// Dropped first: the session is over before its handler goes.
    guard: SessionGuard,
    pub(super) session: Arc<Session>,
    pub(super) handler: H,
    /// The WebSocket, once there is one; before, packets come by way of the session's inbox.
    pub(super) websocket: Option<WebSocket>,
    pipelining: Pipelining,
    /// Whether the peer is not read at present for reasons of this side.
    held_back: bool,
    /// How many packets the session's turns have sent to other sessions that may not be written yet.
    unwritten: usize,
    /// What the flusher must have written for so many of them to be written.
    awaited: Option<(Ticket, usize)>,
    /// Whether the peer is not read for want of memory. The heartbeat goes on, and ends the session if that lasts.
    pub(super) is_starved: bool,
    /// How many bytes were held for the session when the task last noted it.
    input: usize,
    /// The code of the Close frame that answers a peer that broke a rule of WebSocket.
    pub(super) broken_rule: Option<CloseCode>,
}

/// So often a session that is not read for want of memory looks whether there is some.
pub(crate) const RECHECK: Duration = Duration::from_millis(250);

/// Why a turn stops reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There is nothing more to read, or the session may not be read. Somebody wakes the task when that changes.
    Waits,
    /// Others must have their turn first.
    Spent,
}

impl<H: SessionHandler> Driver<H> {
    pub(crate) fn new(session: Arc<Session>, guard: SessionGuard, handler: H, websocket: Option<WebSocket>) -> Self {
        Self {
            guard,
            session,
            handler,
            websocket,
            pipelining: Pipelining::default(),
            held_back: false,
            unwritten: 0,
            awaited: None,
            is_starved: false,
            input: 0,
            broken_rule: None,
        }
    }

    /// Notes how much the session's task holds, and whether the session may be read.
    fn note_input(&mut self) {
        let input = self.handler.held_bytes() + self.websocket.as_ref().map_or(0, WebSocket::memory);
        if std::mem::replace(&mut self.input, input) != input {
            self.session.update(|core| core.input = input);
        }
        let was_starved = std::mem::replace(&mut self.is_starved, self.session.is_starved());
        if self.is_starved && !was_starved {
            self.session.note_starved();
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_events = self.session.update(|core| {
            if !core.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                core.driver = Some(cx.waker().clone());
            }
            core.poll_unblock(cx);
            core.state.has_events()
        });
        if has_events {
            self.note_events();
        }
        let mut turn = Turn::begin(self.session.address());
        let mut stop = Stop::Waits;
        if self.session.is_ending() {
            let _under_way = self.handler.poll(cx);
        } else if self.poll_deliveries(cx).is_ready() {
            self.is_starved &= self.session.is_starved();
            let _under_way = self.handler.poll(cx);
            stop = self.read(&mut turn, cx);
        } else {
            self.hold_input();
        }
        self.unwritten += turn.deliveries();
        let holds = self.holds_answers(turn.packets);
        if turn.has_answered() && !holds {
            // Even if it waits in the flusher's queue, behind a broadcast.
            self.session.update(Core::write_as_sender);
        }
        if holds || stop == Stop::Spent {
            // Polled once, this has the task woken after the others and after the runtime has looked for input.
            let _pending = std::pin::pin!(tokio::task::yield_now()).poll(cx);
        }
        self.note_input();
        self.keep_time(turn.packets > 0, cx);
        self.write(cx);
        if self.session.is_ending() && self.poll_end(cx).is_ready() {
            return Poll::Ready(());
        }
        self.set_alarm();
        Poll::Pending
    }

    /// Holds the answers of a client that pipelines back until no more comes, or lets them go. Returns whether to look
    /// for more.
    fn holds_answers(&mut self, packets: u64) -> bool {
        let was_holding = self.pipelining.is_holding();
        // Whoever polls gets its answers when it asks for them.
        let packets = if self.websocket.is_some() { packets } else { 0 };
        if self.pipelining.holds(packets) && !self.session.is_ending() {
            self.session.core().lock().held = true;
            return true;
        }
        if was_holding {
            self.session.core().lock().held = false;
            self.session.flush();
        }
        false
    }

    /// Ready unless so much of what the session has sent to others is not written yet that it must wait.
    fn poll_deliveries(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some((ticket, count)) = &self.awaited else {
                if self.unwritten < DELIVERIES / 8 {
                    return Poll::Ready(());
                }
                self.awaited = Some((self.session.flusher().ticket(), self.unwritten));
                continue;
            };
            if self.session.flusher().poll_written(ticket, cx).is_pending() {
                return if self.unwritten < DELIVERIES { Poll::Ready(()) } else { Poll::Pending };
            }
            self.unwritten -= count;
            self.awaited = None;
        }
    }

    /// Reads and handles what the peer has sent.
    fn read(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Stop {
        loop {
            if turn.is_spent() || self.session.is_ending() {
                return Stop::Spent;
            }
            if self.is_held() {
                if self.session.is_congested() || self.handler.is_behind() {
                    self.hold_input();
                }
                return Stop::Waits;
            }
            if std::mem::take(&mut self.held_back) {
                self.session.core().lock().state.resume_input(|| Instant::now().into_std());
            }
            if self.poll_read(turn, cx).is_pending() {
                return Stop::Waits;
            }
            // Handlers begin in the order of their events and before more is read.
            let _under_way = self.handler.poll(cx);
        }
    }

    /// Nothing is read from the peer for now, so that it is not taken for dead.
    fn hold_input(&mut self) {
        if !std::mem::replace(&mut self.held_back, true) {
            self.session.core().lock().state.hold_input();
        }
    }

    /// Does what is due, and calls the handler at its deadline. `heard` says whether packets have come.
    fn keep_time(&mut self, heard: bool, cx: &mut Context<'_>) {
        if heard {
            self.session.core().lock().state.handle_input(|| Instant::now().into_std());
        }
        if !self.guard.alarm_has_rung() {
            return;
        }
        let now = Instant::now();
        let slow_after = self.session.context().config.slow_consumer_timeout;
        self.session.update(|core| {
            if core.slow_at(slow_after).is_some_and(|at| now >= at) {
                let limit = format!("{slow_after:?}");
                let why = "disconnected a slow consumer that took nothing";
                self.session.close_slow(core, "slow_consumer_timeout", limit, why);
            }
            core.state.handle_timeout(now.into_std());
            if let Channel::Polling(polling) = &mut core.channel {
                polling.wake_get();
            }
        });
        if !self.session.is_ending() && self.handler.deadline().is_some_and(|at| now >= at) {
            self.handler.timeout(now);
            // It may take messages again, and nobody else would have the task look for them.
            cx.waker().wake_by_ref();
        }
    }

    /// Has the task woken at the next deadline.
    fn set_alarm(&mut self) {
        let slow_after = self.session.context().config.slow_consumer_timeout;
        let own = {
            let core = self.session.core().lock();
            let own = core.state.poll_timeout().map(Instant::from_std);
            let recheck = self.is_starved.then(|| Instant::now() + RECHECK);
            [own, core.slow_at(slow_after), recheck].into_iter().flatten().min()
        };
        if let Some(deadline) = self.deadline(own) {
            self.guard.set_alarm(deadline);
        }
    }

    /// The earliest of the session's deadline and, while it is open, the handler's.
    fn deadline(&self, own: Option<Instant>) -> Option<Instant> {
        match self.handler.deadline() {
            Some(handlers) if !self.session.is_ending() => Some(own.map_or(handlers, |own| own.min(handlers))),
            _ => own,
        }
    }

    /// Handles the session's events: counts them, and tells the handler of the end.
    fn note_events(&mut self) {
        loop {
            let (event, stays_known) = {
                let mut core = self.session.core().lock();
                // A client that polls may send one more GET, which is told of the end.
                let stays_known = core.state.transport() == TransportKind::Polling && !core.state.has_ended();
                (core.state.poll(), stays_known)
            };
            let counters = &self.session.context().counters;
            match event {
                None => return,
                Some(Event::Upgraded) => counters.upgrades.increment(),
                Some(Event::UpgradeFailed(error)) => {
                    counters.failed_upgrades.increment();
                    let limit = self.session.context().config.upgrade_timeout;
                    log_failed_upgrade(self.session.id().short(), error, limit);
                }
                Some(Event::Closed(reason)) => {
                    tracing::debug!(sid = self.session.id().short(), %reason, "session closed");
                    self.count_end(reason);
                    // The last packets go to a WebSocket that has just taken over.
                    let keep = |delivery: &Delivery| matches!(delivery, Delivery::Upgrade(_));
                    self.session.core().lock().inbox.retain(keep);
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
        let counters = &self.session.context().counters;
        if self.broken_rule == Some(CloseCode::TOO_BIG) {
            counters.too_large.increment();
        }
        match (reason, self.broken_rule) {
            // The connection works, but the peer broke the rules.
            (CloseReason::TransportError, Some(_)) => counters.protocol_errors.increment(),
            _ => counters.closed(reason),
        }
    }

    /// Writes to a stream that only this task may write to.
    fn write(&mut self, cx: &mut Context<'_>) {
        let Some(WebSocket { source: Source::Stream(stream), .. }) = &mut self.websocket else { return };
        self.session.update(|core| {
            let before = core.outbox.bytes();
            loop {
                if !matches!(core.channel, Channel::Stream) {
                    return;
                }
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
        });
    }

    /// Brings a closed session to its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_events();
        let (is_shut, has_ended) = self.session.update(|core| {
            if let Some(Delivery::Upgrade(websocket)) = core.inbox.pop_front() {
                self.websocket = Some(*websocket);
            }
            (matches!(core.channel, Channel::Shut), core.state.has_ended())
        });
        match &mut self.websocket {
            Some(websocket) if has_ended => {
                // The session has ended, so nothing waits for the stream's own closing message, such as TLS's.
                let _pending_or_broken = poll_shutdown(websocket, cx);
            }
            Some(websocket) if is_shut => {
                let limits = limits(&self.session.context().config);
                if let Poll::Ready(hung_up) = poll_hang_up(websocket, &limits, cx) {
                    self.session.update(|core| match hung_up {
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
        if self.session.core().lock().state.has_ended() && handlers.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<H: SessionHandler> Future for Driver<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _batch = Batch::open();
        self.get_mut().turn(cx)
    }
}
