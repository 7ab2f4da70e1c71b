//! One client in one namespace.
mod acks;
mod delivery;
mod membership;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use sockeye_engine::{Frame, Handshake, Revision, Session, Sid, TransportKind};
use sockeye_handler::Values;
use sockeye_protocol::socketio::{Value, membership::ServerMembership};
use tokio::time::Instant;

use crate::{
    DisconnectReason, IntoRooms, LimitError, Namespace,
    adapter::recovery::{Identity, PrivateId},
    adapter::target::{RoomNames, add_rooms},
    handler::{Handler, OnDisconnect, OnEvent, erase, table::Handlers},
    handles::pending_acks::PendingAcks,
};

/// One client in one namespace. Cheap to clone, and usable from any task or thread.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: Sid,
    namespace: Namespace,
    session: Arc<Session>,
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
    /// The payload of the client's CONNECT packet. Without `keep_auth` it is dropped when the client is admitted.
    auth: Option<Arc<RawValue>>,
    /// Packets that were emitted before the client was admitted. They are sent after the CONNECT packet.
    held: Option<Box<Held>>,
    /// Why the membership ends; none until it ends.
    leaving: Option<DisconnectReason>,
    /// Whether the server has disconnected the socket. It can do so even after the client has left.
    is_expelled: bool,
    /// The rooms the socket was in when it left.
    last_rooms: Box<[Arc<str>]>,
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
    /// How many bytes of memory the frames take.
    memory: usize,
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
        let mut shared = Shared { auth: auth.map(Arc::from), ..Shared::default() };
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

    /// The request that opened the connection: its target, and its headers but for those that only say how the
    /// connection works, which [`keep_all_headers`](crate::EngineConfig::keep_all_headers) adds.
    pub fn handshake(&self) -> &Handshake {
        self.0.session.handshake()
    }

    /// The payload of the client's CONNECT packet (`auth` in the JavaScript client), as JSON text. For a client of
    /// Socket.IO 2 it is the query in its CONNECT packet. After the connect handlers it is none, unless
    /// [`keep_auth`](crate::Config::keep_auth) is set.
    pub fn auth(&self) -> Option<Arc<RawValue>> {
        self.0.shared.lock().auth.clone()
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
        if rooms.is_empty() { self.0.shared.lock().last_rooms.to_vec() } else { rooms }
    }

    /// Whether the socket is in a room. After the socket has left the namespace, whether it was in the room when it left.
    pub fn is_in(&self, room: &str) -> bool {
        self.namespace().local().is_in(self, room)
            || self.0.shared.lock().last_rooms.iter().any(|joined| **joined == *room)
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

    fn change_handlers(&self, change: impl FnOnce(&mut Handlers)) {
        change(self.0.shared.lock().handlers.get_or_insert_default());
        self.0.has_handlers.store(true, Ordering::Release);
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
