use std::{
    sync::{Arc, Weak},
    task::Context,
    time::Instant,
};

use serde_json::value::RawValue;
use sockeye_handler::QueuedEvent;
use sockeye_protocol::socketio::{
    self, ArgsBuf, Decoder, Limits, Packet, Revision,
    membership::{Accept, TooManyEarlyEvents},
};
use tokio::sync::oneshot;

use super::{authentication::Authentication, inbox::Inbox};
use crate::{
    ConnectError, DisconnectReason, EngineVersion, Manager, Parser, Socket,
    connection::{session::Receiver, transport::Lost},
    error::{ConnectErrorKind, Refusal},
    handles::handler::AckId,
    state::{
        shared::{Core, Handle, Shared},
        socket::{AckOutcome, SocketShared},
    },
};

/// Decodes the messages of a connection and gives them to the sockets they are for.
pub(super) struct Dispatcher {
    decoder: Decoder,
    limits: Limits,
    sockets: Sockets,
}

/// The sockets of a manager, as its task sees them.
struct Sockets {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
    workers: Vec<Worker>,
    /// The id of the Engine.IO session.
    sid: Arc<str>,
    /// The acknowledgements that have arrived in this turn, and those who wait for them.
    answers: Vec<(oneshot::Sender<AckOutcome>, ArgsBuf)>,
}

/// What the task does for one socket.
struct Worker {
    socket: Arc<SocketShared>,
    inbox: Inbox,
    authentication: Authentication,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>, handle: Weak<Handle>) -> Self {
        let revision = match shared.config.engine_version {
            EngineVersion::V3 => Revision::V4,
            EngineVersion::V4 => Revision::V5,
        };
        let limits = Limits {
            // A server may send any number; what bounds them is the size of the whole.
            max_attachments: 10_000,
            max_attachment_bytes: shared.config.max_payload,
            revision,
            ..Limits::default()
        };
        let sockets = Sockets { shared, handle, workers: Vec::new(), sid: "".into(), answers: Vec::new() };
        Self { decoder: Decoder::new(), limits, sockets }
    }

    /// A connection is open.
    pub(super) fn connection_opened(&mut self, sid: Arc<str>) {
        self.decoder = Decoder::new();
        self.sockets.sid = sid;
    }

    /// Whether all handlers are done with everything.
    pub(super) fn is_idle(&self) -> bool {
        self.sockets.workers.iter().all(|worker| worker.inbox.is_idle())
    }

    /// Takes in what is new for the sockets, and lets their handlers work.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        self.sockets.add_workers();
        let Sockets { shared, handle, workers, .. } = &mut self.sockets;
        let mut core = shared.core();
        workers.iter_mut().for_each(|worker| worker.take_incoming(&mut core));
        drop(core);
        match handle.upgrade() {
            // Nobody is left to be told.
            None => workers.iter_mut().for_each(|worker| worker.inbox = Inbox::default()),
            Some(handle) => {
                let manager = Manager(handle);
                for worker in workers.iter_mut().filter(|worker| !worker.inbox.is_idle()) {
                    worker.inbox.poll(&Socket::new(manager.clone(), worker.socket.clone()), cx);
                }
            }
        }
    }

    /// Passes the acknowledgements that have arrived to the tasks that await them. A task that is woken may run at once in another
    /// thread and needs the lock, so that this is done at the end of a turn.
    pub(super) fn hand_out(&mut self) {
        // A task that awaits several mostly does so in their order. The first is passed last, so that the task then finds all.
        for (waiter, args) in std::mem::take(&mut self.sockets.answers).into_iter().rev() {
            // The future may have been dropped.
            let _gone = waiter.send(Ok(args));
        }
    }

    /// How many acknowledgements have arrived in this turn.
    pub(super) fn answers(&self) -> usize {
        self.sockets.answers.len()
    }

    /// Moves the memberships of the sockets on: makes the authentication data they ask for, and tells them the time.
    pub(super) fn poll_memberships(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Sockets { shared, workers, .. } = &mut self.sockets;
        for (index, worker) in workers.iter_mut().enumerate() {
            shared.core().handle_timeout(index, now);
            worker.authentication.poll(shared, index, now, cx);
        }
    }
}

impl Receiver for Dispatcher {
    fn is_ready(&self) -> bool {
        let limit = self.sockets.shared.config.receive_buffer;
        self.sockets.workers.iter().all(|worker| worker.inbox.bytes() <= limit)
    }

    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Lost> {
        let Self { decoder, limits, sockets } = self;
        if sockets.shared.config.parser == Parser::MessagePack {
            let error = "the server sends JSON, but the client's `parser` is MessagePack; they must agree";
            return Err(Lost::by(DisconnectReason::ParseError, error));
        }
        let decoded = decoder.decode_text(text, limits);
        sockets.handle(decoded.map_err(not_decoded)?, cx)
    }

    fn binary(&mut self, data: &[u8], cx: &mut Context<'_>) -> Result<(), Lost> {
        let Self { decoder, limits, sockets } = self;
        match sockets.shared.config.parser {
            Parser::Json => {
                let decoded = decoder.decode_binary(data, limits).map_err(not_decoded)?;
                sockets.handle(decoded, cx)?;
                decoder.release();
                Ok(())
            }
            Parser::MessagePack => {
                let decoded = socketio::msgpack::decode(data, limits).map_err(not_decoded)?;
                sockets.handle(decoded, cx)
            }
        }
    }
}

impl Sockets {
    /// Takes in the sockets that were made since the last call.
    fn add_workers(&mut self) {
        let core = self.shared.core();
        let new = core.sockets.get(self.workers.len()..).unwrap_or_default();
        self.workers.reserve_exact(new.len());
        for socket in new {
            let (socket, inbox) = (socket.shared.clone(), Inbox::default());
            self.workers.push(Worker { socket, inbox, authentication: Authentication::default() });
        }
    }

    fn handle(&mut self, packet: Option<Packet<'_>>, cx: &mut Context<'_>) -> Result<(), Lost> {
        let Some(packet) = packet else { return Ok(()) };
        let namespace = match &packet {
            Packet::Event(event) => &event.namespace,
            Packet::Ack(ack) => &ack.namespace,
            Packet::Connect { namespace, .. }
            | Packet::Disconnect { namespace }
            | Packet::ConnectError { namespace, .. } => namespace,
        };
        let find = |workers: &[Worker]| workers.iter().position(|worker| *worker.socket.namespace == **namespace);
        let known = find(&self.workers).or_else(|| {
            self.add_workers();
            find(&self.workers)
        });
        let Some(index) = known else {
            if let (Packet::Connect { namespace: "/", .. }, Some(open)) = (&packet, &mut self.shared.core().open) {
                open.is_in_root = true;
            }
            return Ok(());
        };
        match packet {
            Packet::Event(event) => return self.on_event(index, &event, cx),
            Packet::Ack(ack) => self.on_ack(index, &ack),
            Packet::Connect { payload, .. } => self.on_connect(index, payload.as_deref()),
            Packet::Disconnect { namespace } => {
                let reason = DisconnectReason::ServerDisconnect;
                let error = ConnectErrorKind::Lost { namespace: namespace.to_owned(), reason }.into();
                self.shared.core().change_membership(index, |socket| {
                    socket.membership.handle_disconnect(Instant::now(), reason, error);
                });
            }
            Packet::ConnectError { namespace, payload } => {
                let error = ConnectErrorKind::Refused(Refusal::parse(namespace, &payload));
                self.refused(index, error.into());
            }
        }
        if let Some(worker) = self.workers.get_mut(index) {
            worker.take_incoming(&mut self.shared.core());
        }
        Ok(())
    }

    fn on_ack(&mut self, index: usize, ack: &socketio::Ack<'_>) {
        let mut core = self.shared.core();
        let Some(socket) = core.sockets.get_mut(index) else { return };
        if socket.membership.is_connected() {
            let retries = socket.retry.len() > 0;
            socket.retry.acknowledged(ack.id);
            self.answers.extend(socket.acks.remove(&ack.id).map(|waiter| (waiter, ack.args.to_owned())));
            // The next event of the queue can go.
            core.changed |= retries;
        }
    }

    fn on_event(&mut self, index: usize, event: &socketio::Event<'_>, cx: &mut Context<'_>) -> Result<(), Lost> {
        let (mut core, Some(worker)) = (self.shared.core(), self.workers.get_mut(index)) else { return Ok(()) };
        worker.take_incoming(&mut core);
        let limit = core.config.receive_buffer;
        let Some(membership) = core.sockets.get_mut(index).map(|socket| &mut socket.membership) else { return Ok(()) };
        let accept = membership.accept();
        if accept == Accept::Never {
            return Ok(());
        }
        let ack = event.ack.map(|number| AckId { number, membership: membership.attempt() });
        // A server that can recover the session adds an offset behind the arguments of each event.
        if membership.expects_offset()
            && let Some(last) = event.args.len().checked_sub(1)
            && let Ok(offset) = event.args.get(last)
        {
            membership.handle_offset(offset);
        }
        if accept == Accept::AfterConnect {
            let event = QueuedEvent::new(&event.name, event.args, ack);
            let bytes = event.bytes();
            let held = membership.hold(event, bytes, limit);
            return held.map_err(|TooManyEarlyEvents { limit }| {
                let error = format!(
                    "the server sent more than {limit} bytes of events before CONNECT; `receive_buffer` allows more"
                );
                Lost::by(DisconnectReason::ParseError, error)
            });
        }
        drop(core);
        if let Some(handle) = self.handle.upgrade() {
            let socket = Socket::new(Manager(handle), worker.socket.clone());
            worker.inbox.push_event(&socket, &event.name, event.args, ack, cx);
            worker.inbox.poll(&socket, cx);
        }
        Ok(())
    }

    fn on_connect(&mut self, index: usize, payload: Option<&RawValue>) {
        #[derive(Default, serde::Deserialize)]
        struct Payload {
            sid: Option<Arc<str>>,
            pid: Option<String>,
        }
        let Some(worker) = self.workers.get(index) else { return };
        let namespace = &*worker.socket.namespace;
        let Payload { sid, pid } =
            payload.and_then(|payload| serde_json::from_str(payload.get()).ok()).unwrap_or_default();
        let id = match (sid, self.shared.config.engine_version) {
            (Some(sid), _) => sid,
            // A server of revision 3 does not send the id, which it makes like this.
            (None, EngineVersion::V3) if namespace == "/" => self.sid.clone(),
            (None, EngineVersion::V3) => format!("{namespace}#{}", self.sid).into(),
            (None, EngineVersion::V4) => {
                let error = ConnectErrorKind::NoId { namespace: namespace.to_owned() };
                return self.refused(index, error.into());
            }
        };
        self.shared.core().change_membership(index, |socket| {
            socket.membership.handle_connect(Instant::now(), id, pid);
        });
    }

    fn refused(&self, index: usize, error: ConnectError) {
        self.shared.core().change_membership(index, |socket| {
            socket.membership.handle_connect_error(Instant::now(), error);
        });
    }
}

impl Worker {
    /// Takes over what the socket's membership has for its handlers.
    fn take_incoming(&mut self, core: &mut Core) {
        if let Some(socket) = core.sockets.get_mut(self.socket.index) {
            socket.incoming.drain(..).for_each(|incoming| self.inbox.push(incoming));
        }
    }
}

fn not_decoded(error: socketio::DecodeError) -> Lost {
    Lost::by(DisconnectReason::ParseError, error)
}
