use std::{
    collections::VecDeque,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use parking_lot::Mutex;
use sockeye_protocol::{
    engineio::{Packet, Revision},
    websocket::{CloseCode, Event, with_read_buffer},
};

use crate::{
    ConnectError, DisconnectReason, Transport,
    connection::heartbeat::{Beat, Heartbeat},
    connection::packet::{Outgoing, Queue},
    connection::transport::{Body, Lost, OpenTransport, Opened, WebSocket},
    settings::config::Config,
};

/// Takes the messages of a connection.
pub(crate) trait Receiver {
    /// Whether it can take more at present.
    fn is_ready(&self) -> bool;
    /// A text message.
    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Lost>;
    /// A binary message.
    fn binary(&mut self, data: &[u8], cx: &mut Context<'_>) -> Result<(), Lost>;
}

/// A connection that can be written to from any task. Whoever locks it and the core, locks it first.
pub(crate) type Link = Arc<Mutex<Connection>>;

/// One Engine.IO session, from its opening to its end.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<Config>,
    pub(crate) sid: Arc<str>,
    pub(crate) opened: Instant,
    revision: Revision,
    heartbeat: Heartbeat,
    transport: OpenTransport,
    upgrade: Option<Box<Upgrade>>,
    /// What is to be sent, in order.
    queue: Queue,
    /// Whether this side has said its last word.
    closing: bool,
    /// How many polls in a row brought nothing while there was no upgrade to make room for.
    empty_polls: u32,
}

/// The move from polling to WebSocket: a second connection is probed, then polling is brought to an end.
struct Upgrade {
    until: Instant,
    stage: UpgradeStage,
}

enum UpgradeStage {
    Dialing(Pin<Box<dyn Future<Output = Result<WebSocket, ConnectError>> + Send>>),
    Probing {
        websocket: WebSocket,
        queue: Queue,
    },
    /// The probe was answered; the requests under way are awaited.
    Draining(WebSocket),
}

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// It moved to WebSocket.
    Upgraded,
    /// It stays on polling.
    UpgradeFailed,
    Lost(Lost),
}

/// So many polls in a row may bring nothing. A server ends one poll for an upgrade; python-engineio ends all, for ever and
/// at once, when the WebSocket breaks before its probe, and the session delivers nothing any more.
const EMPTY_POLLS: u32 = 16;

/// How often one turn reads before others get theirs.
const READS_A_TURN: usize = 8;

impl Connection {
    pub(crate) fn new(opened: Opened, config: Arc<Config>, now: Instant) -> Self {
        let Opened { handshake, transport } = opened;
        let revision = config.engine_version.revision();
        let heartbeat = Heartbeat::new(revision, &handshake, now);
        let mut connection = Self {
            sid: handshake.sid.as_str().into(),
            opened: now,
            revision,
            heartbeat,
            transport,
            upgrade: None,
            queue: Queue::default(),
            closing: false,
            empty_polls: 0,
            config,
        };
        connection.begin_upgrade(&handshake.upgrades, now);
        connection
    }

    pub(crate) fn transport(&self) -> Transport {
        match self.transport {
            OpenTransport::Polling(_) => Transport::Polling,
            OpenTransport::WebSocket(_) => Transport::WebSocket,
        }
    }

    /// The beginning of the session's identifier, for logs: whoever knows the whole can poll in our name.
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

    /// Moves things on: reads, writes, upgrades. Ready whenever something happened that matters to others.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Poll<Change> {
        let read = match self.transport {
            OpenTransport::Polling(_) => self.read_polling(cx, receiver),
            OpenTransport::WebSocket(_) => self.read_websocket(cx, receiver),
        };
        if let Err(lost) = read {
            return Poll::Ready(Change::Lost(lost));
        }
        if let Poll::Ready(Err(lost)) = self.poll_write(cx) {
            return Poll::Ready(Change::Lost(lost));
        }
        // Last, because what was read or written may have been what it waits for.
        self.poll_upgrade(cx)
    }

    /// When [`keep_time`](Self::keep_time) is worth calling next.
    pub(crate) fn deadline(&self) -> Instant {
        let beat = self.heartbeat.deadline();
        self.upgrade.as_ref().map_or(beat, |upgrade| upgrade.until.min(beat))
    }

    /// Does what is due at `now`. `paused` says that nothing was read of late, so that the server may not be called
    /// silent.
    pub(crate) fn keep_time(&mut self, now: Instant, paused: bool) -> Option<Change> {
        if paused {
            self.heartbeat.heard(now);
        }
        match self.heartbeat.beat(now) {
            Beat::Early => {}
            Beat::Ping => self.send(Outgoing::control(b"2")),
            Beat::Dead => return Some(Change::Lost(Lost::new(DisconnectReason::PingTimeout))),
        }
        self.upgrade.take_if(|upgrade| now >= upgrade.until)?;
        Some(self.stay_on_polling("it took too long"))
    }

    /// Says goodbye, behind everything that is to be sent.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.upgrade = None;
        if let OpenTransport::Polling(polling) = &mut self.transport {
            polling.paused = false;
            self.queue.push(Outgoing::control(b"1"));
        }
    }

    /// After [`close`](Self::close): ready when everything is said and the server has seen it.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Poll<()> {
        match self.poll_write(cx) {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => match &mut self.transport {
                OpenTransport::Polling(_) => return Poll::Ready(()),
                OpenTransport::WebSocket(websocket) if self.closing => {
                    websocket.close(CloseCode::NORMAL);
                    self.closing = false;
                    cx.waker().wake_by_ref();
                }
                OpenTransport::WebSocket(websocket) => {
                    if let Poll::Ready(Err(_)) = websocket.poll_shutdown(cx) {
                        return Poll::Ready(());
                    }
                }
            },
        }
        // Reading to the end keeps our last words from being lost to a reset.
        if self.transport() == Transport::WebSocket && self.read_websocket(cx, receiver).is_err() {
            return Poll::Ready(());
        }
        Poll::Pending
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
            OpenTransport::Polling(polling) => polling.poll_write(cx, &mut self.queue),
            OpenTransport::WebSocket(websocket) => websocket
                .poll_write(cx, &mut self.queue)
                .map_err(|error| Lost::by(DisconnectReason::TransportError, error)),
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
            let body = match polling.poll_read(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(body) => body?,
            };
            self.heartbeat.heard(Instant::now());
            self.on_body(&body, cx, receiver)?;
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn on_body(&mut self, body: &Body, cx: &mut Context<'_>, receiver: &mut impl Receiver) -> Result<(), Lost> {
        let mut result = Ok(());
        let mut empty = self.upgrade.is_none();
        let Self { revision, queue, config, .. } = self;
        let decoded = body.decode(*revision, |packet| {
            config.packet_log().received(Transport::Polling, &packet);
            empty &= packet == Packet::Noop;
            result = on_packet(packet, queue, cx, receiver);
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
            if !self.may_read(receiver) {
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
        let Self { transport, heartbeat, queue, revision, config, .. } = self;
        let OpenTransport::WebSocket(websocket) = transport else { return Ok(Poll::Pending) };
        let limits = websocket.limits();
        with_read_buffer(|buffer| {
            let count = match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(Lost::new(DisconnectReason::TransportClose)),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Err(Lost::by(DisconnectReason::TransportError, error)),
            };
            heartbeat.heard(Instant::now());
            let mut input = buffer.get_mut(..count).unwrap_or_default();
            while !input.is_empty() {
                if !receiver.is_ready() {
                    websocket.put_back(input);
                    break;
                }
                let decoded = websocket.decoder.decode(input, &limits);
                let (consumed, event) = decoded.map_err(|error| Lost::by(DisconnectReason::TransportError, error))?;
                let mut pong = None;
                match event {
                    None | Some(Event::Pong(_)) => {}
                    Some(Event::Ping(payload)) => pong = Some(payload.to_vec()),
                    Some(Event::Close(_)) => return Err(Lost::new(DisconnectReason::TransportClose)),
                    Some(Event::Text(text)) => {
                        let packet = Packet::parse_text(text, *revision)
                            .map_err(|error| Lost::by(DisconnectReason::ParseError, error))?;
                        config.packet_log().received(Transport::WebSocket, &packet);
                        on_packet(packet, queue, cx, receiver)?;
                    }
                    Some(Event::Binary(data)) => {
                        let packet = Packet::parse_binary(data, *revision)
                            .map_err(|error| Lost::by(DisconnectReason::ParseError, error))?;
                        config.packet_log().received(Transport::WebSocket, &packet);
                        on_packet(packet, queue, cx, receiver)?;
                    }
                }
                if let Some(payload) = pong {
                    websocket.pong(&payload);
                }
                input = input.get_mut(consumed..).unwrap_or_default();
            }
            websocket.decoder.release();
            Ok(Poll::Ready(()))
        })
    }

    fn begin_upgrade(&mut self, upgrades: &[String], now: Instant) {
        let OpenTransport::Polling(polling) = &self.transport else { return };
        let offered = upgrades.iter().any(|upgrade| upgrade == Transport::WebSocket.as_str());
        if !offered || !self.config.upgrade || !self.config.transports.contains(&Transport::WebSocket) {
            return;
        }
        let requests = polling.requests().clone();
        let stage = UpgradeStage::Dialing(Box::pin(async move { WebSocket::connect(&requests).await }));
        self.upgrade = Some(Box::new(Upgrade { until: now + self.config.upgrade_timeout, stage }));
    }

    /// Moves the upgrade on, as far as it goes without waiting.
    fn poll_upgrade(&mut self, cx: &mut Context<'_>) -> Poll<Change> {
        let Some(mut upgrade) = self.upgrade.take() else { return Poll::Pending };
        loop {
            upgrade.stage = match upgrade.stage {
                UpgradeStage::Dialing(mut dialing) => match dialing.as_mut().poll(cx) {
                    Poll::Pending => {
                        upgrade.stage = UpgradeStage::Dialing(dialing);
                        break;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(self.stay_on_polling(&error.to_string())),
                    Poll::Ready(Ok(websocket)) => {
                        let mut queue = Queue::default();
                        queue.push(Outgoing::control(b"2probe"));
                        UpgradeStage::Probing { websocket, queue }
                    }
                },
                UpgradeStage::Probing { mut websocket, mut queue } => {
                    match poll_probe(&mut websocket, &mut queue, &self.config, cx) {
                        Poll::Pending => {
                            upgrade.stage = UpgradeStage::Probing { websocket, queue };
                            break;
                        }
                        Poll::Ready(Err(why)) => return Poll::Ready(self.stay_on_polling(&why)),
                        Poll::Ready(Ok(())) => {
                            if let OpenTransport::Polling(polling) = &mut self.transport {
                                polling.paused = true;
                            }
                            UpgradeStage::Draining(websocket)
                        }
                    }
                }
                UpgradeStage::Draining(websocket) => {
                    match &mut self.transport {
                        OpenTransport::Polling(polling) if polling.is_busy() => {
                            upgrade.stage = UpgradeStage::Draining(websocket);
                            break;
                        }
                        OpenTransport::Polling(_) | OpenTransport::WebSocket(_) => {}
                    }
                    self.queue.push_front(Outgoing::control(b"5"));
                    self.transport = OpenTransport::WebSocket(websocket);
                    return Poll::Ready(Change::Upgraded);
                }
            };
        }
        self.upgrade = Some(upgrade);
        Poll::Pending
    }

    fn stay_on_polling(&mut self, why: &str) -> Change {
        tracing::debug!(sid = self.short_sid(), why, "the upgrade to WebSocket failed; polling goes on");
        if let OpenTransport::Polling(polling) = &mut self.transport {
            polling.paused = false;
        }
        Change::UpgradeFailed
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match self.stage {
            UpgradeStage::Dialing(_) => "dialing",
            UpgradeStage::Probing { .. } => "probing",
            UpgradeStage::Draining(_) => "draining",
        };
        f.debug_struct("Upgrade").field("stage", &stage).finish_non_exhaustive()
    }
}

fn on_packet(
    packet: Packet<'_>,
    queue: &mut Queue,
    cx: &mut Context<'_>,
    receiver: &mut impl Receiver,
) -> Result<(), Lost> {
    match packet {
        Packet::Text(text) => receiver.text(text, cx),
        Packet::Binary(data) => receiver.binary(&data, cx),
        Packet::Ping(data) => {
            queue.push(Outgoing::control(format!("3{data}").as_bytes()));
            Ok(())
        }
        Packet::Close => Err(Lost::new(DisconnectReason::TransportClose)),
        Packet::Open(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop => Ok(()),
    }
}

/// Sends the probe and awaits its answer.
fn poll_probe(
    websocket: &mut WebSocket,
    queue: &mut Queue,
    config: &Config,
    cx: &mut Context<'_>,
) -> Poll<Result<(), String>> {
    let revision = config.engine_version.revision();
    if let Poll::Ready(Err(error)) = websocket.poll_write(cx, queue) {
        return Poll::Ready(Err(error.to_string()));
    }
    let limits = websocket.limits();
    with_read_buffer(|buffer| {
        loop {
            let count = match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err("the server closed it".to_owned())),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
            };
            let input = buffer.get_mut(..count).unwrap_or_default();
            let (consumed, answer) = match websocket.decoder.decode(input, &limits) {
                Ok((consumed, Some(Event::Text(text)))) => (consumed, Packet::parse_text(text, revision).ok()),
                Ok((_, None)) => continue,
                Ok((_, Some(_))) => return Poll::Ready(Err("the answer to the probe is wrong".to_owned())),
                Err(error) => return Poll::Ready(Err(error.to_string())),
            };
            answer.iter().for_each(|packet| config.packet_log().received(Transport::WebSocket, packet));
            if !matches!(answer, Some(Packet::Pong("probe"))) {
                return Poll::Ready(Err("the answer to the probe is wrong".to_owned()));
            }
            websocket.put_back(input.get(consumed..).unwrap_or_default());
            return Poll::Ready(Ok(()));
        }
    })
}
