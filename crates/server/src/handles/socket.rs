use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sockeye_engine::{CloseReason, Frame, Handshake, Revision, SendError, Session, Sid, TransportKind, log_limit};
use sockeye_handler::Values;
use sockeye_protocol::socketio::{
    ArgsBuf, Arguments, EncodeError, Value,
    membership::{Answer, Input, ServerMembership},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    AckFuture, Direct, DisconnectReason, EmitError, IntoRooms, LimitError, Namespace, Operator, Server,
    adapter::recovery::{Identity, Left, PrivateId},
    adapter::target::{RoomNames, add_rooms},
    handler::{AckId, Acknowledge, Handler, OnDisconnect, OnEvent, erase, table::Handlers},
    handles::ack::{AckError, Answers, PendingAck, PendingAcks},
    handles::outgoing,
    wire::packet::{EncodedPacket, check_name, with_encoded},
    wire::parser::Wire,
};

/// One client in one namespace. Cheap to clone, and usable from any task or thread.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: Sid,
    namespace: Namespace,
    session: Arc<Session>,
    auth: Option<Box<RawValue>>,
    /// A [`ServerMembership`] as a number. It is written under the lock of `shared` and read without it.
    membership: AtomicU8,
    /// Whether the socket itself has handlers. If it has none, its events take no lock.
    has_handlers: AtomicBool,
    /// Whether to close the whole connection. The connection's task closes it when it is next polled.
    closes_connection: AtomicBool,
    shared: Mutex<Shared>,
}

/// The rarely used state of a socket, behind one lock.
#[derive(Default)]
struct Shared {
    /// Packets that were emitted before the client was admitted. They are sent after the CONNECT packet.
    held: Option<Box<Held>>,
    /// Why the membership ends; none until it ends.
    leaving: Option<DisconnectReason>,
    /// Whether the server has disconnected the socket. It can do so even after the client has left.
    is_expelled: bool,
    /// The rooms the socket was in when it left.
    last_rooms: Vec<Arc<str>>,
    acks: Option<Box<PendingAcks>>,
    /// Values kept with the socket, one of each type.
    extensions: Option<Box<Values>>,
    handlers: Option<Box<Handlers>>,
    recovery: Option<Box<Recovery>>,
}

/// Packets that wait until the client is admitted.
#[derive(Default)]
struct Held {
    frames: Vec<Frame>,
    bytes: usize,
}

/// The state of a socket for connection state recovery.
struct Recovery {
    pid: PrivateId,
    /// The number of the log's last packet when the client first connected.
    since: u64,
    /// The client has received every packet for it that was published before this time, as far as the server knows when
    /// the client connects.
    reached: Instant,
    admitted_at: Option<Instant>,
    left_at: Option<Instant>,
    /// The packets that the client missed, until it is admitted again.
    missed: Option<Vec<Frame>>,
    was_recovered: bool,
}

impl Recovery {
    /// The time before which every published packet has reached the client, as far as the server knows. An answered
    /// ping proves that the packets sent before it have arrived. Only a ping after the admission counts, because the
    /// missed and the held packets are not sent before the admission.
    fn reached(&self, session: &Session) -> Instant {
        let proof = self.admitted_at.and_then(|at| session.answered_ping().filter(|pinged| *pinged > at));
        proof.unwrap_or(self.reached)
    }
}

impl Socket {
    pub(crate) fn new(
        id: Sid,
        namespace: Namespace,
        session: Arc<Session>,
        auth: Option<Box<RawValue>>,
        recovery: Option<Identity>,
    ) -> Self {
        let mut shared = Shared::default();
        if let Some(recovery) = recovery {
            shared.extensions = recovery.extensions;
            shared.recovery = Some(Box::new(Recovery {
                pid: recovery.pid,
                since: recovery.since,
                reached: recovery.reached,
                admitted_at: None,
                left_at: None,
                was_recovered: recovery.missed.is_some(),
                missed: recovery.missed,
            }));
        }
        Self(Arc::new(Inner {
            id,
            namespace,
            session,
            auth,
            membership: AtomicU8::new(ServerMembership::Connecting.into()),
            has_handlers: AtomicBool::new(false),
            closes_connection: AtomicBool::new(false),
            shared: Mutex::new(shared),
        }))
    }

    /// The socket's public id. It is also the name of a room with only this socket.
    pub fn id(&self) -> &Sid {
        &self.0.id
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The server.
    pub fn server(&self) -> Server {
        self.0.namespace.server()
    }

    /// The request that opened the connection.
    pub fn handshake(&self) -> &Handshake {
        self.0.session.handshake()
    }

    /// The payload of the client's CONNECT packet (`auth` in the JavaScript client), as JSON text. For a client of
    /// Socket.IO 2 it is the query in its CONNECT packet.
    pub fn auth(&self) -> Option<&RawValue> {
        self.0.auth.as_deref()
    }

    /// The transport that the connection uses now.
    pub fn transport(&self) -> TransportKind {
        self.0.session.transport()
    }

    /// The revision of Engine.IO that the client speaks.
    pub fn revision(&self) -> Revision {
        self.0.session.revision()
    }

    /// Whether the client is in the namespace.
    pub fn is_connected(&self) -> bool {
        self.membership() == ServerMembership::Joined
    }

    /// Whether connection state recovery has recovered the socket: it has its former id, rooms and values, and the
    /// client receives the events it missed.
    pub fn is_recovered(&self) -> bool {
        self.0.shared.lock().recovery.as_ref().is_some_and(|recovery| recovery.was_recovered)
    }

    /// Emits an event to this client. Pass `&data` for one argument, a tuple for several, `()` for none.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, or the client has left.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        match self.namespace().recovery() {
            Some(_) if !self.membership().is_current() => Err(SendError::Closed.into()),
            // The log must hold the packets in the order in which they are sent, so that this takes the same way as a
            // broadcast.
            Some(_) => Direct::new(self.clone()).emit(event, args),
            None => self.emit_expecting(event, None, &args),
        }
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Emits an event and waits for the client's acknowledgement, at most for the server's `ack_timeout`.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        self.emit_with_ack_within(self.namespace().config().ack_timeout, event, &args)
    }

    /// Emits an event and calls `callback` with the first argument of the client's acknowledgement, or with all
    /// arguments if `T` is a tuple, or with the error.
    ///
    /// A handler that awaits an acknowledgement delays the later events of its socket. This method does not: it returns
    /// at once, and the callback runs in a separate task, possibly while a handler of the same socket runs.
    ///
    /// ```
    /// # use sockeye::{AckError, Server, Socket};
    /// Server::new().of("/").on("start", async |socket: Socket| {
    ///     socket.emit_with_callback("ready?", (), async |answer: Result<bool, AckError>| match answer {
    ///         Ok(ready) => println!("ready: {ready}"),
    ///         Err(error) => println!("no answer: {error}"),
    ///     });
    /// });
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn emit_with_callback<T, F, Fut>(&self, event: &str, args: impl Arguments, callback: F)
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.emit_with_ack(event, args).call_with_answer(self.namespace().clone(), callback);
    }

    /// Events emitted through the result are dropped unless the client is ready to receive them.
    pub fn volatile(&self) -> Direct {
        Direct::new(self.clone()).volatile()
    }

    /// Emits through the result wait this long for acknowledgements.
    pub fn timeout(&self, timeout: Duration) -> Direct {
        Direct::new(self.clone()).timeout(timeout)
    }

    /// Events emitted through the result reach the other sockets of the namespace, not this one.
    pub fn broadcast(&self) -> Operator {
        Operator::new(self.namespace().clone()).except(self.id())
    }

    /// Events emitted through the result reach the members of these rooms, but not this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> Operator {
        self.broadcast().to(rooms)
    }

    /// Events emitted through the result reach the other sockets of the namespace, except the members of these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Operator {
        self.broadcast().except(rooms)
    }

    /// Joins rooms.
    ///
    /// # Errors
    /// If the socket would be in more than `max_rooms` rooms. It then joins none of them.
    pub fn join(&self, rooms: impl IntoRooms) -> Result<(), LimitError> {
        let mut names = RoomNames::new();
        add_rooms(&mut names, rooms);
        self.namespace().join_rooms(self, &names)
    }

    /// Leaves rooms. A socket cannot leave the room named after its id.
    pub fn leave(&self, rooms: impl IntoRooms) {
        let mut names = RoomNames::new();
        add_rooms(&mut names, rooms);
        self.namespace().leave_rooms(self, &names);
    }

    /// The rooms that the socket is in; the room named after its id comes first. After the socket has left the
    /// namespace, the rooms that it was in when it left.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        let rooms = self.namespace().local().rooms_joined_by(self);
        if rooms.is_empty() { self.0.shared.lock().last_rooms.clone() } else { rooms }
    }

    /// Whether the socket is in a room.
    pub fn is_in(&self, room: &str) -> bool {
        self.rooms().iter().any(|joined| **joined == *room)
    }

    /// Disconnects the client from the namespace. In a connect handler, this refuses the client.
    ///
    /// Handlers that have begun run to their end. Events that wait behind them are not handled. In an event middleware,
    /// this also stops the current event: its handlers do not run.
    ///
    /// The client receives a DISCONNECT packet. The official clients do not reconnect by themselves after it.
    pub fn disconnect(&self) {
        self.leave_namespace();
        self.0.session.wake();
    }

    /// Disconnects the client from all its namespaces, as [`disconnect`](Self::disconnect) does, and closes the
    /// connection.
    pub fn close(&self) {
        // This is stored first, because the connection's task may drop the socket as soon as the socket leaves.
        self.0.closes_connection.store(true, Ordering::Release);
        if !self.leave_namespace().is_current() {
            // The connection's task may already have dropped the socket.
            self.0.session.close();
        }
        self.0.session.wake();
    }

    /// Whether to close the whole connection.
    pub(crate) fn closes_connection(&self) -> bool {
        self.0.closes_connection.load(Ordering::Acquire)
    }

    /// Handles an event of this socket only. The namespace's handlers of the same event run first.
    pub fn on<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) {
        let handler = erase(handler);
        self.change_handlers(|handlers| handlers.events.on(event, handler, false));
    }

    /// Handles an event of this socket once.
    pub fn once<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) {
        let handler = erase(handler);
        self.change_handlers(|handlers| handlers.events.on(event, handler, true));
    }

    /// Removes this socket's handlers of an event. The namespace's handlers remain.
    pub fn off(&self, event: &str) {
        self.change_handlers(|handlers| handlers.events.off(event));
    }

    /// Handles the disconnection of this socket. The namespace's disconnect handlers run first.
    pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<OnDisconnect, P>) {
        let handler = erase(handler);
        self.change_handlers(|handlers| handlers.disconnect.push(handler));
    }

    /// Stores a value with this socket, one of each type. Returns the value that it replaces.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let mut shared = self.0.shared.lock();
        shared.extensions.get_or_insert_default().insert(value)
    }

    /// The value of this type that is stored with the socket.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let shared = self.0.shared.lock();
        shared.extensions.as_ref()?.get()
    }

    /// Sets the data that `fetch_sockets` returns for this socket, also on other servers.
    pub fn set_data(&self, data: Value) {
        self.insert(Data(data));
    }

    /// The data set by [`set_data`](Self::set_data).
    pub fn data(&self) -> Value {
        self.extension::<Data>().map_or(Value::Null, |data| data.0.clone())
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0.session
    }

    pub(crate) fn emit_with_ack_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        event: &str,
        args: &impl Arguments,
    ) -> AckFuture<T> {
        let id = self.namespace().next_ack_id();
        let (sender, answer) = oneshot::channel();
        let expected = {
            let limit = self.namespace().config().max_pending_acks;
            self.0.shared.lock().acks.get_or_insert_default().expect(id, PendingAck::One(sender), limit)
        };
        if let Err(limit) = expected {
            return AckFuture::failed(self.namespace().limit_hit(limit).into());
        }
        match self.emit_expecting(event, Some(id), args) {
            Ok(()) => AckFuture::waiting(self.clone(), id, answer, timeout),
            Err(error) => {
                self.forget_ack(id);
                AckFuture::failed(error)
            }
        }
    }

    /// Expects this socket to acknowledge a broadcast and returns true. If it cannot, this sends the reason to
    /// `answers` and returns false.
    pub(crate) fn expect_broadcast_ack(&self, id: u64, answers: &Answers) -> bool {
        let expected = {
            let mut shared = self.0.shared.lock();
            match shared.leaving {
                None => {
                    let ack = PendingAck::Broadcast(self.id().clone(), answers.clone());
                    let limit = self.namespace().config().max_pending_acks;
                    Some(shared.acks.get_or_insert_default().expect(id, ack, limit))
                }
                // The socket may already have failed its acknowledgements, so that nothing would answer a new one.
                Some(_) => None,
            }
        };
        let why = match expected {
            Some(Ok(())) => return true,
            Some(Err(limit)) => EmitError::from(self.namespace().limit_hit(limit)).into(),
            None => AckError::Disconnected,
        };
        // The caller holds the receiver, so that sending cannot fail.
        let _asking = answers.send((self.id().clone(), Err(why)));
        false
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        if let Some(acks) = &mut self.0.shared.lock().acks {
            drop(acks.take(id));
        }
    }

    pub(crate) fn resolve_ack(&self, id: u64, args: ArgsBuf) {
        let waiting = self.0.shared.lock().acks.as_mut().and_then(|acks| acks.take(id));
        match waiting {
            Some(waiting) => waiting.resolve(args),
            None => tracing::debug!(sid = self.id().short(), id, "ignored an acknowledgement that nobody waits for"),
        }
    }

    pub(crate) fn emit_expecting(&self, event: &str, ack: Option<u64>, args: &impl Arguments) -> Result<(), EmitError> {
        check_name(event)?;
        let namespace = self.namespace();
        if namespace.config().log_events {
            tracing::info!(target: "sockeye::events", namespace = namespace.name(), event, sid = self.id().short(), "emit");
        }
        if namespace.is_observed() {
            namespace.observe(self, event, ArgsBuf::new(args)?.as_args());
        }
        with_encoded(
            |buffer| namespace.config().parser.event(buffer, namespace.name(), ack, event, args),
            |buffer, wire| self.write(buffer, wire),
        )??;
        Ok(())
    }

    /// Sends a broadcast's packet to this socket. If `volatile`, it sends the packet only if the client is ready to
    /// receive.
    pub(crate) fn deliver(&self, packet: &EncodedPacket, volatile: bool) {
        if self.namespace().is_observed() {
            outgoing::show(self, packet);
        }
        match self.membership() {
            ServerMembership::Joined if volatile && !self.0.session.is_writable() => {}
            ServerMembership::Joined => {
                // The session itself handles that it is closing or too slow.
                let _closed = match packet.frames() {
                    [frame] => self.0.session.send(frame.clone()),
                    frames => self.0.session.send_all(frames.iter().cloned()),
                };
            }
            ServerMembership::Connecting if !volatile => self.hold(packet.frames().to_vec()),
            _ => {}
        }
    }

    /// Whether the client is ready to receive a packet.
    pub(crate) fn is_writable(&self) -> bool {
        self.is_connected() && self.0.session.is_writable()
    }

    /// Admits the client: sends the packets it missed, CONNECT, and the held packets. Returns false if the socket was
    /// disconnected.
    pub(crate) fn admit(&self) -> bool {
        let namespace = self.namespace();
        let mut shared = self.0.shared.lock();
        let mut membership = self.membership();
        if membership.handle(Input::Admit) != Some(Answer::Connect) {
            return false;
        }
        let missed = shared.recovery.as_mut().and_then(|recovery| recovery.missed.take());
        // Errors need no handling here: the task of a closed session notices the end, and the socket then leaves as
        // usual.
        let mut sent = self.0.session.send_all(missed.unwrap_or_default());
        let pid = shared.recovery.as_ref().map(|recovery| recovery.pid.clone());
        let answered = with_encoded(
            |buffer| match self.revision() {
                Revision::V3 => namespace.config().parser.connect(buffer, Revision::V3, namespace.name(), None::<&()>),
                Revision::V4 => {
                    let admission = Admission { sid: self.id(), pid: pid.as_ref().map(PrivateId::as_str) };
                    namespace.config().parser.connect(buffer, Revision::V4, namespace.name(), Some(&admission))
                }
            },
            |buffer, wire| send(&self.0.session, buffer, wire),
        );
        log_encoding(answered.map(|answered| sent = sent.and(answered)));
        if let Some(held) = shared.held.take() {
            sent = sent.and(self.0.session.send_all(held.frames));
        }
        match &mut shared.recovery {
            // The missed packets do not fit the outbox. The client would fail in the same way each time it reconnects,
            // so that it is not recovered again.
            recovery if sent == Err(SendError::SlowConsumer) => *recovery = None,
            Some(recovery) => recovery.admitted_at = Some(Instant::now()),
            None => {}
        }
        self.0.membership.store(membership.into(), Ordering::Release);
        true
    }

    /// The state of the client's membership in the namespace.
    pub(crate) fn membership(&self) -> ServerMembership {
        ServerMembership::try_from(self.0.membership.load(Ordering::Acquire)).unwrap_or(ServerMembership::Left)
    }

    /// Changes the membership. Returns the former membership and the packet to send to the client.
    fn change_membership(&self, _lock: &mut Shared, input: Input) -> (ServerMembership, Option<Answer>) {
        let former = self.membership();
        let mut membership = former;
        let answer = membership.handle(input);
        self.0.membership.store(membership.into(), Ordering::Release);
        (former, answer)
    }

    /// Ends the attempt to join. Returns true if the client is to receive CONNECT_ERROR.
    pub(crate) fn begin_refusal(&self) -> bool {
        self.begin_leaving(DisconnectReason::ServerNamespaceDisconnect);
        self.change_membership(&mut self.0.shared.lock(), Input::Refuse).1.is_some()
    }

    /// Records that the disconnect handlers have run.
    pub(crate) fn handlers_ended(&self) {
        self.change_membership(&mut self.0.shared.lock(), Input::HandlersEnded);
    }

    /// Ends the membership for this reason and fails the unanswered acknowledgements. Only the first reason counts.
    /// Returns the former membership and the packet to send to the client.
    pub(crate) fn begin_leaving(&self, reason: DisconnectReason) -> (ServerMembership, Option<Answer>) {
        let mut shared = self.0.shared.lock();
        let changed = self.change_membership(&mut shared, Input::Leave(reason.left_by()));
        shared.leaving.get_or_insert(reason);
        shared.is_expelled |= reason == DisconnectReason::ServerNamespaceDisconnect;
        if let Some(recovery) = &mut shared.recovery {
            recovery.left_at.get_or_insert_with(Instant::now);
        }
        shared.held = None;
        let acks = shared.acks.take();
        drop(shared);
        // A handler may await one of them, and the socket cannot leave before that handler has ended.
        if let Some(acks) = acks {
            acks.disconnected();
        }
        changed
    }

    /// Whether this socket has the private id and can be recovered.
    pub(crate) fn is_recoverable_by(&self, pid: &PrivateId) -> bool {
        let shared = self.0.shared.lock();
        !shared.is_expelled
            && shared.leaving.is_none_or(DisconnectReason::is_recoverable)
            && shared.recovery.as_ref().is_some_and(|recovery| recovery.pid == *pid)
    }

    /// Ends this socket and its connection, because its client has reconnected on another connection.
    pub(crate) fn make_way(&self) {
        let (former, _) = self.begin_leaving(DisconnectReason::Connection(CloseReason::TransportClose));
        if former.is_current() {
            self.0.session.close();
            self.0.session.wake();
        }
    }

    /// Why the socket leaves or has left; none if it has not.
    pub(crate) fn leaving(&self) -> Option<DisconnectReason> {
        if self.membership().is_current() { None } else { self.0.shared.lock().leaving }
    }

    /// Whether the server has disconnected the socket. Events that wait for a handler are then not handled.
    pub(crate) fn is_expelled(&self) -> bool {
        !self.membership().is_current() && self.0.shared.lock().is_expelled
    }

    /// Keeps the rooms, which disconnect handlers can still read.
    pub(crate) fn keep_rooms(&self, rooms: Vec<Arc<str>>) {
        self.0.shared.lock().last_rooms = rooms;
    }

    /// Keeps the rooms, which disconnect handlers can still read. Returns the state that recovery keeps.
    pub(crate) fn finish_leaving(&self, rooms: Vec<Arc<str>>) -> Option<(PrivateId, Left)> {
        let mut shared = self.0.shared.lock();
        if shared.last_rooms.is_empty() {
            shared.last_rooms.clone_from(&rooms);
        }
        shared.recovery.as_ref().map(|recovery| {
            let left = Left {
                sid: self.id().clone(),
                rooms,
                extensions: shared.extensions.clone(),
                since: recovery.since,
                reached: recovery.reached(&self.0.session),
                at: recovery.left_at.unwrap_or_else(Instant::now),
            };
            (recovery.pid.clone(), left)
        })
    }

    /// Calls `with` with the handlers of this socket, if it has any.
    pub(crate) fn with_handlers<R>(&self, with: impl FnOnce(&mut Handlers) -> R) -> Option<R> {
        if !self.0.has_handlers.load(Ordering::Acquire) {
            return None;
        }
        self.0.shared.lock().handlers.as_mut().map(|handlers| with(handlers))
    }

    /// A number that distinguishes this socket from all other existing sockets.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Begins to leave the namespace and sends DISCONNECT to the client. Returns the former membership.
    fn leave_namespace(&self) -> ServerMembership {
        let (former, answer) = self.begin_leaving(DisconnectReason::ServerNamespaceDisconnect);
        if answer == Some(Answer::Disconnect) {
            let name = self.namespace().name();
            let sent = with_encoded(
                |buffer| self.namespace().config().parser.disconnect(buffer, self.revision(), name),
                |buffer, wire| send(&self.0.session, buffer, wire),
            );
            // A closed session needs no DISCONNECT packet.
            log_encoding(sent.map(drop));
        }
        former
    }

    fn change_handlers(&self, change: impl FnOnce(&mut Handlers)) {
        change(self.0.shared.lock().handlers.get_or_insert_default());
        self.0.has_handlers.store(true, Ordering::Release);
    }

    /// Sends one packet to this socket only.
    fn write(&self, buffer: &[u8], wire: Wire) -> Result<(), SendError> {
        match self.membership() {
            ServerMembership::Joined => send(&self.0.session, buffer, wire),
            ServerMembership::Connecting => {
                self.hold(into_frames(buffer, wire));
                Ok(())
            }
            _ => Err(SendError::Closed),
        }
    }

    /// Holds a packet until the client is admitted, or sends it if the client was admitted meanwhile.
    fn hold(&self, packet: Vec<Frame>) {
        let mut shared = self.0.shared.lock();
        match self.membership() {
            ServerMembership::Connecting => {
                let held = shared.held.get_or_insert_default();
                held.bytes += packet.iter().map(|frame| frame.websocket().len()).sum::<usize>();
                held.frames.extend(packet);
                if held.bytes > self.namespace().config().engine.outbox_bytes {
                    shared.held = None;
                    drop(shared);
                    let limit = self.namespace().config().engine.outbox_bytes;
                    let consequence = "closed a connection because too much was emitted to it before it joined";
                    log_limit(self.id().short(), "outbox_bytes", limit, consequence);
                    self.0.session.close();
                }
            }
            ServerMembership::Joined => {
                drop(shared);
                let _closed = self.0.session.send_all(packet);
            }
            _ => {}
        }
    }
}

impl Acknowledge for Socket {
    type Error = EmitError;

    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), EmitError> {
        let namespace = self.namespace();
        with_encoded(
            |buffer| namespace.config().parser.ack(buffer, namespace.name(), id.number, args),
            |buffer, wire| self.write(buffer, wire),
        )??;
        Ok(())
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.0.id).field("namespace", &self.0.namespace.name()).finish()
    }
}

/// The data set by [`Socket::set_data`].
struct Data(Value);

/// The payload of the CONNECT packet that admits a client.
#[derive(serde::Serialize)]
struct Admission<'a> {
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a str>,
}

pub(crate) fn send(session: &Arc<Session>, buffer: &[u8], wire: Wire) -> Result<(), SendError> {
    match wire {
        Wire::Text(attachments) if attachments.is_empty() => session.send_text(buffer),
        wire => session.send_all(into_frames(buffer, wire)),
    }
}

pub(crate) fn log_encoding(result: Result<(), EncodeError>) {
    if let Err(error) = result {
        tracing::error!(%error, "a packet could not be encoded and was not sent");
    }
}

pub(crate) fn into_frames(buffer: &[u8], wire: Wire) -> Vec<Frame> {
    match wire {
        Wire::Text(attachments) => {
            let attachments = attachments.iter().map(|attachment| Frame::binary(attachment));
            std::iter::once(Frame::text(buffer)).chain(attachments).collect()
        }
        Wire::Binary => vec![Frame::binary(buffer)],
        Wire::Frames(frames) => frames,
    }
}
