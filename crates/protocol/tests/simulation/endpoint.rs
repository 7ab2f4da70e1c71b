use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use sockeye_protocol::engineio::session::{
    CloseReason, Event, Probe, Role, Session, Timing, Transmit, TransportKind, UpgradeError,
};

use super::{
    Fault,
    schedule::Schedule,
    wire::{Frame, Happening},
};

/// One end: a session and the plainest driver there can be around it.
pub(crate) struct Endpoint {
    pub(crate) role: Role,
    pub(crate) session: Session,
    pub(crate) fault: Fault,
    /// What waits to be sent.
    pub(crate) outbox: VecDeque<Frame>,
    /// The GET that waits (server) or is under way (client).
    pub(crate) get: Option<u64>,
    /// The POST that is under way.
    pub(crate) post: Option<u64>,
    pub(crate) websocket: Option<u64>,
    pub(crate) probe: Option<(Probe, u64)>,
    /// What came before the end reads it, by the WebSocket that is to take over.
    pub(crate) ahead: Vec<Frame>,
    /// Whether the next GET is answered by a noop that nobody asked for.
    pub(crate) doubles_noop: bool,
    pub(crate) is_frozen: bool,
    pub(crate) is_held: bool,
    /// What came while it was frozen or held.
    pub(crate) backlog: VecDeque<Happening>,
    /// When the timer is set to, in microseconds.
    pub(crate) timer: Option<u64>,
    pub(crate) record: Record,
}

/// What is checked.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// How many messages it was asked to send while the session was open, and when in microseconds.
    pub(crate) sent: Vec<u64>,
    /// The messages it has received.
    pub(crate) received: Vec<usize>,
    pub(crate) closed: Vec<CloseReason>,
    pub(crate) ended: usize,
    pub(crate) upgraded: usize,
    /// The times at which it answered a GET with a noop while open.
    pub(crate) noops: Vec<u64>,
    /// Whether it stood still or did not read for a while.
    pub(crate) was_away: bool,
    pub(crate) complaint: Option<String>,
}

/// The times of every simulated session.
pub(crate) const PING_INTERVAL: Duration = Duration::from_millis(300);
pub(crate) const PING_TIMEOUT: Duration = Duration::from_millis(200);
pub(crate) const UPGRADE_TIMEOUT: Duration = Duration::from_millis(400);
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(250);

impl Endpoint {
    pub(crate) fn new(role: Role, schedule: &Schedule, fault: Fault, now: Instant) -> Self {
        let timing =
            Timing::new(PING_INTERVAL, PING_TIMEOUT).upgrade_timeout(UPGRADE_TIMEOUT).close_timeout(CLOSE_TIMEOUT);
        Self {
            role,
            session: Session::new(role, schedule.revision, schedule.transport, timing, now),
            fault,
            outbox: VecDeque::new(),
            get: None,
            post: None,
            websocket: (schedule.transport == TransportKind::WebSocket).then_some(0),
            probe: None,
            ahead: Vec::new(),
            doubles_noop: false,
            is_frozen: false,
            is_held: false,
            backlog: VecDeque::new(),
            timer: None,
            record: Record::default(),
        }
    }

    /// Whoever emits: asks the session, appends and writes. Returns whether it was taken.
    pub(crate) fn send(&mut self, at: u64) -> bool {
        if !self.session.is_open() {
            return false;
        }
        let number = self.record.sent.len();
        self.record.sent.push(at);
        self.outbox.push_back(Frame::Packet(format!("4{number}")));
        true
    }

    /// A message has come. Its number must be the next.
    pub(crate) fn deliver(&mut self, message: &str) {
        match message.parse() {
            Ok(number) if number == self.record.received.len() => self.record.received.push(number),
            _ => self.complain(format!("received message {message} as number {}", self.record.received.len())),
        }
    }

    pub(crate) fn complain(&mut self, complaint: String) {
        self.record.complaint.get_or_insert(complaint);
    }

    /// Does what the session asks for, but for what concerns the WebSocket that probes, which is returned.
    pub(crate) fn obey(&mut self, pong: &str) -> Vec<Transmit> {
        let mut for_probe = Vec::new();
        while let Some(transmit) = self.session.poll_transmit() {
            match transmit {
                Transmit::DropProbe | Transmit::Probe | Transmit::ProbeAnswer => for_probe.push(transmit),
                Transmit::Upgrade => self.outbox.push_front(Frame::Packet("5".to_owned())),
                Transmit::Ping => self.outbox.push_back(Frame::Packet("2".to_owned())),
                Transmit::Pong if self.fault == Fault::ForgetsPong && self.record.received.len() % 2 == 1 => {}
                Transmit::Pong => self.outbox.push_back(Frame::Packet(format!("3{pong}"))),
                Transmit::Discard => self.outbox.clear(),
                Transmit::ClosePacket => self.outbox.push_back(Frame::Packet("1".to_owned())),
                Transmit::CloseFrame(code) => self.outbox.push_back(Frame::Close(code)),
                Transmit::Shut => self.outbox.push_back(Frame::Fin),
            }
        }
        for_probe
    }

    /// Takes note of what happened; says whether the session has just moved to its WebSocket.
    pub(crate) fn note_events(&mut self) {
        while let Some(event) = self.session.poll() {
            match event {
                Event::Upgraded => {
                    self.record.upgraded += 1;
                    let Some((_, websocket)) = self.probe.take() else {
                        self.complain("upgraded to a WebSocket that is none".to_owned());
                        continue;
                    };
                    self.websocket = Some(websocket);
                    if self.fault == Fault::LosesFlush {
                        self.outbox.retain(|frame| *frame == Frame::Packet("5".to_owned()));
                    }
                }
                Event::UpgradeFailed(UpgradeError::SessionClosed) if self.session.is_open() => {
                    self.complain("an upgrade failed because of a close, but the session is open".to_owned());
                }
                Event::UpgradeFailed(_) => {}
                Event::Closed(_) if self.fault == Fault::EndsWithoutReason && self.role == Role::Server => {}
                Event::Closed(reason) => self.record.closed.push(reason),
                Event::Ended => self.record.ended += 1,
            }
        }
    }
}
