use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use hashbrown::HashSet;
use parking_lot::{Mutex, MutexGuard};
use serde_json::value::RawValue;
use sockeye_protocol::socketio::membership::{OnFailure, Transmit};
use tokio::sync::{mpsc, oneshot};

use super::{
    lifecycle::ManagerEvent,
    socket::{SocketShared, SocketState},
};
use crate::{
    ConnectError, DisconnectReason, Transport,
    connection::{
        packet::{Origin, Outgoing},
        queue::Queue,
        session::{Connection, Link},
        transport::Lost,
    },
    error::ConnectErrorKind,
    random::{random_bytes, random_share},
    settings::{auth::Auth, builder::Config},
};

/// What the handles of a manager and its task share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    core: Mutex<Core>,
}

/// The part of it that changes.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    /// Whether the task runs.
    pub(crate) running: bool,
    pub(crate) sockets: Vec<SocketState>,
    /// The messages of connected sockets that the task has not taken yet.
    pub(crate) outbox: Queue,
    /// How many bytes the task has taken and not written yet.
    pub(crate) backlog: usize,
    /// Wakes the task; `None` while it is at work.
    pub(crate) waker: Option<Waker>,
    /// Whether something has changed since the task last looked.
    pub(crate) changed: bool,
    /// Whether the task will soon look at the outbox without being woken.
    pub(crate) attentive: bool,
    pub(crate) open: Option<OpenConnection>,
    pub(crate) listeners: Vec<mpsc::Sender<ManagerEvent>>,
    /// The tasks that wait until the connection is closed.
    pub(crate) closed: Vec<oneshot::Sender<()>>,
    /// The tasks that wait until everything is written.
    pub(crate) flushed: Vec<oneshot::Sender<()>>,
}

/// The open connection, as the handles see it.
pub(crate) struct OpenConnection {
    pub(crate) transport: Transport,
    pub(crate) sid: Arc<str>,
    link: Link,
    /// Whether a server of revision 3 has let the client into the namespace `/`, which needs no socket of this side.
    pub(crate) is_in_root: bool,
}

/// Ends the manager's task when the last handle is dropped.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.core().disconnect_all();
    }
}

/// The most bytes that wait for a task that looks at the outbox without being woken.
const ATTENTION: usize = 32 * 1024;

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self { core: Mutex::new(Core::new(config.clone())), config }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// Adds a message whose acknowledgement is going to be awaited, which sends it. The task is woken for it only if it
    /// would not notice by itself and others are under way; if it is `alone`, the caller writes it.
    pub(crate) fn send_awaited(&self, mut core: MutexGuard<'_, Core>, packet: Outgoing, alone: bool) {
        let attentive = core.attentive && core.outbox.bytes() <= ATTENTION;
        let alone = alone && core.outbox.is_empty() && core.link().is_some();
        if !attentive && !alone {
            return core.push(packet);
        }
        core.outbox.push(packet);
        core.changed = true;
        drop(core);
        if !attentive {
            self.flush();
        }
    }

    /// Writes what waits, in the task of the caller, unless the manager's task is about to do so.
    ///
    /// Whoever is going to wait for an answer calls this. Waking the task for it costs several times as much as the
    /// writing, if it is another thread that has to be woken.
    pub(crate) fn flush(&self) {
        loop {
            let mut core = self.core();
            if core.outbox.is_empty() {
                return;
            }
            let (Some(link), Some(waker)) = (core.link().cloned(), core.waker.clone()) else { return };
            if !core.flushed.is_empty() {
                // The task tells those who wait for that.
                return core.wake();
            }
            drop(core);
            // Whoever has the lock looks at the outbox again after giving it back: the task always does, others do so in
            // this loop.
            let Some(mut connection) = link.try_lock() else { return };
            let mut core = self.core();
            // A connection that was given up meanwhile would keep what it gets to itself.
            if core.link().is_none_or(|current| !Arc::ptr_eq(current, &link)) {
                return;
            }
            connection.send_all(&mut core.outbox);
            drop(core);
            // What cannot be written at once, the task writes when it can. It also handles an error.
            if let Poll::Ready(Err(_)) = connection.poll_write(&mut Context::from_waker(&waker)) {
                waker.wake_by_ref();
            }
            self.core().backlog = connection.backlog();
        }
    }
}

impl Core {
    fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            running: false,
            sockets: Vec::new(),
            outbox: Queue::default(),
            backlog: 0,
            waker: None,
            changed: false,
            attentive: false,
            open: None,
            listeners: Vec::new(),
            closed: Vec::new(),
            flushed: Vec::new(),
        }
    }

    /// Adds the socket of a namespace.
    pub(crate) fn add_socket(&mut self, namespace: String) -> Arc<SocketShared> {
        let tag = format!("{:016x}", u64::from_ne_bytes(random_bytes()));
        let shared = Arc::new(SocketShared::new(namespace, self.sockets.len(), tag));
        let mut socket = SocketState::new(shared.clone(), &self.config);
        if let Some(open) = &self.open {
            socket.membership.connection_opened(Instant::now());
            if open.is_in_root && *shared.namespace == *"/" {
                socket.membership.handle_connect(Instant::now(), open.sid.clone(), None);
            }
        }
        // Nearly all managers have one socket, for which a growing vector would keep room for four.
        self.sockets.reserve_exact(usize::from(self.sockets.is_empty()));
        self.sockets.push(socket);
        shared
    }

    /// Marks a socket as one to be connected. The receiver gets the outcome.
    pub(crate) fn connect(&mut self, index: usize) -> oneshot::Receiver<Result<(), ConnectError>> {
        let (sender, receiver) = oneshot::channel();
        let Some(socket) = self.sockets.get_mut(index) else { return receiver };
        let on_failure = if self.config.retry_first { OnFailure::Retry } else { OnFailure::GiveUp };
        socket.membership.connect(Instant::now(), on_failure);
        socket.tell_when_connected(sender);
        self.settle(index);
        receiver
    }

    /// Takes a socket out of its namespace, as the user wants.
    pub(crate) fn disconnect(&mut self, index: usize) {
        self.change_membership(index, |socket| {
            let cancelled = ConnectErrorKind::Cancelled { namespace: socket.shared.namespace.to_string() }.into();
            socket.membership.disconnect(Instant::now(), DisconnectReason::ClientDisconnect, cancelled);
        });
    }

    pub(crate) fn disconnect_all(&mut self) {
        for index in 0..self.sockets.len() {
            self.disconnect(index);
        }
        self.wake();
    }

    /// The attempt for which the authentication data is to be made, and the function that makes it.
    pub(crate) fn due_authentication(&mut self, index: usize) -> Option<(u64, Option<Auth>)> {
        let socket = self.sockets.get_mut(index)?;
        Some((socket.authenticate.take()?, socket.auth.clone()))
    }

    /// Sends CONNECT with this authentication data, if the socket still waits for it.
    pub(crate) fn authenticated(&mut self, index: usize, attempt: u64, auth: Option<&RawValue>) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let now = Instant::now();
        socket.membership.authenticated(now, attempt);
        if socket.membership.poll_transmit() == Some(Transmit::Connect) {
            let namespace = &*socket.shared.namespace;
            match self.config.parser.connect(self.config.engine_version, namespace, auth, socket.membership.offer()) {
                Ok(packet) => self.push(packet),
                Err(error) => {
                    let kind = ConnectErrorKind::Auth { namespace: namespace.to_owned() };
                    socket.membership.handle_connect_error(now, ConnectError::with_source(kind, error));
                }
            }
        }
        self.settle(index);
    }

    /// The authentication data for an attempt could not be made.
    pub(crate) fn authentication_failed(
        &mut self,
        index: usize,
        attempt: u64,
        now: Instant,
        error: Box<dyn StdError + Send + Sync>,
    ) {
        let Some(SocketState { membership, shared, backoff, .. }) = self.sockets.get_mut(index) else { return };
        let kind = ConnectErrorKind::Auth { namespace: shared.namespace.to_string() };
        let error = ConnectError::with_source(kind, error);
        membership
            .authentication_failed(now, attempt, error, || backoff.next(&self.config.reconnection, random_share()));
        self.settle(index);
    }

    /// Acts on what happened to a socket's membership, and sends what that wants to send.
    pub(crate) fn settle(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        if socket.take_events() {
            self.outbox.append(&mut socket.buffer);
        }
        // CONNECT is sent with its authentication data, and so not from here.
        while let Some(Transmit::Disconnect) = socket.membership.poll_transmit() {
            if let Ok(packet) = self.config.parser.disconnect(&socket.shared.namespace) {
                self.outbox.push(packet);
            }
        }
        self.wake();
    }

    /// Takes in that the time of a socket's membership may have come.
    pub(crate) fn handle_timeout(&mut self, index: usize, now: Instant) {
        let Some(SocketState { membership, shared, backoff, .. }) = self.sockets.get_mut(index) else { return };
        if membership.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        let (namespace, timeout) = (&shared.namespace, self.config.timeout);
        membership.handle_timeout(
            now,
            || ConnectErrorKind::NamespaceTimedOut { namespace: namespace.to_string(), timeout }.into(),
            || backoff.next(&self.config.reconnection, random_share()),
        );
        self.settle(index);
    }

    /// A connection is open.
    pub(crate) fn connection_opened(&mut self, link: &Link, connection: &Connection) {
        self.open = Some(OpenConnection {
            transport: connection.transport(),
            sid: connection.sid.clone(),
            link: link.clone(),
            is_in_root: false,
        });
        self.change_memberships(|socket| socket.membership.connection_opened(Instant::now()));
    }

    /// The connection is gone, with what it had not sent.
    pub(crate) fn connection_lost(&mut self, lost: &Lost, unsent: VecDeque<Outgoing>) {
        self.open = None;
        self.backlog = 0;
        let waiting = std::mem::take(&mut self.outbox);
        for packet in waiting.into_packets().rev().chain(unsent.into_iter().rev()) {
            let Origin::Event(index) = packet.origin else { continue };
            if let Some(socket) = self.sockets.get_mut(index).filter(|socket| !socket.has_ended())
                && packet.ack.is_none_or(|ack| !socket.withdrawn.contains(&ack))
            {
                socket.buffer.push_front(packet);
            }
        }
        self.change_memberships(|socket| {
            socket.withdrawn = HashSet::new();
            socket.membership.connection_lost(lost.reason);
        });
    }

    /// Tells the sockets that are to be connected why they are not.
    pub(crate) fn connection_failed(&mut self, error: &dyn Fn(String) -> ConnectError) {
        self.change_memberships(|socket| {
            let error = error(socket.shared.namespace.to_string());
            socket.membership.connection_failed(error);
        });
    }

    /// Gives up the sockets that are to be connected.
    pub(crate) fn give_up(&mut self, error: &dyn Fn(String) -> ConnectError) {
        self.change_memberships(|socket| {
            let error = error(socket.shared.namespace.to_string());
            socket.membership.give_up(error);
        });
    }

    /// Changes the membership of every socket, as [`change_membership`](Self::change_membership) does.
    fn change_memberships(&mut self, mut change: impl FnMut(&mut SocketState)) {
        for index in 0..self.sockets.len() {
            self.change_membership(index, &mut change);
        }
    }

    /// Changes a socket's membership, acts on what happened to it, and sends what it wants to send.
    pub(crate) fn change_membership(&mut self, index: usize, change: impl FnOnce(&mut SocketState)) {
        if let Some(socket) = self.sockets.get_mut(index) {
            change(socket);
            self.settle(index);
        }
    }

    /// The connection that whoever emits can write to. Polling writes by requests, which only the task makes.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.open.as_ref().filter(|open| open.transport == Transport::WebSocket).map(|open| &open.link)
    }

    /// The connection has moved to WebSocket.
    pub(crate) fn upgraded(&mut self) {
        if let Some(open) = &mut self.open {
            open.transport = Transport::WebSocket;
        }
    }

    pub(crate) fn wake(&mut self) {
        self.changed = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Adds a message of this connection.
    pub(crate) fn push(&mut self, packet: Outgoing) {
        self.outbox.push(packet);
        self.wake();
    }

    /// How many bytes of connected sockets wait to be written.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.outbox.bytes() + self.backlog
    }

    /// Whether any socket is connected or is to be.
    pub(crate) fn is_wanted(&self) -> bool {
        self.sockets.iter().any(|socket| socket.membership.is_active())
    }

    pub(crate) fn tell(&mut self, event: impl FnOnce() -> ManagerEvent) {
        if self.listeners.is_empty() {
            return;
        }
        let event = event();
        self.listeners
            .retain(|listener| !matches!(listener.try_send(event.clone()), Err(mpsc::error::TrySendError::Closed(_))));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("url", &self.config.url.as_str()).finish_non_exhaustive()
    }
}
