use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use sockeye_protocol::{
    engineio::{Packet, Revision},
    websocket::{CloseCode, DecodeError, Decoder, Event, Limits, Opcode, with_read_buffer},
};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    Batch, CloseReason, Frame, Message, Session, SessionHandler,
    log_throttle::{log_limit, log_violation},
    outgoing::outbox::SLICES,
    session::heartbeat::{Beat, Heartbeat},
    session::pipelining::Pipelining,
    session::seats::Seat,
    session::state::{Channel, Delivery, Stage},
    transport::{
        polling,
        websocket::{Source, WebSocket, limits},
    },
};

/// The task that drives one session from its opening to its end, whatever its transport: it reads, hands packets to
/// the handler, keeps the heartbeat, and writes what its senders could not.
pub(crate) struct Driver<H> {
    /// Dropped first: the session is over before its handler goes.
    _lease: Lease,
    session: Arc<Session>,
    handler: H,
    /// The WebSocket, once there is one; before, packets come by way of the session's inbox.
    websocket: Option<WebSocket>,
    heartbeat: Heartbeat,
    /// One timer for all deadlines. It may fire early, never late.
    timer: Pin<Box<Sleep>>,
    end: Option<End>,
    pipelining: Pipelining,
    /// Whether the client has ended the session by a POST, beside which a last poll may be on its way.
    left_by_post: bool,
    /// How many WebSocket packets this turn has brought.
    packets: u64,
    /// Whether the peer has not been read since the handler fell behind.
    held_back: bool,
}

/// Keeps a session in the engine's table, and its seat taken. However it goes away, with the task, with a handler that
/// panics or with the runtime, nobody drives the session any more, and it must take no more packets.
pub(crate) struct Lease {
    session: Arc<Session>,
    /// Given back with the memory, not before.
    _seat: Seat,
}

impl Lease {
    pub(crate) fn new(session: Arc<Session>, seat: Seat) -> Self {
        Self { session, _seat: seat }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.core().lock().abandon();
        self.session.engine().forget(&self.session);
    }
}

/// What is left to do for a session that has ended.
struct End {
    /// When the transport is given up, whatever it still has to write.
    give_up: Instant,
    /// Whether the peer has sent its WebSocket close frame, behind which it sends nothing (RFC 6455 section 5.5.1).
    peer_closed: bool,
    transport_done: bool,
}

/// What a packet means for the session.
enum Flow {
    Continue,
    Close(CloseReason, Option<CloseFrame>),
}

/// What a WebSocket's close frame says to the peer: a code, and a text that may be empty.
type CloseFrame = (CloseCode, String);

/// How long a poll may come after the POST by which its client ends the session.
const LAST_POLL: Duration = Duration::from_millis(100);

/// How often the task reads before others get their turn.
const READS_A_TURN: usize = 8;

/// How many packets of a POST's body are handled as one read.
const PACKETS_A_READ: u64 = 1_024;

impl<H: SessionHandler> Driver<H> {
    pub(crate) fn new(session: Arc<Session>, lease: Lease, handler: H, websocket: Option<WebSocket>) -> Self {
        let config = &session.engine().config;
        let heartbeat = Heartbeat::new(session.revision(), config.ping_interval, config.ping_timeout, Instant::now());
        let deadline = handler.deadline().map_or(heartbeat.deadline(), |at| at.min(heartbeat.deadline()));
        let timer = Box::pin(sleep_until(deadline));
        Self {
            session,
            handler,
            websocket,
            heartbeat,
            timer,
            end: None,
            pipelining: Pipelining::default(),
            left_by_post: false,
            packets: 0,
            held_back: false,
            _lease: lease,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = {
            let mut core = self.session.core().lock();
            if !core.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                core.driver = Some(cx.waker().clone());
            }
            core.poll_unblock(cx);
            match core.stage {
                Stage::Closing(reason) => Some(reason),
                _ => None,
            }
        };
        if let (Some(reason), None) = (closing, &self.end) {
            self.close(reason, None);
        }
        let _under_way = self.handler.poll(cx);
        self.packets = 0;
        if self.end.is_none() {
            self.read(cx);
        }
        self.hold_answers(cx);
        self.keep_time(cx);
        self.write(cx);
        if self.end.is_some() { self.poll_end(cx) } else { Poll::Pending }
    }

    /// Holds the answers of a client that pipelines back until no more comes, or lets them go.
    fn hold_answers(&mut self, cx: &mut Context<'_>) {
        let was_holding = self.pipelining.is_holding();
        if self.pipelining.holds(self.packets) && self.end.is_none() {
            self.session.core().lock().held = true;
            // Polled once, this has the task woken after the runtime has looked for input.
            let look_again = std::pin::pin!(tokio::task::yield_now());
            let _pending = look_again.poll(cx);
        } else if was_holding {
            self.session.core().lock().held = false;
            self.session.flush();
        }
    }

    /// Reads and handles what the peer has sent.
    fn read(&mut self, cx: &mut Context<'_>) {
        for _ in 0..READS_A_TURN {
            if !self.handler.is_ready() {
                self.held_back |= self.handler.is_behind();
                return;
            }
            if self.held_back {
                self.held_back = false;
                self.heartbeat.excuse(Instant::now());
            }
            let read = match self.websocket {
                Some(_) => self.read_websocket(cx),
                None => self.read_inbox(cx),
            };
            match read {
                Poll::Pending => return,
                Poll::Ready(Flow::Continue) => {}
                Poll::Ready(Flow::Close(reason, code)) => return self.close(reason, code),
            }
            // Handlers begin in the order of their events and before more is read.
            let _under_way = self.handler.poll(cx);
            if !self.session.is_open() {
                break;
            }
        }
        cx.waker().wake_by_ref();
    }

    fn read_websocket(&mut self, cx: &mut Context<'_>) -> Poll<Flow> {
        let Self { session, handler, websocket, heartbeat, packets: all, .. } = self;
        let Some(websocket) = websocket else { return Poll::Pending };
        let limits = limits(&session.engine().config);
        with_read_buffer(|buffer| {
            let count = match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Flow::Close(CloseReason::TransportClose, None)),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(_)) => return Poll::Ready(Flow::Close(CloseReason::TransportError, None)),
            };
            let mut input = buffer.get_mut(..count).unwrap_or_default();
            let mut packets = 0;
            let mut flow = Flow::Continue;
            while !input.is_empty() && matches!(flow, Flow::Continue) && !session.is_ending() {
                if !handler.is_ready() {
                    websocket.put_back(input);
                    break;
                }
                let consumed = match websocket.decoder.decode(input, &limits) {
                    Err(error) => {
                        log_decode_error(session, &error);
                        let close = (error.close_code(), error.to_string());
                        flow = Flow::Close(CloseReason::TransportError, Some(close));
                        break;
                    }
                    Ok((consumed, event)) => {
                        if let Some(event) = event {
                            packets += 1;
                            match event {
                                Event::Text(text) => session.log_packet("received", false, text.as_bytes()),
                                Event::Binary(data) => session.log_packet("received", true, data),
                                Event::Ping(_) | Event::Pong(_) | Event::Close(_) => {}
                            }
                            flow = on_frame(event, session, handler, heartbeat, cx);
                        }
                        consumed
                    }
                };
                input = input.get_mut(consumed..).unwrap_or_default();
            }
            websocket.decoder.release();
            session.received().add(packets, count - input.len());
            *all += packets;
            if packets > 0 {
                heartbeat.heard();
            }
            Poll::Ready(flow)
        })
    }

    /// Handles what HTTP requests have brought.
    fn read_inbox(&mut self, cx: &mut Context<'_>) -> Poll<Flow> {
        let Some(delivery) = self.session.core().lock().inbox.pop_front() else { return Poll::Pending };
        let flow = match delivery {
            Delivery::Upgrade(websocket) => {
                self.websocket = Some(*websocket);
                Flow::Continue
            }
            Delivery::Payload { body, answer } => {
                let flow = self.read_body(body, answer, cx);
                self.left_by_post = matches!(flow, Flow::Close(CloseReason::TransportClose, _));
                flow
            }
        };
        Poll::Ready(flow)
    }

    /// Handles the packets of a POST's body until the handler is not ready for more; the rest goes back to the inbox.
    ///
    /// The client is answered when all is handled or, if the handler is not ready, as soon as the rest is known to be
    /// valid: clients give up a request that is not answered for some seconds. Its next POST waits.
    fn read_body(
        &mut self,
        mut body: polling::Body,
        mut answer: Option<oneshot::Sender<bool>>,
        cx: &mut Context<'_>,
    ) -> Flow {
        let Self { session, handler, heartbeat, .. } = self;
        if answer.is_some() {
            heartbeat.heard();
        }
        let mut flow = Flow::Continue;
        let mut error = None;
        let mut count = 0;
        let mut packets = body.packets(session.revision());
        while count == 0 || (count < PACKETS_A_READ && handler.is_ready()) {
            let packet = match packets.next() {
                Some(Ok(packet)) => packet,
                invalid_or_end => {
                    error = invalid_or_end.and_then(Result::err);
                    break;
                }
            };
            count += 1;
            session.log_received(&packet);
            flow = on_packet(packet, session, handler, heartbeat, cx);
            if !matches!(flow, Flow::Continue) || session.is_ending() {
                break;
            }
        }
        let remaining = packets.remaining();
        let goes_on = matches!(flow, Flow::Continue) && !session.is_ending();
        if goes_on && remaining.is_some() && answer.is_some() && !handler.is_ready() {
            error = packets.find_map(Result::err);
        }
        session.received().add(count, body.advance_to(remaining.unwrap_or(0)));
        if let Some(error) = error {
            log_violation(session.id().short(), CloseReason::ParseError, &error);
            flow = Flow::Close(CloseReason::ParseError, None);
        }
        let is_left = goes_on && remaining.is_some() && error.is_none();
        if !is_left || !handler.is_ready() {
            // The request may have gone away, which its own guard takes care of.
            let _gone = answer.take().map(|answer| answer.send(error.is_none()));
        }
        if is_left {
            session.core().lock().inbox.push_front(Delivery::Payload { body, answer });
        }
        flow
    }

    /// Sends pings, notices the dead, and calls the handler at its deadline.
    fn keep_time(&mut self, cx: &mut Context<'_>) {
        loop {
            let deadline = self.deadline();
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            let now = Instant::now();
            if let Some(end) = &mut self.end {
                if now >= end.give_up {
                    end.transport_done = true;
                    self.session.core().lock().shut();
                    return;
                }
            } else {
                match self.heartbeat.beat(now) {
                    Beat::Early => {}
                    Beat::Ping => {
                        self.session.pinged(now);
                        let _closed = self.session.send(PING.with(Frame::clone));
                    }
                    Beat::Dead if self.held_back => self.heartbeat.excuse(now),
                    Beat::Dead => self.close(CloseReason::PingTimeout, None),
                }
                if self.handler.deadline().is_some_and(|at| now >= at) {
                    self.handler.timeout(now);
                    // It may take messages again, and nobody else would have the task look for them.
                    cx.waker().wake_by_ref();
                }
            }
            let deadline = self.deadline().max(now);
            self.timer.as_mut().reset(deadline);
        }
    }

    fn deadline(&self) -> Instant {
        match &self.end {
            Some(end) => end.give_up,
            None => {
                let beat = self.heartbeat.deadline();
                self.handler.deadline().map_or(beat, |at| at.min(beat))
            }
        }
    }

    /// Writes to a stream that only this task may write to.
    fn write(&mut self, cx: &mut Context<'_>) {
        let Some(WebSocket { source: Source::Stream(stream), .. }) = &mut self.websocket else { return };
        let mut core = self.session.core().lock();
        if !matches!(core.channel, Channel::Stream) {
            return;
        }
        loop {
            let written = if core.outbox.is_empty() {
                match stream.as_mut().poll_flush(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => return,
                }
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = core.outbox.slices(&mut slices);
                stream.as_mut().poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
            };
            match written {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => {
                    core.outbox.clear();
                    core.close(CloseReason::TransportError);
                    return;
                }
                Poll::Ready(Ok(count)) => core.outbox.advance(count),
            }
        }
    }

    fn close(&mut self, reason: CloseReason, close: Option<CloseFrame>) {
        let code = close.as_ref().map(|(code, _)| *code);
        tracing::debug!(sid = self.session.id().short(), %reason, "session closed");
        self.count_end(reason, code);
        let mut give_up = Instant::now() + self.session.engine().config.close_timeout;
        let mut core = self.session.core().lock();
        core.begin_farewell(reason, close.as_ref().map(|(code, text)| (*code, text.as_str())));
        if self.left_by_post {
            core.await_last_poll();
            give_up = Instant::now() + LAST_POLL;
        }
        drop(core);
        if self.websocket.is_some() || !(reason.is_graceful() || self.left_by_post) {
            self.forget();
        }
        let peer_closed = reason == CloseReason::TransportClose && code.is_some();
        self.end = Some(End { give_up, peer_closed, transport_done: false });
        self.handler.closed(reason);
    }

    fn count_end(&self, reason: CloseReason, code: Option<CloseCode>) {
        let counters = &self.session.engine().counters;
        if code == Some(CloseCode::TOO_BIG) {
            counters.too_large.increment();
        }
        match (reason, code) {
            // With a code of ours the connection works, but the peer broke the rules.
            (CloseReason::TransportError, Some(_)) => counters.protocol_errors.increment(),
            _ => counters.closed(reason),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(end) = &mut self.end else { return Poll::Pending };
        if !end.transport_done {
            let mut core = self.session.core().lock();
            if let Some(Delivery::Upgrade(websocket)) = core.inbox.pop_front() {
                self.websocket = Some(*websocket);
            }
            let said_everything = core.outbox.is_empty();
            if said_everything && !matches!(core.channel, Channel::Polling(_)) {
                core.shut();
            }
            let closed = matches!(core.stage, Stage::Closed(_));
            drop(core);
            end.transport_done = match &mut self.websocket {
                Some(websocket) => {
                    let limits = limits(&self.session.engine().config);
                    closed && poll_hang_up(websocket, &limits, end.peer_closed, cx).is_ready()
                }
                None => closed,
            };
        }
        // Polled again, because it may have been told of the end since, which wakes nobody.
        let handlers = self.handler.poll(cx);
        if self.end.as_ref().is_some_and(|end| end.transport_done) && handlers.is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<H> Driver<H> {
    fn forget(&self) {
        self.session.engine().forget(&self.session);
    }
}

impl<H: SessionHandler> Future for Driver<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _batch = Batch::open();
        self.get_mut().turn(cx)
    }
}

thread_local! {
    static PING: Frame = Frame::text(b"2");
}

/// Logs why a WebSocket is closed whose frames cannot be read.
fn log_decode_error(session: &Session, error: &DecodeError) {
    let sid = session.id().short();
    match error {
        DecodeError::MessageTooBig { limit, .. } => {
            log_limit(sid, "max_payload", limit, "closed a WebSocket that sent a larger message");
        }
        DecodeError::TooManyFragments { limit } => {
            log_limit(sid, "max_fragments", limit, "closed a WebSocket that cut a message into more frames");
        }
        error => log_violation(sid, CloseReason::TransportError, error),
    }
}

fn on_frame<H: SessionHandler>(
    event: Event<'_>,
    session: &Arc<Session>,
    handler: &mut H,
    heartbeat: &mut Heartbeat,
    cx: &mut Context<'_>,
) -> Flow {
    let revision = session.revision();
    let packet = match event {
        Event::Text(text) => match text.strip_prefix('4') {
            Some(message) => {
                handler.message(Message::Text(message), cx);
                return Flow::Continue;
            }
            None => Packet::parse_text(text, revision),
        },
        Event::Binary(data) => Packet::parse_binary(data, revision),
        Event::Ping(payload) => {
            let _closed = session.send(Frame::control(Opcode::Pong, payload));
            return Flow::Continue;
        }
        Event::Pong(_) => return Flow::Continue,
        Event::Close(close) => {
            let code = close.map_or(CloseCode::NORMAL, |(code, _)| code);
            return Flow::Close(CloseReason::TransportClose, Some((code, String::new())));
        }
    };
    match packet {
        Ok(packet) => on_packet(packet, session, handler, heartbeat, cx),
        Err(error) => {
            log_violation(session.id().short(), CloseReason::ParseError, &error);
            Flow::Close(CloseReason::ParseError, None)
        }
    }
}

fn on_packet<H: SessionHandler>(
    packet: Packet<'_>,
    session: &Arc<Session>,
    handler: &mut H,
    heartbeat: &mut Heartbeat,
    cx: &mut Context<'_>,
) -> Flow {
    match (packet, session.revision()) {
        (Packet::Text(text), _) => handler.message(Message::Text(text), cx),
        (Packet::Binary(data), _) => handler.message(Message::Binary(&data), cx),
        (Packet::Pong(_), Revision::V4) => {
            heartbeat.answered(Instant::now());
            session.ponged();
        }
        (Packet::Ping(payload), Revision::V3) => {
            heartbeat.answered(Instant::now());
            let _closed = session.send_text(format!("3{payload}").as_bytes());
        }
        (Packet::Ping(_), Revision::V4) | (Packet::Pong(_), Revision::V3) => {
            let fault = "it sent a heartbeat packet that only servers of its revision send";
            log_violation(session.id().short(), CloseReason::TransportError, &fault);
            return Flow::Close(CloseReason::TransportError, None);
        }
        (Packet::Close, _) => return Flow::Close(CloseReason::TransportClose, None),
        (Packet::Open(_) | Packet::Upgrade | Packet::Noop, _) => {}
    }
    Flow::Continue
}

/// Waits for the peer's close frame or the end of its input, and forgets what it sends before: closing a connection with
/// unread input resets it, and the peer would lose our last frames. A peer that has said that it closes need not close
/// its side of the connection too.
fn poll_hang_up(
    websocket: &mut WebSocket,
    limits: &Limits,
    peer_closed: bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if let Source::Stream(stream) = &mut websocket.source
        && stream.as_mut().poll_shutdown(cx)?.is_pending()
    {
        return Poll::Pending;
    }
    if peer_closed {
        return Poll::Ready(Ok(()));
    }
    with_read_buffer(|buffer| {
        loop {
            match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(count)) => {
                    if has_close_frame(&mut websocket.decoder, buffer.get_mut(..count).unwrap_or_default(), limits) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    })
}

/// Whether the next frames of a WebSocket that ends, which `input` holds, have a close frame among them.
fn has_close_frame(decoder: &mut Decoder, mut input: &mut [u8], limits: &Limits) -> bool {
    while !input.is_empty() {
        match decoder.decode(input, limits) {
            Ok((_, Some(Event::Close(_)))) => return true,
            Ok((consumed, _)) => input = input.get_mut(consumed..).unwrap_or_default(),
            // What breaks the protocol now is no longer of interest.
            Err(_) => return false,
        }
    }
    false
}
