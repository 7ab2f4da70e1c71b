use std::time::{Duration, Instant};

use sockeye_protocol::engineio::{
    Packet,
    session::{CloseReason, Delivery, GetAnswer, ProbeStep, Role, Transmit, TransportKind, UpgradeError},
};

use super::{
    Fault, checks,
    endpoint::Endpoint,
    random::Random,
    schedule::{ACTIVE, Schedule},
    wire::{Agenda, Direction, Frame, Happening},
};

/// Both ends, what is between them, and the time.
pub(crate) struct World {
    pub(crate) schedule: Schedule,
    random: Random,
    start: Instant,
    /// In microseconds since the start.
    pub(crate) now: u64,
    agenda: Agenda,
    pub(crate) ends: [Endpoint; 2],
    /// The WebSockets, each with its directions to the server and to the client.
    websockets: Vec<[Direction; 2]>,
    requests: u64,
    trace: Option<Vec<String>>,
    pub(crate) fault: Fault,
}

/// After the misfortunes are over, everything comes to rest within this time, in milliseconds.
const REST: u64 = 1_500;

/// No schedule has more to do than this; one that has goes round in circles.
const MOST_STEPS: usize = 20_000;

const fn index(role: Role) -> usize {
    match role {
        Role::Server => 0,
        Role::Client => 1,
    }
}

pub(crate) const fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

impl World {
    pub(crate) fn new(seed: u64, fault: Fault, traces: bool) -> Self {
        let mut random = Random::new(seed);
        let schedule = Schedule::new(&mut random);
        let start = Instant::now();
        let mut agenda = Agenda::default();
        let mut add = |at: u64, role, happening| agenda.add(at * 1_000, role, happening);
        for role in [Role::Server, Role::Client] {
            for _ in 0..schedule.messages[index(role)] {
                add(random.between(0, ACTIVE), role, Happening::Send);
            }
        }
        if let Some(at) = schedule.upgrade_at {
            add(at, Role::Client, Happening::Upgrade);
            add(at + 500, Role::Client, Happening::Upgrade);
        }
        if let Some(at) = schedule.second_get_at {
            add(at, Role::Server, Happening::SecondGet);
        }
        if let Some((role, at, reason)) = schedule.close {
            add(at, role, Happening::Close { reason });
        }
        if let Some((at, unaware)) = schedule.cut_websocket_at {
            add(at, Role::Client, Happening::Cut { unaware });
        }
        if let Some((role, at, length)) = schedule.freeze {
            add(at, role, Happening::Freeze);
            add(at + length, role, Happening::Thaw);
        }
        if let Some((role, at, length)) = schedule.hold {
            add(at, role, Happening::Hold);
            add(at + length, role, Happening::Resume);
        }
        let ends = [Role::Server, Role::Client].map(|role| Endpoint::new(role, &schedule, fault, start));
        let websockets = if schedule.transport == TransportKind::WebSocket { vec![Default::default()] } else { vec![] };
        let trace = traces.then(Vec::new);
        Self { schedule, random, start, now: 0, agenda, ends, websockets, requests: 0, trace, fault }
    }

    /// Runs until everything is at rest, and checks at every step.
    pub(crate) fn run(mut self) -> Result<(), (String, Vec<String>)> {
        match self.run_steps() {
            Ok(()) => Ok(()),
            Err(complaint) => {
                let complaint = format!("{complaint} ({} µs after the start; {:?})", self.now, self.schedule);
                Err((complaint, self.trace.unwrap_or_default()))
            }
        }
    }

    fn run_steps(&mut self) -> Result<(), String> {
        for role in [Role::Server, Role::Client] {
            self.settle(role, "");
        }
        let end = (self.schedule.last_misfortune() + REST) * 1_000;
        let mut steps = 0;
        while let Some((at, role, happening)) = self.agenda.next() {
            if at > end {
                break;
            }
            steps += 1;
            if steps > MOST_STEPS {
                return Err("the ends keep each other busy for ever".to_owned());
            }
            self.now = at;
            self.happen(role, happening);
            checks::at_every_step(self)?;
        }
        checks::at_rest(self)
    }

    pub(crate) fn end(&self, role: Role) -> &Endpoint {
        &self.ends[index(role)]
    }

    fn end_mut(&mut self, role: Role) -> &mut Endpoint {
        &mut self.ends[index(role)]
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    /// The microseconds from the start to `instant`.
    pub(crate) fn micros(&self, instant: Instant) -> u64 {
        instant.duration_since(self.start).as_micros().try_into().unwrap()
    }

    fn trace(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>9} {}", line()));
        }
    }

    /// How long a delivery takes.
    fn delay(&mut self) -> u64 {
        let late = self.random.percent(self.schedule.late_deliveries);
        self.random.between(50, if late { 25_000 } else { 8_000 })
    }

    fn happen(&mut self, role: Role, happening: Happening) {
        let now = self.now;
        let end = self.end_mut(role);
        if matches!(happening, Happening::Timer) {
            // The one that is set counts.
            if end.is_frozen || end.timer.take_if(|at| *at == now).is_none() {
                return;
            }
        }
        if let Happening::Frames { websocket, frames } = &happening
            && *frames != [Frame::Reset]
            && self.directions(*websocket)[index(role)].is_broken
        {
            return;
        }
        let end = self.end_mut(role);
        let is_network = matches!(happening, Happening::Cut { .. } | Happening::Abandon { .. } | Happening::Thaw);
        let waits = end.is_frozen && !is_network || end.is_held && happening.is_read();
        if waits {
            return end.backlog.push_back(happening);
        }
        self.trace(|| format!("{role:?} {happening:?}"));
        let now = self.instant();
        let mut pong = String::new();
        match happening {
            Happening::Send => {
                let at = self.now;
                self.end_mut(role).send(at);
            }
            Happening::Close { reason } => self.end_mut(role).session.close(reason, now),
            Happening::Timer => self.end_mut(role).session.handle_timeout(now),
            Happening::Freeze => {
                self.end_mut(role).is_frozen = true;
                self.end_mut(role).record.was_away = true;
                return;
            }
            Happening::Thaw => return self.thaw(role),
            Happening::Hold => {
                self.end_mut(role).is_held = true;
                self.end_mut(role).record.was_away = true;
                self.end_mut(role).session.hold_input();
            }
            Happening::Resume => {
                self.end_mut(role).is_held = false;
                self.end_mut(role).session.resume_input(|| now);
                self.work_off_backlog(role);
            }
            Happening::Get { request } => self.get(request),
            Happening::GetBroken { request } => {
                let server = self.end_mut(Role::Server);
                if server.get.take_if(|get| *get == request).is_some() {
                    server.session.handle_get_lost(now);
                }
            }
            Happening::Post { request, packets } => pong = self.post(request, &packets),
            Happening::GetAnswer { request, answer } => pong = self.get_answer(request, answer),
            Happening::PostAnswer { request, answer } => self.post_answer(request, answer),
            Happening::Upgrade => {
                if self.end_mut(Role::Client).session.begin_upgrade(now) {
                    self.open_websocket();
                }
            }
            Happening::SecondGet => {
                if self.end(role).get.is_some() {
                    self.get(0);
                }
            }
            Happening::Cut { unaware } => {
                if let Some(websocket) = self.end(role).websocket {
                    self.break_websocket(websocket, unaware);
                }
            }
            Happening::Abandon { websocket, unaware } => {
                if self.end(role).websocket != Some(websocket) {
                    self.break_websocket(websocket, unaware);
                }
            }
            Happening::WebSocketOpen { websocket } => self.websocket_open(role, websocket),
            Happening::WebSocketRefused => self.end_mut(role).session.handle_probe_refused(),
            Happening::Frames { websocket, frames } => pong = self.frames(role, websocket, frames),
        }
        self.settle(role, &pong);
    }

    /// The process goes on. Its timers may fire before it sees what has come meanwhile.
    fn thaw(&mut self, role: Role) {
        self.end_mut(role).is_frozen = false;
        if self.random.percent(50) {
            let now = self.instant();
            self.end_mut(role).session.handle_timeout(now);
            self.settle(role, "");
        }
        self.work_off_backlog(role);
        self.settle(role, "");
    }

    fn work_off_backlog(&mut self, role: Role) {
        let end = self.end_mut(role);
        let backlog = std::mem::take(&mut end.backlog);
        for happening in backlog {
            self.happen(role, happening);
        }
    }

    // The server's side of polling.

    fn get(&mut self, request: u64) {
        let now = self.instant();
        let server = self.end_mut(Role::Server);
        match server.session.handle_get(now) {
            Ok(()) => server.get = Some(request),
            Err(_) => self.answer(Happening::GetAnswer { request, answer: Err(()) }),
        }
    }

    fn post(&mut self, request: u64, packets: &[String]) -> String {
        let now = self.instant();
        let server = self.end_mut(Role::Server);
        if server.session.handle_post(now).is_err() {
            self.answer(Happening::PostAnswer { request, answer: Err(()) });
            return String::new();
        }
        let pong = self.packets(Role::Server, TransportKind::Polling, packets.iter().map(String::as_str));
        self.end_mut(Role::Server).session.handle_post_finished();
        self.answer(Happening::PostAnswer { request, answer: Ok(()) });
        pong
    }

    /// Sends an answer to the client, which may be cut.
    fn answer(&mut self, answer: Happening) {
        let at = self.now + self.delay();
        let answer = if self.is_cut() {
            match answer {
                Happening::GetAnswer { request, .. } => Happening::GetAnswer { request, answer: Err(()) },
                Happening::PostAnswer { request, .. } => Happening::PostAnswer { request, answer: Err(()) },
                other => other,
            }
        } else {
            answer
        };
        self.agenda.add(at, Role::Client, answer);
    }

    fn is_cut(&mut self) -> bool {
        self.now < ACTIVE * 1_000 && self.random.between(0, 999) < self.schedule.cut_requests
    }

    // The client's side of polling.

    fn send_get(&mut self) {
        self.requests += 1;
        let request = self.requests;
        self.end_mut(Role::Client).get.get_or_insert(request);
        let at = self.now + self.delay();
        if self.is_cut() {
            // On its way, or while it waits.
            let broken = at + self.random.between(0, 100_000);
            if self.random.percent(50) {
                self.agenda.add(at, Role::Server, Happening::Get { request });
                self.agenda.add(broken, Role::Server, Happening::GetBroken { request });
            }
            self.agenda.add(broken, Role::Client, Happening::GetAnswer { request, answer: Err(()) });
            return;
        }
        self.agenda.add(at, Role::Server, Happening::Get { request });
    }

    fn send_post(&mut self) {
        self.requests += 1;
        let request = self.requests;
        let most = self.random.between(1, 4);
        let client = self.end_mut(Role::Client);
        client.post = Some(request);
        let mut packets = Vec::new();
        while packets.len() < most.try_into().unwrap()
            && let Some(Frame::Packet(packet)) = client.outbox.pop_front()
        {
            packets.push(packet);
        }
        let at = self.now + self.delay();
        if self.is_cut() {
            return self.agenda.add(at, Role::Client, Happening::PostAnswer { request, answer: Err(()) });
        }
        self.agenda.add(at, Role::Server, Happening::Post { request, packets });
    }

    fn get_answer(&mut self, request: u64, answer: Result<Vec<String>, ()>) -> String {
        let now = self.instant();
        let client = self.end_mut(Role::Client);
        // Whatever comes by a request that nobody waits for is read by nobody.
        if client.get != Some(request) {
            return String::new();
        }
        client.get = None;
        let Ok(packets) = answer else {
            client.session.handle_request_failed(now);
            return String::new();
        };
        let pong = self.packets(Role::Client, TransportKind::Polling, packets.iter().map(String::as_str));
        self.end_mut(Role::Client).session.handle_get_answered(now);
        pong
    }

    fn post_answer(&mut self, request: u64, answer: Result<(), ()>) {
        let now = self.instant();
        let client = self.end_mut(Role::Client);
        if client.post != Some(request) {
            return;
        }
        client.post = None;
        match answer {
            Ok(()) => {
                client.session.handle_post_answered(now);
                if client.outbox.is_empty() {
                    client.session.handle_flushed();
                }
            }
            Err(()) => client.session.handle_request_failed(now),
        }
    }

    // WebSockets.

    fn open_websocket(&mut self) {
        let websocket = self.websockets.len() as u64;
        self.websockets.push(Default::default());
        let at = self.now + self.delay();
        if self.random.percent(self.schedule.abandoned_upgrades / 4) {
            return self.agenda.add(at, Role::Client, Happening::WebSocketRefused);
        }
        self.agenda.add(at, Role::Server, Happening::WebSocketOpen { websocket });
    }

    fn websocket_open(&mut self, role: Role, websocket: u64) {
        let now = self.instant();
        let opened = self.end_mut(role).session.handle_probe_opened(now);
        match opened {
            Ok(probe) => self.end_mut(role).probe = Some((probe, websocket)),
            Err(_) => self.write(role, websocket, vec![Frame::Close(None), Frame::Fin]),
        }
        if role == Role::Server {
            let at = self.now + self.delay();
            self.directions(websocket)[index(Role::Client)].last_arrival = at;
            self.agenda.add(at, Role::Client, Happening::WebSocketOpen { websocket });
        } else if self.random.percent(self.schedule.abandoned_upgrades) {
            // It falls silent or breaks after a while.
            let unaware = self.random.percent(50).then_some(Role::Server);
            let at = self.now + self.random.between(0, 150_000);
            self.agenda.add(at, Role::Client, Happening::Abandon { websocket, unaware });
        }
    }

    fn directions(&mut self, websocket: u64) -> &mut [Direction; 2] {
        &mut self.websockets[usize::try_from(websocket).unwrap()]
    }

    /// Breaks a connection; `unaware` does not learn of it.
    fn break_websocket(&mut self, websocket: u64, unaware: Option<Role>) {
        for role in [Role::Server, Role::Client] {
            self.directions(websocket)[index(role)].is_broken = true;
            if unaware != Some(role) {
                let frames = vec![Frame::Reset];
                self.agenda.add(self.now, role, Happening::Frames { websocket, frames });
            }
        }
    }

    /// Writes frames, which arrive and are read together.
    fn write(&mut self, role: Role, websocket: u64, frames: Vec<Frame>) {
        let at = self.now + self.delay();
        let peer = other(role);
        let direction = &mut self.directions(websocket)[index(peer)];
        if direction.is_shut {
            return;
        }
        direction.is_shut = frames.contains(&Frame::Fin);
        let at = at.max(direction.last_arrival);
        direction.last_arrival = at;
        self.agenda.add(at, peer, Happening::Frames { websocket, frames });
    }

    fn frames(&mut self, role: Role, websocket: u64, frames: Vec<Frame>) -> String {
        let end = self.end_mut(role);
        if end.websocket == Some(websocket) {
            return self.session_frames(role, frames);
        }
        match end.probe {
            Some((_, probing)) if probing == websocket => {}
            _ => return String::new(),
        }
        if !end.ahead.is_empty() {
            end.ahead.extend(frames);
            return String::new();
        }
        self.probe_frames(role, frames)
    }

    fn probe_frames(&mut self, role: Role, frames: Vec<Frame>) -> String {
        let now = self.instant();
        let revision = self.schedule.revision;
        let mut frames = frames.into_iter();
        while let Some(frame) = frames.next() {
            let end = self.end_mut(role);
            let Some((probe, websocket)) = end.probe else { return String::new() };
            let step = match &frame {
                Frame::Packet(text) => {
                    let packet = Packet::parse_text(text, revision).unwrap();
                    end.session.handle_probe_packet(probe, &packet, now)
                }
                Frame::Close(_) | Frame::Fin => {
                    end.session.handle_probe_lost(probe, UpgradeError::Closed);
                    ProbeStep::Close
                }
                Frame::Reset => {
                    end.session.handle_probe_lost(probe, UpgradeError::Broken);
                    ProbeStep::Close
                }
            };
            match step {
                ProbeStep::Read => {}
                ProbeStep::Wait => {
                    end.ahead.extend(frames);
                    return String::new();
                }
                ProbeStep::Upgraded => {
                    self.settle(role, "");
                    if self.fault == Fault::DropsEarlyPacket {
                        return String::new();
                    }
                    return self.session_frames(role, frames.collect());
                }
                ProbeStep::Close => {
                    end.probe = None;
                    self.write(role, websocket, vec![Frame::Close(None), Frame::Fin]);
                    return String::new();
                }
            }
        }
        String::new()
    }

    fn session_frames(&mut self, role: Role, frames: Vec<Frame>) -> String {
        let now = self.instant();
        let mut pong = String::new();
        for frame in frames {
            match frame {
                Frame::Packet(text) => {
                    pong = self.packets(role, TransportKind::WebSocket, [text.as_str()].into_iter());
                }
                Frame::Close(code) => self.end_mut(role).session.handle_websocket_closed(code, now),
                Frame::Fin => self.end_mut(role).session.handle_websocket_lost(CloseReason::TransportClose, now),
                Frame::Reset => self.end_mut(role).session.handle_websocket_lost(CloseReason::TransportError, now),
            }
            self.settle(role, &pong);
        }
        pong
    }

    /// Hands packets to the session and messages to the application; returns the data of the last ping.
    fn packets<'a>(&mut self, role: Role, via: TransportKind, packets: impl Iterator<Item = &'a str>) -> String {
        let now = self.instant();
        let revision = self.schedule.revision;
        let mut pong = String::new();
        for text in packets {
            let end = self.end_mut(role);
            end.session.handle_input(|| now);
            let packet = Packet::parse_text(text, revision).unwrap();
            let delivery = end.session.handle_packet(via, &packet, now);
            match packet {
                Packet::Text(message) if delivery == Delivery::Deliver => end.deliver(message),
                Packet::Ping(data) => data.clone_into(&mut pong),
                _ => {}
            }
        }
        pong
    }

    // What a driver does after every input.

    fn settle(&mut self, role: Role, pong: &str) {
        loop {
            let for_probe = self.end_mut(role).obey(pong);
            for transmit in &for_probe {
                self.obey_probe(role, *transmit);
            }
            self.end_mut(role).note_events();
            let wrote = self.flush(role);
            if !wrote && for_probe.is_empty() && !self.end(role).session.has_events() {
                break;
            }
        }
        let end = self.end_mut(role);
        if end.websocket.is_some() && !end.ahead.is_empty() {
            let ahead = std::mem::take(&mut end.ahead);
            self.session_frames(role, ahead);
        }
        self.set_timer(role);
    }

    fn obey_probe(&mut self, role: Role, transmit: Transmit) {
        let Some((_, websocket)) = self.end(role).probe else { return };
        let frames = match transmit {
            Transmit::Probe => vec![Frame::Packet("2probe".to_owned())],
            Transmit::ProbeAnswer => vec![Frame::Packet("3probe".to_owned())],
            _ => {
                self.end_mut(role).probe = None;
                self.end_mut(role).ahead.clear();
                vec![Frame::Close(None), Frame::Fin]
            }
        };
        self.write(role, websocket, frames);
    }

    /// Writes what waits where it may go now; says whether it did anything.
    fn flush(&mut self, role: Role) -> bool {
        let end = self.end(role);
        if role == Role::Client && end.session.has_ended() && end.get.is_some() {
            return self.drop_get();
        }
        match (end.session.transport(), role) {
            (TransportKind::WebSocket, _) => self.flush_websocket(role),
            (TransportKind::Polling, Role::Server) => self.answer_get(),
            (TransportKind::Polling, Role::Client) => self.send_requests(),
        }
    }

    fn flush_websocket(&mut self, role: Role) -> bool {
        // A GET that waits although the session has moved is answered all the same.
        let answered = role == Role::Server && self.end(role).get.is_some() && self.answer_get();
        let end = self.end_mut(role);
        let (Some(websocket), false) = (end.websocket, end.outbox.is_empty()) else { return answered };
        let frames: Vec<_> = end.outbox.drain(..).collect();
        end.session.handle_flushed();
        self.write(role, websocket, frames);
        true
    }

    /// The client is gone, and its GET breaks off sooner or later.
    fn drop_get(&mut self) -> bool {
        let at = self.now + self.delay();
        if let Some(request) = self.end_mut(Role::Client).get.take() {
            self.agenda.add(at, Role::Server, Happening::GetBroken { request });
        }
        false
    }

    fn answer_get(&mut self) -> bool {
        let server = &mut self.ends[0];
        let Some(request) = server.get else { return false };
        let was_open = server.session.is_open();
        let answer = server.session.answer_get(!server.outbox.is_empty());
        let Some(answer) = answer.or(server.doubles_noop.then_some(GetAnswer::Noop)) else { return false };
        server.get = None;
        let answer = match answer {
            GetAnswer::Waiting => {
                let packets = server.outbox.drain(..).map(|frame| match frame {
                    Frame::Packet(packet) => packet,
                    other => panic!("{other:?} is no packet"),
                });
                let packets = packets.collect();
                server.session.handle_flushed();
                Ok(packets)
            }
            GetAnswer::Noop => {
                if was_open {
                    server.record.noops.push(self.now);
                    server.doubles_noop = self.fault == Fault::DoublesNoop && !server.doubles_noop;
                }
                Ok(vec!["6".to_owned()])
            }
            GetAnswer::Close => Ok(vec!["1".to_owned()]),
            GetAnswer::Gone | GetAnswer::Moved => Err(()),
        };
        self.answer(Happening::GetAnswer { request, answer });
        true
    }

    fn send_requests(&mut self) -> bool {
        let client = &mut self.ends[1];
        let (held, waiting) = (client.is_held, !client.outbox.is_empty());
        let gets = !held && client.session.begin_get();
        let posts = waiting && client.session.begin_post();
        if gets {
            self.send_get();
        }
        if posts {
            self.send_post();
        }
        gets || posts
    }

    fn set_timer(&mut self, role: Role) {
        let due = self.end(role).session.poll_timeout().map(|at| self.micros(at).max(self.now));
        if due != self.end(role).timer {
            self.end_mut(role).timer = due;
            if let Some(due) = due {
                self.agenda.add(due, role, Happening::Timer);
            }
        }
    }
}
