use std::{
    sync::Arc,
    task::{Context, Poll},
};

use serde_json::value::RawValue;
use smallvec::SmallVec;
use sockeye_engine::{Application, CloseReason, Message, Revision, Session, SessionHandler, Sid};
use sockeye_handler::INTERNAL;
use sockeye_protocol::socketio::{self, Ack, Event, Limits, Packet};
use tokio::time::Instant;

use crate::{
    ConnectRefusal, DisconnectReason, LimitError, Namespace, Socket,
    adapter::RoomEvents,
    connection::member::Member,
    connection::rate::Allowance,
    handles::registry::{Common, EnterError, MAX_CHILD_NAME, Registry, SocketIo},
    handles::socket::{log_encoding, send},
    wire::packet::with_encoded,
    wire::parser::{Decoder, ReadError},
};

/// The Socket.IO side of one connection: it decodes packets and gives them to the sockets that share the connection.
pub(crate) struct Client {
    registry: Arc<Registry>,
    session: Arc<Session>,
    decoder: Decoder,
    members: SmallVec<[Member; 1]>,
    /// The namespaces that the client has left, the latest last.
    departed: Vec<Box<str>>,
    allowance: Allowance,
    /// Until when the client must have joined a namespace.
    connect_by: Option<Instant>,
    /// Until when the attachments of a packet that has begun must be there.
    attachments_by: Option<Instant>,
    /// Set once the client has broken the protocol or the session has ended: nothing more is handled.
    over: bool,
    /// Whether a client of Socket.IO 2 is still to be let into `/`, which it need not ask for.
    joins_by_itself: bool,
}

/// So many namespaces that a client has left are remembered.
const MAX_DEPARTED: usize = 16;

impl Client {
    pub(crate) fn new(registry: Arc<Registry>, session: Arc<Session>) -> Self {
        let config = &registry.common.config;
        Self {
            decoder: config.parser.decoder(),
            members: SmallVec::new(),
            departed: Vec::new(),
            allowance: Allowance::new(config.max_event_rate),
            connect_by: Instant::now().checked_add(config.connect_timeout),
            attachments_by: None,
            over: false,
            joins_by_itself: session.revision() == Revision::V3,
            registry,
            session,
        }
    }

    fn decode(&mut self, message: Message<'_>, cx: &mut Context<'_>) -> Result<(), Violation> {
        let config = &self.registry.common.config;
        let limits = Limits {
            max_attachments: config.max_attachments,
            max_attachment_bytes: config.max_attachment_bytes,
            max_depth: config.max_depth,
            revision: match self.session.revision() {
                Revision::V3 => socketio::Revision::V4,
                Revision::V4 => socketio::Revision::V5,
            },
        };
        // The decoder is taken out so that the packet, which may borrow from it, can be handled by the rest.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::MessagePack);
        let result = decoder.decode(message, &limits, |packet| self.handle(packet, cx));
        let is_waiting = decoder.is_waiting();
        self.attachments_by = match is_waiting {
            true => self
                .attachments_by
                .or_else(|| Instant::now().checked_add(self.registry.common.config.attachments_timeout)),
            false => None,
        };
        self.decoder = decoder;
        match result? {
            Some(handled) => handled,
            // An acknowledgement without an id is ignored, but not from a client that has joined nothing.
            None if self.members.is_empty() && !is_waiting => Err(Violation::NotJoined),
            None => Ok(()),
        }
    }

    fn handle(&mut self, packet: Packet<'_>, cx: &mut Context<'_>) -> Result<(), Violation> {
        match packet {
            Packet::Connect { namespace, query, payload } => {
                let auth = match query {
                    Some(query) => query_as_auth(query),
                    None => payload.map(|payload| payload.into_owned()),
                };
                self.connect(namespace, auth, cx)
            }
            Packet::Disconnect { namespace } => {
                let Some(member) = self.member(namespace) else { return self.absent(namespace) };
                member.socket().begin_leaving(DisconnectReason::ClientNamespaceDisconnect);
                Ok(())
            }
            Packet::Event(event) => self.receive(event, cx),
            Packet::Ack(Ack { namespace, id, args }) => {
                let Some(member) = self.member(namespace) else { return self.absent(namespace) };
                member.socket().resolve_ack(id, args.to_owned());
                Ok(())
            }
            Packet::ConnectError { .. } => Err(Violation::ConnectError),
        }
    }

    fn receive(&mut self, event: Event<'_>, cx: &mut Context<'_>) -> Result<(), Violation> {
        self.pay();
        if self.registry.common.config.log_events {
            tracing::info!(target: "sockeye::events", namespace = event.namespace, event = &*event.name, "received");
        }
        let Some(member) = self.member(event.namespace) else { return self.absent(event.namespace) };
        if member.is_connecting() {
            return Err(Violation::NotJoined);
        }
        member.receive(event, cx);
        if member.socket().closes_connection() {
            // What came with this event is for namespaces that the client is out of now.
            let _under_way = self.disconnect_all(cx);
        }
        Ok(())
    }

    /// Counts something that makes work against the client's rate.
    fn pay(&mut self) {
        if !self.allowance.take() {
            self.registry.common.counters.rate_limited.add();
            tracing::debug!(
                sid = self.session.id().short(),
                "reading a connection more slowly because of `max_event_rate`"
            );
        }
    }

    fn connect(&mut self, name: &str, auth: Option<Box<RawValue>>, cx: &mut Context<'_>) -> Result<(), Violation> {
        if self.member(name).is_some() {
            return Err(Violation::JoinedAlready);
        }
        self.pay();
        let limit = self.registry.common.config.max_namespaces;
        if self.members.len() >= limit {
            self.refuse_beyond(name, LimitError::Namespaces { limit });
            return Ok(());
        }
        let session = &self.session;
        let entered = self.registry.enter(name, auth.as_deref(), |namespace| enter(namespace, session, auth.clone()));
        let (socket, events) = match entered {
            Ok(entered) => entered,
            Err(EnterError::Unknown) => {
                tracing::warn!(
                    asked = &name[..name.floor_char_boundary(MAX_CHILD_NAME)],
                    known = ?self.registry.some_names(),
                    "refused a client that asked for a namespace there is not"
                );
                refuse(&self.registry.common, &self.session, name, &ConnectRefusal::new("Invalid namespace"));
                return Ok(());
            }
            Err(EnterError::Limit(limit)) => {
                self.refuse_beyond(name, limit);
                return Ok(());
            }
            Err(EnterError::Panicked) => {
                refuse(&self.registry.common, &self.session, name, &ConnectRefusal::new(INTERNAL));
                return Ok(());
            }
        };
        socket.namespace().local().tell(events);
        let mut member = Member::new(socket);
        // The handlers' first step is taken at once, so that those that do not wait are through before what follows.
        let _under_way = member.poll(cx);
        self.members.push(member);
        self.connect_by = None;
        Ok(())
    }

    fn refuse_beyond(&self, name: &str, limit: LimitError) {
        self.registry.common.counters.limit_hit(limit);
        tracing::warn!(sid = self.session.id().short(), %limit, "refused a client at a limit");
        refuse(&self.registry.common, &self.session, name, &ConnectRefusal::new(limit.to_string()));
    }

    /// Takes the client out of every namespace that it is in, telling it so, and closes the connection.
    fn disconnect_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.over = true;
        for member in self.members.iter().filter(|member| member.socket().is_connected()) {
            member.socket().disconnect();
        }
        self.session.close();
        self.poll(cx)
    }

    /// What to make of a packet for a namespace that the client is not in. If it was, the packet may have been on its way
    /// when they parted, and is of no consequence; the reference closes the connection, and with it all other namespaces.
    fn absent(&self, namespace: &str) -> Result<(), Violation> {
        let is_of = |member: &Member| !member.was_refused() && member.socket().namespace().name() == namespace;
        let is_leaving = self.members.iter().any(is_of);
        if !is_leaving && !self.departed.iter().any(|name| **name == *namespace) {
            return Err(Violation::NotJoined);
        }
        tracing::debug!(sid = self.session.id().short(), namespace, "ignored a packet for a namespace that was left");
        Ok(())
    }

    fn forget_members_gone(&mut self) {
        for member in self.members.iter().filter(|member| member.is_gone() && !member.was_refused()) {
            let name = member.socket().namespace().name();
            self.departed.retain(|departed| **departed != *name);
            if self.departed.len() == MAX_DEPARTED {
                self.departed.remove(0);
            }
            self.departed.push(name.into());
        }
        self.members.retain(|member| !member.is_gone());
    }

    fn member(&mut self, namespace: &str) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.socket().namespace().name() == namespace && member.socket().leaving().is_none())
    }
}

impl Application for SocketIo {
    type Handler = Client;

    fn open(&self, session: &Arc<Session>) -> Client {
        Client::new(self.0.clone(), session.clone())
    }
}

impl SessionHandler for Client {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        if self.over {
            return;
        }
        if let Err(violation) = self.decode(message, cx) {
            let sid = self.session.id().short();
            if self.members.is_empty() && self.departed.is_empty() {
                tracing::warn!(
                    sid,
                    %violation,
                    "closing a connection that does not begin as Socket.IO does; its client may use another parser"
                );
            } else {
                tracing::debug!(sid, %violation, "closing a connection that broke the protocol");
            }
            self.registry.common.counters.protocol_violations.add();
            self.over = true;
            self.session.close();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.joins_by_itself) && !self.over {
            // Nobody has joined yet, so that this cannot be a second time.
            let _joined = self.connect("/", None, cx);
        }
        let mut all = Poll::Ready(());
        for member in &mut self.members {
            if member.poll(cx).is_pending() {
                all = Poll::Pending;
            }
            if !self.over && member.socket().closes_connection() {
                return self.disconnect_all(cx);
            }
        }
        if self.members.iter().any(Member::is_gone) {
            self.forget_members_gone();
            if self.members.is_empty() && !self.over {
                self.connect_by = Instant::now().checked_add(self.registry.common.config.connect_timeout);
            }
        }
        all
    }

    fn is_ready(&self) -> bool {
        self.over || (self.allowance.is_open() && !self.is_behind())
    }

    fn is_behind(&self) -> bool {
        let limit = self.registry.common.config.backlog_bytes;
        !self.over && self.members.iter().any(|member| member.backlog_bytes() > limit)
    }

    fn deadline(&self) -> Option<Instant> {
        [self.connect_by, self.attachments_by, self.allowance.closed_until()].into_iter().flatten().min()
    }

    fn timeout(&mut self, now: Instant) {
        if self.connect_by.is_some_and(|at| now >= at) {
            tracing::debug!(sid = self.session.id().short(), "closing a connection that joined no namespace in time");
            self.registry.common.counters.connect_timeouts.add();
            self.connect_by = None;
            self.session.close();
        }
        if self.attachments_by.is_some_and(|at| now >= at) {
            tracing::debug!(
                sid = self.session.id().short(),
                "closing a connection whose attachments did not come in time"
            );
            self.registry.common.counters.attachment_timeouts.add();
            self.attachments_by = None;
            self.over = true;
            self.session.close();
        }
        self.allowance.reopen(now);
    }

    fn closed(&mut self, reason: CloseReason) {
        self.over = true;
        self.connect_by = None;
        self.attachments_by = None;
        for member in &self.members {
            member.socket().begin_leaving(DisconnectReason::Connection(reason));
        }
    }
}

/// How a client broke the protocol.
#[derive(Debug, thiserror::Error)]
enum Violation {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("it sent a packet to a namespace that it has not joined")]
    NotJoined,
    #[error("it asked to join a namespace that it has joined already")]
    JoinedAlready,
    #[error("it sent a packet that only servers send")]
    ConnectError,
}

/// Refuses a client in the form that its revision of the protocol knows.
pub(crate) fn refuse(common: &Common, session: &Arc<Session>, namespace: &str, refusal: &ConnectRefusal) {
    common.counters.connects_refused.add();
    let parser = &common.config.parser;
    let sent = with_encoded(
        |buffer| match session.revision() {
            Revision::V4 => parser.connect_error(buffer, Revision::V4, namespace, refusal),
            Revision::V3 => parser.connect_error(buffer, Revision::V3, namespace, &refusal.for_socket_io_2()),
        },
        |buffer, wire| send(session, buffer, wire),
    );
    // A session that is closed already needs no answer.
    log_encoding(sent.map(drop));
}

/// Puts a socket into a namespace: a new one, or one that takes up where it left off, and with it returns what that
/// means to rooms.
fn enter(namespace: &Namespace, session: &Arc<Session>, auth: Option<Box<RawValue>>) -> (Socket, RoomEvents) {
    let insert = |id: Sid, auth, identity| {
        let socket = Socket::new(id, namespace.clone(), session.clone(), auth, identity);
        let events = namespace.local().insert(&socket);
        (socket, events)
    };
    let Some(recovery) = namespace.recovery().filter(|_| session.revision() == Revision::V4) else {
        return insert(new_id(namespace, session), auth, None);
    };
    let space = namespace.config().engine.outbox_bytes.saturating_sub(session.buffered_bytes());
    let recovered = recovery.restore(auth.as_deref(), space, |id, rooms, identity| {
        let (socket, mut events) = insert(id, auth.clone(), Some(identity));
        // The rooms were within the limit before.
        let _unlimited = namespace.local().join_untold(&socket, &rooms, usize::MAX, &mut events);
        (socket, events)
    });
    match recovered {
        Some(entered) => {
            namespace.counters().recovered.add();
            entered
        }
        None => recovery.begin(|identity| insert(Sid::random(), auth, Some(identity))),
    }
}

/// In Socket.IO 2 a socket's id is derived from its session's.
fn new_id(namespace: &Namespace, session: &Session) -> Sid {
    match (session.revision(), namespace.name()) {
        (Revision::V4, _) => Sid::random(),
        (Revision::V3, "/") => session.id().clone(),
        (Revision::V3, name) => format!("{name}#{}", session.id()).into(),
    }
}

/// In Socket.IO 2 the query of the namespace stands for what later clients send along with CONNECT.
fn query_as_auth(query: &str) -> Option<Box<RawValue>> {
    let auth: serde_json::Map<String, serde_json::Value> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    serde_json::value::to_raw_value(&auth).ok()
}
