use std::{
    sync::Arc,
    task::{Context, Poll},
};

use serde_json::value::RawValue;
use smallvec::SmallVec;
use sockeye_engine::{
    Application, CloseReason, Message, Revision, Session, SessionHandler, excerpt, log_limit, log_throttled,
};
use sockeye_handler::INTERNAL;
use sockeye_protocol::socketio::{
    self, Ack, Event, Limits, Packet,
    membership::{Acceptance, ClientPacket, MembershipViolation, ServerMembership},
};
use tokio::time::Instant;

use crate::{
    ConnectRefusal, DisconnectReason, LimitError,
    connection::{
        entry::{Entry, enter},
        member::Member,
        other_namespaces::{FORMER_SOCKET_TIMEOUT, JoinRequest, OtherNamespaces, Wait},
        rate::Allowance,
        refusal::refuse,
        violation::Violation,
    },
    handles::registry::{EnterError, Registry, SocketIo},
    wire::parser::Decoder,
};

/// The Socket.IO side of one connection. It decodes packets and passes them to the sockets that share the connection.
pub(crate) struct Client {
    registry: Arc<Registry>,
    session: Arc<Session>,
    decoder: Decoder,
    members: SmallVec<[Member; 1]>,
    others: Option<Box<OtherNamespaces>>,
    allowance: Allowance,
    /// The time by which the client must have joined a namespace.
    connect_by: Option<Instant>,
    /// The time by which the attachments of an incomplete packet must have arrived. Few connections ever wait for some.
    attachments_by: Option<Box<Instant>>,
    /// Set when the client breaks the protocol or the session ends. After that the client's packets are not handled.
    over: bool,
    /// Whether a client of Socket.IO 2 still has to join `/`. The server joins it there without a CONNECT packet.
    joins_by_itself: bool,
}

impl Client {
    pub(crate) fn new(registry: Arc<Registry>, session: Arc<Session>) -> Self {
        let config = &registry.common.config;
        Self {
            decoder: config.parser.decoder(),
            members: SmallVec::new(),
            others: None,
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
        // `self` gives up the decoder for this call, because the packet may borrow from the decoder while `handle`
        // borrows `self`.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::MessagePack);
        let result = decoder.decode(message, &limits, |packet| self.handle(packet, cx));
        let is_waiting = decoder.is_waiting();
        if !is_waiting {
            self.attachments_by = None;
        } else if self.attachments_by.is_none() {
            let timeout = self.registry.common.config.attachments_timeout;
            self.attachments_by = Instant::now().checked_add(timeout).map(Box::new);
        }
        self.decoder = decoder;
        match result? {
            Some(handled) => handled,
            // The server ignores an acknowledgement without an id, unless the client has joined no namespace.
            None if self.members.is_empty() && !is_waiting => Err(MembershipViolation::NotJoined.into()),
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
                if !self.accepts(namespace, ClientPacket::Disconnect)? {
                    return Ok(());
                }
                match self.member(namespace) {
                    Some(member) => {
                        member.socket().begin_leaving(DisconnectReason::ClientNamespaceDisconnect);
                    }
                    None => self.stop_awaiting(namespace),
                }
                Ok(())
            }
            Packet::Event(event) => self.receive(event, cx),
            Packet::Ack(Ack { namespace, id, args }) => {
                if self.accepts(namespace, ClientPacket::Ack)?
                    && let Some(member) = self.member(namespace)
                {
                    member.socket().resolve_ack(id, args.to_owned());
                }
                Ok(())
            }
            Packet::ConnectError { .. } => Err(Violation::ConnectError),
        }
    }

    fn receive(&mut self, event: Event<'_>, cx: &mut Context<'_>) -> Result<(), Violation> {
        self.pay();
        if self.registry.common.config.log_events {
            let sid = self.member(event.namespace).map(|member| member.socket().id().short());
            tracing::info!(target: "sockeye::events", namespace = event.namespace, event = &*event.name, sid, "received");
        }
        let Some(member) = self.member(event.namespace).filter(|member| member.is_joined()) else {
            let _ignored = self.accepts(event.namespace, ClientPacket::Event)?;
            return Ok(());
        };
        member.receive(event, cx);
        if member.socket().closes_connection() {
            // The client is now in no namespace, so that the packets behind this event are not handled.
            let _under_way = self.disconnect_all(cx);
        }
        Ok(())
    }

    /// Counts one event or request to join against `max_event_rate`.
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
        let _accepted = self.accepts(name, ClientPacket::Connect)?;
        self.pay();
        let limit = self.registry.common.config.max_namespaces;
        let awaiting = self.others.as_ref().map_or(0, |others| others.awaiting.len());
        if self.members.len() + awaiting >= limit {
            self.refuse_beyond(name, LimitError::Namespaces { limit });
            return Ok(());
        }
        let limit = self.registry.common.config.max_auth;
        if auth.as_ref().is_some_and(|auth| auth.get().len() > limit) {
            self.refuse_beyond(name, LimitError::Auth { limit });
            return Ok(());
        }
        let wait = Wait::Until(Instant::now() + FORMER_SOCKET_TIMEOUT);
        self.join(JoinRequest { namespace: name.into(), auth, wait }, cx);
        Ok(())
    }

    /// Adds the client to the namespace, makes it wait for its former socket, or refuses it.
    fn join(&mut self, request: JoinRequest, cx: &mut Context<'_>) {
        let (session, name, auth) = (&self.session, &*request.namespace, &request.auth);
        let former = match request.wait {
            Wait::Until(_) => Some(cx.waker()),
            Wait::Over => None,
        };
        let entered =
            self.registry.enter(name, auth.as_deref(), |namespace| enter(namespace, session, auth.clone(), former));
        let (socket, events) = match entered {
            Ok(Entry::Entered(socket, events)) => (socket, events),
            Ok(Entry::AwaitsFormer) => {
                self.others.get_or_insert_default().awaiting.push(request);
                return;
            }
            Err(EnterError::Unknown) => {
                log_throttled!(
                    warn,
                    name,
                    asked = excerpt(name),
                    known = ?self.registry.some_names(),
                    "refused a client because its namespace does not exist"
                );
                refuse(&self.registry.common, &self.session, name, &ConnectRefusal::new("Invalid namespace"));
                return;
            }
            Err(EnterError::Limit(limit)) => {
                self.refuse_beyond(name, limit);
                return;
            }
            Err(EnterError::Panicked) => {
                refuse(&self.registry.common, &self.session, name, &ConnectRefusal::new(INTERNAL));
                return;
            }
        };
        socket.namespace().local().tell(events);
        let mut member = Member::new(socket);
        // This polls the handlers at once, so that handlers that do not wait finish before the next packet is handled.
        let _under_way = member.poll(cx);
        self.members.push(member);
        self.connect_by = None;
    }

    /// Retries the requests whose former socket has left or whose wait is over.
    fn join_awaiting(&mut self, cx: &mut Context<'_>) {
        let Some(others) = &mut self.others else { return };
        for request in std::mem::take(&mut others.awaiting) {
            self.join(request, cx);
        }
    }

    fn stop_awaiting(&mut self, namespace: &str) {
        if let Some(others) = &mut self.others {
            others.awaiting.retain(|request| *request.namespace != *namespace);
            others.note_left(namespace);
        }
    }

    /// Whether the client is or was in a namespace.
    fn has_joined(&self) -> bool {
        !self.members.is_empty() || self.others.as_ref().is_some_and(|others| !others.left.is_empty())
    }

    fn refuse_beyond(&self, name: &str, limit: LimitError) {
        self.registry.common.counters.limit_hit(limit);
        log_limit(self.session.id().short(), limit.setting(), limit.value(), "refused a client");
        refuse(&self.registry.common, &self.session, name, &ConnectRefusal::new(limit.to_string()));
    }

    /// Disconnects the client from all its namespaces with a DISCONNECT packet each, and closes the connection.
    fn disconnect_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.over = true;
        for member in self.members.iter().filter(|member| member.socket().is_connected()) {
            member.socket().disconnect();
        }
        self.session.close();
        self.poll(cx)
    }

    /// The client's membership in a namespace.
    fn membership(&self, namespace: &str) -> ServerMembership {
        let of_namespace = |member: &&Member| member.socket().namespace().name() == namespace;
        let memberships = || self.members.iter().filter(of_namespace).map(Member::membership);
        if let Some(current) = memberships().find(|membership| membership.is_current()) {
            return current;
        }
        let (mut awaiting, mut left) = (false, false);
        if let Some(others) = &self.others {
            awaiting = others.awaiting.iter().any(|request| *request.namespace == *namespace);
            left = others.left.iter().any(|name| **name == *namespace);
        }
        match memberships().find(|membership| !membership.is_over()) {
            _ if awaiting => ServerMembership::AwaitingFormer,
            Some(ending) => ending,
            None if left => ServerMembership::Left,
            None => ServerMembership::Absent,
        }
    }

    /// Whether to handle a packet of the client. A packet for a namespace that the client has just left is ignored: the
    /// client may have sent it before it knew that it had left. The reference instead closes the connection, and with
    /// it the client's other namespaces.
    fn accepts(&self, namespace: &str, packet: ClientPacket) -> Result<bool, Violation> {
        let accepted = self.membership(namespace).accept(packet)? == Acceptance::Handle;
        if !accepted {
            tracing::debug!(
                sid = self.session.id().short(),
                namespace,
                "ignored a packet for a namespace that was left"
            );
        }
        Ok(accepted)
    }

    /// Removes the sockets that have left or were refused.
    fn forget_members_over(&mut self) {
        for member in self.members.iter().filter(|member| member.membership() == ServerMembership::Left) {
            self.others.get_or_insert_default().note_left(member.socket().namespace().name());
        }
        self.members.retain(|member| !member.membership().is_over());
    }

    fn member(&mut self, namespace: &str) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.socket().namespace().name() == namespace && member.membership().is_current())
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
            violation.log(self.session.id().short(), self.has_joined());
            self.registry.common.counters.protocol_violations.add();
            self.over = true;
            self.session.close_for_fault(&violation.to_string());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.joins_by_itself) && !self.over {
            // The client has joined no namespace yet, so that this cannot be a second CONNECT for `/`.
            let _joined = self.connect("/", None, cx);
        }
        if self.others.as_ref().is_some_and(|others| !others.awaiting.is_empty()) && !self.over {
            self.join_awaiting(cx);
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
        if self.members.iter().any(|member| member.membership().is_over()) {
            self.forget_members_over();
            if self.members.is_empty() && !self.over {
                self.connect_by = Instant::now().checked_add(self.registry.common.config.connect_timeout);
            }
        }
        all
    }

    fn is_ready(&self) -> bool {
        self.over || (self.allowance.is_open() && !self.is_behind())
    }

    fn held_bytes(&self) -> usize {
        let waiting: usize = self.members.iter().map(|member| member.backlog_bytes() + member.auth_bytes()).sum();
        let awaiting = self.others.as_ref().map_or(0, |others| others.auth_bytes());
        waiting + awaiting + self.decoder.memory()
    }

    fn is_behind(&self) -> bool {
        let limit = self.registry.common.config.backlog_bytes;
        !self.over && self.members.iter().any(|member| member.backlog_bytes() > limit)
    }

    fn deadline(&self) -> Option<Instant> {
        let former_by = self.others.as_ref().and_then(|others| others.deadline());
        let attachments_by = self.attachments_by.as_deref().copied();
        [self.connect_by, attachments_by, self.allowance.closed_until(), former_by].into_iter().flatten().min()
    }

    fn timeout(&mut self, now: Instant) {
        if self.connect_by.is_some_and(|at| now >= at) {
            let timeout = format!("{:?}", self.registry.common.config.connect_timeout);
            log_limit(
                self.session.id().short(),
                "connect_timeout",
                timeout,
                "closed a connection because it did not join a namespace in time",
            );
            self.registry.common.counters.connect_timeouts.add();
            self.connect_by = None;
            self.session.close_for_fault("joined no namespace within `connect_timeout`");
        }
        if self.attachments_by.as_ref().is_some_and(|at| now >= **at) {
            let timeout = format!("{:?}", self.registry.common.config.attachments_timeout);
            log_limit(
                self.session.id().short(),
                "attachments_timeout",
                timeout,
                "closed a connection because the attachments of a packet did not arrive in time",
            );
            self.registry.common.counters.attachment_timeouts.add();
            self.attachments_by = None;
            self.over = true;
            self.session.close_for_fault("the attachments of a packet did not arrive within `attachments_timeout`");
        }
        if let Some(others) = &mut self.others {
            // The task polls this client next, which then joins with a new socket.
            others.end_waits(now);
        }
        self.allowance.reopen(now);
    }

    fn closed(&mut self, reason: CloseReason) {
        self.over = true;
        self.connect_by = None;
        self.attachments_by = None;
        if let Some(others) = &mut self.others {
            others.awaiting.clear();
        }
        for member in &self.members {
            member.socket().begin_leaving(DisconnectReason::Connection(reason));
        }
    }
}

/// Makes the auth payload of a client of Socket.IO 2 from the query in its CONNECT packet; later clients send the
/// payload itself.
fn query_as_auth(query: &str) -> Option<Box<RawValue>> {
    let auth: serde_json::Map<String, serde_json::Value> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    serde_json::value::to_raw_value(&auth).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every connection has one.
    #[test]
    fn a_client_and_its_only_socket_take_little_memory() {
        assert_eq!((size_of::<Client>(), size_of::<Member>()), (144, 32));
    }
}
