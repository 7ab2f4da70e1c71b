use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard, RwLock};
use sockeye_handler::Named;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    ConnectError, DisconnectReason, Event, ManagerEvent, Transport,
    config::{Auth, Config},
    connection::packet::{Origin, Outgoing, Queue},
    connection::session::{Connection, Link},
    connection::transport::Lost,
    error::{AckErrorKind, ConnectErrorKind},
    handles::ack::Outcome,
    handles::handler::{ErasedHandler, OnConnect, OnConnectError, OnDisconnect, OnEvent},
    member::buffer::SendBuffer,
    member::retry::RetryQueue,
};

/// What the handles of a manager and the task that drives it have in common.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    core: Mutex<Core>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct Core {
    /// Whether there is a task.
    pub(crate) running: bool,
    /// Whether the last handle is gone.
    pub(crate) abandoned: bool,
    pub(crate) sockets: Vec<SocketCore>,
    /// What connected sockets have emitted since the task last looked.
    pub(crate) outbox: Queue,
    /// How many bytes the task has taken and not yet written.
    pub(crate) backlog: usize,
    /// Wakes the task; `None` while it is at work.
    pub(crate) waker: Option<Waker>,
    /// Whether something has changed since the task last looked.
    pub(crate) changed: bool,
    /// The open connection, if whoever emits can write to it as well as the task can.
    pub(crate) link: Option<Link>,
    /// Whether the task looks after the outbox before long unasked, so that who is about to write needn't wake it.
    pub(crate) attentive: bool,
    /// The open connection, if there is one.
    pub(crate) open: Option<(Transport, Arc<str>)>,
    pub(crate) listeners: Vec<mpsc::Sender<ManagerEvent>>,
    /// Who waits for the connection to be closed.
    pub(crate) closed: Vec<oneshot::Sender<()>>,
    /// Who waits for everything to be written.
    pub(crate) flushed: Vec<oneshot::Sender<()>>,
}

/// One socket, as its manager sees it.
pub(crate) struct SocketCore {
    pub(crate) socket: Arc<SocketInner>,
    pub(crate) state: State,
    /// Whether it is to be connected.
    pub(crate) active: bool,
    /// Whether it was disconnected for good, so that nothing is buffered for it.
    pub(crate) ended: bool,
    /// Why it was.
    pub(crate) end: Option<ConnectError>,
    /// Whether the server has let it in since it was to be connected, so that it is joined again by itself.
    pub(crate) was_joined: bool,
    /// When it is to be joined again, if not at once.
    pub(crate) again: Option<Instant>,
    pub(crate) id: Option<Arc<str>>,
    /// How often the server was asked to let it in: acknowledgements belong to the stay they were asked for in.
    pub(crate) stay: u64,
    pub(crate) recovered: bool,
    pub(crate) auth: Option<Auth>,
    pub(crate) buffer: SendBuffer,
    pub(crate) retry: RetryQueue,
    pub(crate) acks: HashMap<u64, oneshot::Sender<Outcome>>,
    /// The acknowledgements for which time ran out while their events may not have been written.
    pub(crate) withdrawn: HashSet<u64>,
    /// Who waits for it to be connected.
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), ConnectError>>>,
    /// What has happened to it that its handlers have not been told.
    pub(crate) news: VecDeque<News>,
}

/// Where a socket stands with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not in its namespace, nor does it ask to be let in.
    Apart,
    /// The server was asked, or is about to be.
    Joining,
    Joined,
}

/// What handlers are told, events apart.
#[derive(Debug)]
pub(crate) enum News {
    Connected,
    Disconnected(DisconnectReason),
    ConnectFailed(ConnectError),
}

/// What does not change of a socket but for its handlers.
pub(crate) struct SocketInner {
    pub(crate) namespace: Box<str>,
    pub(crate) index: usize,
    /// What tells its events from those of any other socket, for servers that look for repetitions.
    pub(crate) tag: Box<str>,
    /// The number of the next event that is to be acknowledged.
    pub(crate) next_ack: AtomicU64,
    pub(crate) handlers: RwLock<Handlers>,
}

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Arc<[ErasedHandler<OnConnect>]>,
    pub(crate) disconnect: Arc<[ErasedHandler<OnDisconnect>]>,
    pub(crate) connect_error: Arc<[ErasedHandler<OnConnectError>]>,
    /// Run for every event, before its own handlers.
    pub(crate) any: Arc<[ErasedHandler<OnEvent>]>,
    pub(crate) events: Named<OnEvent>,
    /// Run for events that have no handler of their own.
    pub(crate) fallback: Arc<[ErasedHandler<OnEvent>]>,
    pub(crate) streams: Arc<[mpsc::Sender<Event>]>,
}

/// Ends the manager's task when the last handle is dropped.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut core = self.shared.core();
        core.abandoned = true;
        for index in 0..core.sockets.len() {
            self.shared.leave(&mut core, index);
        }
        core.wake();
    }
}

/// Who has left its namespace may ask for it again after this time. The reference closes the connection for a CONNECT
/// that it reads together with the DISCONNECT before it, and nothing tells when it has read that.
const PAUSE: Duration = Duration::from_millis(50);

/// So many bytes wait at most for a task that is attentive.
const ATTENTION: usize = 32 * 1024;

impl SocketInner {
    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self { config: Arc::new(config), core: Mutex::default() }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// Adds a message whose acknowledgement is going to be awaited, which sends it. The task is woken for it only if it
    /// would not notice by itself and others are under way; if it is `alone`, the caller writes it.
    pub(crate) fn send_awaited(&self, mut core: MutexGuard<'_, Core>, packet: Outgoing, alone: bool) {
        let attentive = core.attentive && core.outbox.bytes() <= ATTENTION;
        let alone = alone && core.outbox.is_empty() && core.link.is_some();
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
            let (Some(link), Some(waker)) = (core.link.clone(), core.waker.clone()) else { return };
            if !core.flushed.is_empty() {
                // The task is the one to tell who waits for that.
                return core.wake();
            }
            drop(core);
            // Who has the lock looks at the outbox again after giving it back: the task as always, others in this loop.
            let Some(mut connection) = link.try_lock() else { return };
            let mut core = self.core();
            // A connection that was given up meanwhile would keep what it gets to itself.
            if core.link.as_ref().is_none_or(|current| !Arc::ptr_eq(current, &link)) {
                return;
            }
            connection.send_all(&mut core.outbox);
            drop(core);
            // What cannot be written at once, the task writes when it can; an error it meets too.
            if let Poll::Ready(Err(_)) = connection.poll_write(&mut Context::from_waker(&waker)) {
                waker.wake_by_ref();
            }
            self.core().backlog = connection.backlog();
        }
    }

    /// Makes sure that there is a task, and that it looks at what has changed.
    pub(crate) fn start(self: &Arc<Self>, handle: &Weak<Handle>, mut core: MutexGuard<'_, Core>) {
        if core.running {
            core.wake();
            return;
        }
        core.running = true;
        drop(core);
        tokio::spawn(crate::task::driver::Driver::new(self.clone(), handle.clone()).run());
    }

    /// Takes a socket out of its namespace at the user's wish.
    pub(crate) fn leave(&self, core: &mut Core, index: usize) {
        let Some(socket) = core.sockets.get_mut(index) else { return };
        // Who has asked to be let in says so when it is: see the hub.
        let was_joined = socket.state == State::Joined;
        socket.end(&|namespace| ConnectErrorKind::Cancelled { namespace }.into());
        if was_joined {
            socket.part(DisconnectReason::ClientDisconnect);
        }
        socket.state = State::Apart;
        socket.reject_acks(true);
        if was_joined {
            self.say_goodbye(core, index);
        }
    }

    /// Tells the server that a socket is no longer in its namespace.
    pub(crate) fn say_goodbye(&self, core: &mut Core, index: usize) {
        let Some(socket) = core.sockets.get_mut(index) else { return };
        socket.state = State::Apart;
        socket.again = Some(Instant::now() + PAUSE);
        if let Ok(packet) = self.config.parser.disconnect(&socket.socket.namespace) {
            core.push(packet);
        }
    }
}

impl Core {
    /// Takes in that a connection is open, or that it has changed its transport.
    pub(crate) fn opened(&mut self, link: &Link, connection: &Connection) {
        let transport = connection.transport();
        self.open = Some((transport, connection.sid.clone()));
        // Polling writes by requests, which are the task's to make.
        self.link = (transport == Transport::WebSocket).then(|| link.clone());
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

    pub(crate) fn tell(&mut self, event: impl FnOnce() -> ManagerEvent) {
        if self.listeners.is_empty() {
            return;
        }
        let event = event();
        self.listeners
            .retain(|listener| !matches!(listener.try_send(event.clone()), Err(mpsc::error::TrySendError::Closed(_))));
    }

    /// Takes in that the connection is gone, with what it had not sent.
    pub(crate) fn disconnected(&mut self, lost: &Lost, unsent: VecDeque<Outgoing>) {
        self.open = None;
        self.link = None;
        self.backlog = 0;
        let waiting = std::mem::take(&mut self.outbox);
        for packet in waiting.into_packets().rev().chain(unsent.into_iter().rev()) {
            let Origin::Event(index) = packet.origin else { continue };
            if let Some(socket) = self.sockets.get_mut(index).filter(|socket| !socket.ended)
                && packet.ack.is_none_or(|ack| !socket.withdrawn.contains(&ack))
            {
                socket.buffer.put_back(packet);
            }
        }
        for socket in &mut self.sockets {
            socket.withdrawn = HashSet::new();
            if socket.state == State::Joined {
                socket.part(lost.reason);
            }
            socket.state = State::Apart;
            socket.again = None;
        }
    }

    /// Gives up on all sockets that are to be connected.
    pub(crate) fn give_up(&mut self, error: &dyn Fn(String) -> ConnectError) {
        for socket in self.sockets.iter_mut().filter(|socket| socket.active) {
            socket.end(error);
        }
    }
}

impl SocketCore {
    pub(crate) fn new(socket: Arc<SocketInner>, auth: Option<Auth>) -> Self {
        Self {
            socket,
            state: State::Apart,
            active: false,
            ended: false,
            end: None,
            was_joined: false,
            again: None,
            id: None,
            stay: 0,
            recovered: false,
            auth,
            buffer: SendBuffer::default(),
            retry: RetryQueue::default(),
            acks: HashMap::new(),
            withdrawn: HashSet::new(),
            waiters: Vec::new(),
            news: VecDeque::new(),
        }
    }

    /// It is no longer joined.
    pub(crate) fn part(&mut self, reason: DisconnectReason) {
        self.state = State::Apart;
        self.id = None;
        self.recovered = false;
        self.retry.disconnected();
        self.reject_acks(false);
        self.news.push_back(News::Disconnected(reason));
    }

    /// Fails the acknowledgements of what was sent, or of everything: whoever is told that an event has failed may emit it
    /// again, so that it is not sent any more.
    pub(crate) fn reject_acks(&mut self, all: bool) {
        if self.acks.is_empty() {
            return;
        }
        if all {
            self.buffer.forget(|ack| self.acks.contains_key(&ack));
            self.retry.forget(|ack| self.acks.contains_key(&ack));
        }
        let kept: HashSet<u64> = self.buffer.acks().chain(self.retry.acks()).collect();
        for (_, sender) in self.acks.extract_if(|id, _| !kept.contains(id)) {
            resolve(sender, Err(AckErrorKind::Disconnected));
        }
    }

    /// Time has run out for an acknowledgement: its event is not sent any more, unless it is on its way already, where
    /// `unwritten` says whether anything may not be.
    pub(crate) fn withdraw(&mut self, ack: u64, unwritten: bool) {
        if self.buffer.remove(ack).is_some() {
            return;
        }
        if unwritten {
            self.withdrawn.insert(ack);
        } else {
            self.withdrawn = HashSet::new();
        }
    }

    pub(crate) fn resolve_ack(&mut self, id: u64, outcome: Outcome) {
        if let Some(sender) = self.acks.remove(&id) {
            resolve(sender, outcome);
        }
    }

    pub(crate) fn succeed_waiters(&mut self) {
        for waiter in self.waiters.drain(..) {
            // Whoever waited may have given up.
            let _gone = waiter.send(Ok(()));
        }
    }

    /// It is not to be connected any more, and nothing is buffered for it.
    pub(crate) fn end(&mut self, error: &dyn Fn(String) -> ConnectError) {
        self.active = false;
        self.ended = true;
        self.again = None;
        let error = error(self.socket.namespace.to_string());
        for waiter in self.waiters.drain(..) {
            let _gone = waiter.send(Err(error.clone()));
        }
        self.end = Some(error);
    }
}

fn resolve(sender: oneshot::Sender<Outcome>, outcome: Outcome) {
    // Whoever waited may have given up.
    let _gone = sender.send(outcome);
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("url", &self.config.url.as_str()).finish_non_exhaustive()
    }
}
