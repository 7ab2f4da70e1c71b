use std::{
    collections::VecDeque,
    error::Error as StdError,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sockeye_handler::with_causes;
use sockeye_protocol::{
    engineio::{
        Packet,
        session::{
            CloseReason, Delivery, Event as SessionEvent, Probe, ProbeStep, Role, Session, Timing, Transmit,
            UpgradeError,
        },
    },
    websocket::{Event, with_read_buffer},
};

use super::{
    packet::Outgoing,
    queue::Queue,
    transport::{Body, Input, Lost, OpenTransport, Opened, WebSocket},
};
use crate::{ConnectError, DisconnectReason, Transport, settings::builder::Config};

/// Takes the messages of a connection.
pub(crate) trait Receiver {
    /// Whether it can take more at present.
    fn is_ready(&self) -> bool;
    /// A text message has arrived.
    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Lost>;
    /// A binary message has arrived.
    fn binary(&mut self, data: &[u8], cx: &mut Context<'_>) -> Result<(), Lost>;
}

/// A connection that can be written to from any task. Whoever locks it and the core, locks it first.
pub(crate) type Link = Arc<Mutex<Connection>>;

/// Drives one Engine.IO session: reads and writes for it, and opens the WebSocket that takes it over.
pub(crate) struct Connection {
    config: Arc<Config>,
    pub(crate) sid: Arc<str>,
    pub(crate) opened: Instant,
    session: Session,
    transport: OpenTransport,
    probing: Option<Box<Probing>>,
    /// The messages to send, in order.
    queue: Queue,
    /// The data of the ping that is to be answered.
    ping_data: String,
    /// What went wrong, if the session ended by that.
    error: Option<Arc<dyn StdError + Send + Sync>>,
    /// How many polls in a row brought nothing while there was no upgrade to make room for.
    empty_polls: u32,
}

/// The WebSocket that is to take a session over from polling.
#[expect(clippy::large_enum_variant, reason = "it is always in a box")]
enum Probing {
    Dialing(Pin<Box<dyn Future<Output = Result<WebSocket, ConnectError>> + Send>>),
    Open {
        websocket: WebSocket,
        queue: Queue,
        probe: Probe,
        /// Whether the probe is answered, so that the rest is read after the upgrade.
        answered: bool,
    },
}

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// It moved to WebSocket.
    Upgraded,
    /// It stays on polling.
    UpgradeFailed,
    /// It is closed.
    Closed(Lost),
    /// After it was closed by this side: everything is sent, and the server has seen it or had time to.
    Ended,
}

/// The most polls in a row that may bring no packet. A server ends one poll for an upgrade. python-engineio ends every poll at
/// once if the WebSocket breaks before its probe, and the session then delivers nothing any more.
const EMPTY_POLLS: u32 = 16;

/// How often one turn reads before others get theirs.
const READS_A_TURN: usize = 8;

impl Connection {
    pub(crate) fn new(opened: Opened, config: Arc<Config>, now: Instant) -> Self {
        let Opened { handshake, transport } = opened;
        let [interval, timeout] = [handshake.ping_interval, handshake.ping_timeout].map(Duration::from_millis);
        let timing =
            Timing::new(interval, timeout).upgrade_timeout(config.upgrade_timeout).close_timeout(config.close_timeout);
        let mut session = Session::new(Role::Client, config.engine_version, transport.kind(), timing, now);
        let mut probing = None;
        if let OpenTransport::Polling(polling) = &transport {
            // What came behind the handshake is the answer to the first GET, which is always allowed.
            let _begun = session.begin_get();
            let is_offered = handshake.upgrades.iter().any(|upgrade| upgrade == Transport::WebSocket.as_str());
            if is_offered
                && config.upgrade
                && config.transports.contains(&Transport::WebSocket)
                && session.begin_upgrade(now)
            {
                let requests = polling.requests().clone();
                let dialing = Box::pin(async move { WebSocket::connect(&requests).await });
                probing = Some(Box::new(Probing::Dialing(dialing)));
            }
        }
        Self {
            sid: handshake.sid.as_str().into(),
            opened: now,
            session,
            transport,
            probing,
            queue: Queue::default(),
            ping_data: String::new(),
            error: None,
            empty_polls: 0,
            config,
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport.kind()
    }

    /// The beginning of the session's id, for logs: whoever knows the whole can poll in this client's name.
    pub(crate) fn short_sid(&self) -> &str {
        self.sid.get(..6).unwrap_or_default()
    }

    /// Adds a message behind the others.
    pub(crate) fn send(&mut self, packet: Outgoing) {
        self.queue.push(packet);
    }

    /// Adds messages behind the others.
    pub(crate) fn send_all(&mut self, packets: &mut Queue) {
        self.queue.append(packets);
    }

    /// Closes the session behind everything that is to be sent.
    pub(crate) fn close(&mut self, now: Instant) {
        self.session.close(CloseReason::ForcedClose, now);
    }

    /// When to call [`poll`](Self::poll) next, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// Moves the session on: reads, writes, upgrades. Ready whenever something happened that matters to others.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, receiver: &mut impl Receiver) -> Poll<Change> {
        if receiver.is_ready() {
            self.session.resume_input(|| now);
        } else {
            self.session.hold_input();
        }
        let read = match self.transport {
            OpenTransport::Polling(_) if !self.session.is_open() => Ok(()),
            OpenTransport::Polling(_) => self.read_polling(cx, receiver),
            OpenTransport::WebSocket(_) => self.read_websocket(cx, receiver),
        };
        if let Err(lost) = read {
            self.fail(lost, now);
        }
        let held = !self.may_read(receiver);
        // What has arrived is read before the server is taken for dead.
        self.session.handle_timeout(now);
        self.poll_probing(cx, now);
        self.settle();
        if let Poll::Ready(written) = self.poll_write(cx) {
            match written {
                Ok(()) => self.session.handle_flushed(),
                Err(lost) => self.fail(lost, now),
            }
        }
        self.settle();
        if held && self.may_read(receiver) {
            // Nothing was read because too much waited to be written, and now that is gone.
            cx.waker().wake_by_ref();
        }
        if !self.session.is_open() && self.backlog() == 0 {
            self.poll_shutdown(cx, now);
        }
        match self.session.poll() {
            Some(SessionEvent::Upgraded) => Poll::Ready(Change::Upgraded),
            Some(SessionEvent::UpgradeFailed(error)) => {
                tracing::debug!(sid = self.short_sid(), %error, "the upgrade to WebSocket failed; polling goes on");
                Poll::Ready(Change::UpgradeFailed)
            }
            Some(SessionEvent::Closed(reason)) => {
                Poll::Ready(Change::Closed(Lost { reason: disconnect_reason(reason), error: self.error.take() }))
            }
            Some(SessionEvent::Ended) => Poll::Ready(Change::Ended),
            None => Poll::Pending,
        }
    }

    /// How many bytes wait to be sent.
    pub(crate) fn backlog(&self) -> usize {
        let taken = match &self.transport {
            OpenTransport::Polling(polling) => polling.backlog(),
            OpenTransport::WebSocket(websocket) => websocket.backlog(),
        };
        taken + self.queue.bytes()
    }

    /// The messages that cannot have reached the server, in order.
    pub(crate) fn take_unsent(&mut self) -> VecDeque<Outgoing> {
        let mut unsent = match &mut self.transport {
            OpenTransport::Polling(polling) => polling.take_unsent(),
            OpenTransport::WebSocket(websocket) => websocket.take_unsent(),
        };
        unsent.extend(std::mem::take(&mut self.queue).into_packets());
        unsent
    }

    /// Writes what was added; ready when all of it is written.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        match &mut self.transport {
            OpenTransport::Polling(polling) => polling.poll_write(cx, &mut self.queue, &mut self.session),
            OpenTransport::WebSocket(websocket) => websocket
                .poll_write(cx, &mut self.queue)
                .map_err(|error| Lost::by(DisconnectReason::TransportError, error)),
        }
    }

    /// Shuts the sending side of a WebSocket on which everything is said.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let OpenTransport::WebSocket(websocket) = &mut self.transport
            && let Poll::Ready(Err(_)) = websocket.poll_shutdown(cx)
        {
            self.session.handle_websocket_lost(CloseReason::TransportError, now);
        }
    }

    /// Ends the session by an error of this side's reading or writing.
    fn fail(&mut self, lost: Lost, now: Instant) {
        if self.error.is_none() && self.session.is_open() {
            self.error = lost.error;
        }
        match (lost.reason, &self.transport) {
            (DisconnectReason::ParseError, _) => self.session.handle_invalid_packet(now),
            (_, OpenTransport::Polling(_)) => self.session.handle_request_failed(now),
            (DisconnectReason::TransportClose, OpenTransport::WebSocket(_)) => {
                self.session.handle_websocket_lost(CloseReason::TransportClose, now);
            }
            (_, OpenTransport::WebSocket(_)) => {
                self.session.handle_websocket_lost(CloseReason::TransportError, now);
            }
        }
    }

    /// Does what the session asks for.
    fn settle(&mut self) {
        while let Some(transmit) = self.session.poll_transmit() {
            match transmit {
                Transmit::DropProbe => self.probing = None,
                Transmit::Probe => {
                    if let Some(Probing::Open { queue, .. }) = self.probing.as_deref_mut() {
                        queue.push(Outgoing::control(b"2probe"));
                    }
                }
                Transmit::Upgrade => {
                    if let Some(Probing::Open { websocket, .. }) = self.probing.take().map(|probing| *probing) {
                        self.transport = OpenTransport::WebSocket(websocket);
                        self.queue.push_front(Outgoing::control(b"5"));
                    }
                }
                Transmit::Ping => self.queue.push(Outgoing::control(b"2")),
                Transmit::Pong => self.queue.push(Outgoing::control(format!("3{}", self.ping_data).as_bytes())),
                Transmit::ClosePacket => self.queue.push(Outgoing::control(b"1")),
                Transmit::CloseFrame(code) => self.queue.push(Outgoing::close_frame(code)),
                // What waits is for the next connection, which takes it by `take_unsent`. The sending side is shut
                // whenever nothing waits on a session that is closed. Only servers answer probes.
                Transmit::Discard | Transmit::Shut | Transmit::ProbeAnswer => {}
            }
        }
    }

    /// Whether more may be read: it can be handled, and the server takes the answers to what was read before.
    fn may_read(&self, receiver: &impl Receiver) -> bool {
        receiver.is_ready() && self.backlog() <= self.config.send_buffer.bytes
    }

    fn read_polling(&mut self, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Result<(), Lost> {
        for _ in 0..READS_A_TURN {
            if !self.may_read(receiver) {
                return Ok(());
            }
            let OpenTransport::Polling(polling) = &mut self.transport else { return Ok(()) };
            let body = match polling.poll_read(cx, &mut self.session) {
                Poll::Pending => return Ok(()),
                Poll::Ready(body) => body?,
            };
            self.on_body(&body, cx, receiver)?;
            self.session.handle_get_answered(Instant::now());
            self.settle();
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn on_body(&mut self, body: &Body, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Result<(), Lost> {
        let now = Instant::now();
        let mut result = Ok(());
        let mut empty = self.probing.is_none();
        let Self { session, ping_data, config, .. } = self;
        session.handle_input(|| now);
        let decoded = body.decode(config.engine_version, |packet| {
            config.log_received(Transport::Polling, &packet);
            empty &= packet == Packet::Noop;
            result = on_packet(&packet, Transport::Polling, session, ping_data, cx, now, receiver);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        result?;
        decoded.map_err(|error| Lost::by(DisconnectReason::ParseError, error))?;
        self.empty_polls = if empty { self.empty_polls + 1 } else { 0 };
        if self.empty_polls > EMPTY_POLLS {
            let error = "the server ends every poll at once, as if an upgrade were under way";
            return Err(Lost::by(DisconnectReason::TransportError, error));
        }
        Ok(())
    }

    fn read_websocket(&mut self, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Result<(), Lost> {
        for _ in 0..READS_A_TURN {
            if !self.may_read(receiver) || self.session.has_ended() {
                return Ok(());
            }
            if self.read_frames(cx, receiver)?.is_pending() {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn read_frames(&mut self, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Result<Poll<()>, Lost> {
        let Self { transport, session, ping_data, config, .. } = self;
        let OpenTransport::WebSocket(websocket) = transport else { return Ok(Poll::Pending) };
        let (limits, revision) = (websocket.limits(), config.engine_version);
        with_read_buffer(|buffer| {
            let count = match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(Lost::new(DisconnectReason::TransportClose)),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Err(Lost::by(DisconnectReason::TransportError, error)),
            };
            let now = Instant::now();
            session.handle_input(|| now);
            let mut input = buffer.get_mut(..count).unwrap_or_default();
            while !input.is_empty() {
                if !receiver.is_ready() {
                    websocket.put_back(input);
                    break;
                }
                let decoded = websocket.decoder.decode(input, &limits);
                let (consumed, event) = decoded.map_err(|error| Lost::by(DisconnectReason::TransportError, error))?;
                let mut pong = None;
                let packet = match event {
                    None | Some(Event::Pong(_)) => None,
                    Some(Event::Ping(payload)) => {
                        pong = Some(payload.to_vec());
                        None
                    }
                    Some(Event::Close(code)) => {
                        session.handle_websocket_closed(code.map(|(code, _)| code), now);
                        return Ok(Poll::Pending);
                    }
                    Some(Event::Text(text)) => Some(Packet::parse_text(text, revision)),
                    Some(Event::Binary(data)) => Some(Packet::parse_binary(data, revision)),
                };
                if let Some(packet) = packet {
                    let packet = packet.map_err(|error| Lost::by(DisconnectReason::ParseError, error))?;
                    config.log_received(Transport::WebSocket, &packet);
                    on_packet(&packet, Transport::WebSocket, session, ping_data, cx, now, receiver)?;
                }
                if let Some(payload) = pong {
                    websocket.pong(payload);
                }
                input = input.get_mut(consumed..).unwrap_or_default();
            }
            websocket.decoder.release();
            Ok(Poll::Ready(()))
        })
    }

    /// Opens and probes the WebSocket that is to take over, as far as that goes without waiting.
    fn poll_probing(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(Probing::Dialing(dialing)) = self.probing.as_deref_mut() {
            match dialing.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => {
                    let (sid, error) = (self.short_sid(), with_causes(&error));
                    tracing::debug!(sid, error, "the WebSocket of an upgrade could not be opened");
                    self.probing = None;
                    self.session.handle_probe_refused();
                }
                Poll::Ready(Ok(websocket)) => {
                    self.probing = self.session.handle_probe_opened(now).ok().map(|probe| {
                        Box::new(Probing::Open { websocket, queue: Queue::default(), probe, answered: false })
                    });
                    self.settle();
                }
            }
        }
        let Self { probing, session, config, .. } = self;
        if let Some(Probing::Open { websocket, queue, probe, answered: answered @ false }) = probing.as_deref_mut() {
            match poll_probe(websocket, queue, config, cx) {
                Poll::Pending => {}
                Poll::Ready(Err(error)) => session.handle_probe_lost(*probe, error),
                Poll::Ready(Ok(answer)) => {
                    *answered = session.handle_probe_packet(*probe, &answer, now) == ProbeStep::Wait;
                }
            }
        }
    }
}

fn on_packet(
    packet: &Packet<'_>,
    via: Transport,
    session: &mut Session,
    ping_data: &mut String,
    cx: &mut Context<'_>,
    now: Instant,
    receiver: &mut impl Receiver,
) -> Result<(), Lost> {
    if let Packet::Ping(data) = packet {
        (*data).clone_into(ping_data);
    }
    match (session.handle_packet(via, packet, now), packet) {
        (Delivery::Deliver, Packet::Text(text)) => receiver.text(text, cx),
        (Delivery::Deliver, Packet::Binary(data)) => receiver.binary(data, cx),
        _ => Ok(()),
    }
}

/// Sends the probe and awaits its answer. What follows the answer is left unread.
fn poll_probe(
    websocket: &mut WebSocket,
    queue: &mut Queue,
    config: &Config,
    cx: &mut Context<'_>,
) -> Poll<Result<Packet<'static>, UpgradeError>> {
    if let Poll::Ready(Err(_)) = websocket.poll_write(cx, queue) {
        return Poll::Ready(Err(UpgradeError::Broken));
    }
    websocket.poll_event(cx, |input| match input {
        Input::Event(Event::Text("3probe")) => {
            let answer = Packet::Pong("probe");
            config.log_received(Transport::WebSocket, &answer);
            Ok(answer)
        }
        Input::Event(Event::Close(_)) | Input::End => Err(UpgradeError::Closed),
        Input::Event(_) | Input::Invalid(..) => Err(UpgradeError::Unexpected),
        Input::Broken(_) => Err(UpgradeError::Broken),
    })
}

fn disconnect_reason(reason: CloseReason) -> DisconnectReason {
    match reason {
        CloseReason::ForcedClose | CloseReason::ServerShuttingDown => DisconnectReason::ClientDisconnect,
        CloseReason::TransportClose => DisconnectReason::TransportClose,
        CloseReason::PingTimeout => DisconnectReason::PingTimeout,
        CloseReason::ParseError => DisconnectReason::ParseError,
        CloseReason::TransportError | CloseReason::SlowConsumer => DisconnectReason::TransportError,
    }
}
