use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// One socket's membership in its namespace, as its client sees it.
///
/// The driver reports what the user wants ([`connect`](Self::connect), [`disconnect`](Self::disconnect)), what happens
/// to the connection ([`connection_opened`](Self::connection_opened), [`connection_lost`](Self::connection_lost)) and
/// what the server sends (the `handle_` methods). It sends what [`poll_transmit`](Self::poll_transmit) returns, acts on
/// what [`poll`](Self::poll) returns, and calls [`handle_timeout`](Self::handle_timeout) once
/// [`poll_timeout`](Self::poll_timeout) has passed.
///
/// `T` is an event that arrives before the server's CONNECT, `R` the reason why a connected socket is disconnected, and
/// `E` the error that those get who wait for the socket to be connected.
#[derive(Debug)]
pub struct ClientMembership<T, R, E> {
    join: Join,
    /// How long the server may take to answer CONNECT, and the driver to make the authentication data.
    timeout: Duration,
    stage: Stage<T, E>,
    /// The session to offer to the server for recovery.
    recovery: Option<Recovery>,
    /// The number of the last attempt to join.
    attempt: u64,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event<T, R, E>>,
}

/// How the server lets a client into the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The client sends CONNECT and the server answers it.
    OnRequest,
    /// The server sends CONNECT as soon as the connection is open: the namespace `/` in revision 4 of the protocol
    /// (Socket.IO 1 and 2).
    Unasked,
}

/// A session that the server can recover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The private id that the server gave the session.
    pub pid: String,
    /// The offset of the last event that arrived. It is opaque, and goes back to the server as it came.
    pub offset: Option<String>,
}

/// A packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// CONNECT, with the authentication data and with what [`offer`](ClientMembership::offer) returns.
    Connect,
    /// DISCONNECT.
    Disconnect,
}

/// What happened to the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<T, R, E> {
    /// The driver is to make the authentication data, and to report it by
    /// [`authenticated`](ClientMembership::authenticated) or
    /// [`authentication_failed`](ClientMembership::authentication_failed) with the number of this attempt.
    Authenticate(u64),
    /// The socket is connected. The events that arrived before CONNECT are handled next, in this order.
    Connected(Vec<T>),
    /// The socket was connected and is not any more.
    Disconnected(R),
    /// An attempt to connect failed. Unless [`GivenUp`](Self::GivenUp) follows, there will be another.
    ConnectFailed(E),
    /// The user or the server disconnected the socket: there is no further attempt.
    Left(E),
    /// The socket could not be connected: there is no further attempt.
    GivenUp(E),
}

/// What happens when an attempt to connect fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The socket is given up. This holds for the first attempt only: a socket that was connected once tries again.
    GiveUp,
    /// The socket tries again.
    Retry,
}

/// What to do with an event that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// The socket is connected: handle the event.
    Now,
    /// CONNECT has not arrived yet: pass the event to [`hold`](ClientMembership::hold).
    AfterConnect,
    /// The event is for a membership that has ended: drop it.
    Never,
}

/// The server sent more events before CONNECT than the socket may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent more than {limit} bytes of events before CONNECT")]
pub struct TooManyEarlyEvents {
    /// The most bytes that the socket may hold.
    pub limit: usize,
}

#[derive(Debug)]
enum Stage<T, E> {
    /// The user does not want the socket to be connected. `end` is set once it was disconnected or given up.
    Absent {
        end: Option<E>,
        server: Server,
    },
    /// There is no connection yet.
    Offline(OnFailure),
    /// The socket may not join before this time.
    Paused(OnFailure, Instant),
    /// The server has until this time to answer the CONNECT of a membership that has ended. The socket joins after that.
    Queued(OnFailure, Instant),
    /// The driver has until this time to make the authentication data.
    Authenticating(OnFailure, Instant),
    /// The server has until this time to answer CONNECT.
    Connecting(OnFailure, Instant, EarlyEvents<T>),
    Connected {
        id: Arc<str>,
        recovered: bool,
    },
}

/// What the server knows of a socket that is absent.
#[derive(Debug)]
enum Server {
    /// Nothing: there is no connection.
    Offline,
    /// Nothing. CONNECT may be sent from this time on.
    Ready(Option<Instant>),
    /// It has not answered a CONNECT yet, for which nobody waits any more.
    OwesAnswer,
    /// It let the socket in unasked, by this id.
    LetIn(Arc<str>),
}

/// The events that arrived before CONNECT.
#[derive(Debug)]
struct EarlyEvents<T> {
    events: Vec<T>,
    bytes: usize,
    offset: Option<String>,
}

/// How long a socket waits between DISCONNECT and the next CONNECT. The reference closes the connection for a CONNECT
/// that it reads together with the DISCONNECT before it, and nothing tells when it has read that.
const PAUSE: Duration = Duration::from_millis(50);

impl<T, R, E: Clone> ClientMembership<T, R, E> {
    /// A socket that is not to be connected yet. `timeout` limits each step of an attempt.
    pub fn new(join: Join, timeout: Duration) -> Self {
        Self {
            join,
            timeout,
            stage: Stage::Absent { end: None, server: Server::Offline },
            recovery: None,
            attempt: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether the socket is connected.
    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Connected { .. })
    }

    /// Whether the socket is connected or is to be.
    pub fn is_active(&self) -> bool {
        !matches!(self.stage, Stage::Absent { .. })
    }

    /// Whether the server restored the session before this one, and sent what the socket missed.
    pub fn is_recovered(&self) -> bool {
        matches!(self.stage, Stage::Connected { recovered: true, .. })
    }

    /// The id that the server gave the socket, while it is connected.
    pub fn id(&self) -> Option<&Arc<str>> {
        match &self.stage {
            Stage::Connected { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Why the socket was disconnected or given up; `None` while it is active, and before it was ever to be connected.
    pub fn end(&self) -> Option<&E> {
        match &self.stage {
            Stage::Absent { end, .. } => end.as_ref(),
            _ => None,
        }
    }

    /// The number of the last attempt. The server counts the acknowledgements of each attempt anew.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// What CONNECT offers the server to recover.
    pub fn offer(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll(&mut self) -> Option<Event<T, R, E>> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Paused(_, at)
            | Stage::Queued(_, at)
            | Stage::Authenticating(_, at)
            | Stage::Connecting(_, at, _) => Some(at),
            Stage::Absent { .. } | Stage::Offline(_) | Stage::Connected { .. } => None,
        }
    }

    /// The user wants the socket to be connected. Has no effect if it is or is to be already.
    pub fn connect(&mut self, now: Instant, on_failure: OnFailure) {
        let Stage::Absent { server, .. } = &mut self.stage else { return };
        match mem::replace(server, Server::Offline) {
            Server::Offline => self.stage = Stage::Offline(on_failure),
            Server::Ready(Some(at)) if now < at => self.stage = Stage::Paused(on_failure, at),
            Server::Ready(_) => self.join(now, on_failure),
            Server::OwesAnswer => self.stage = Stage::Queued(on_failure, now + self.timeout),
            Server::LetIn(id) => {
                self.attempt += 1;
                self.connected(id, None, EarlyEvents::default());
            }
        }
    }

    /// The user does not want the socket to be connected; those who wait for that get `error`.
    pub fn disconnect(&mut self, now: Instant, reason: R, error: E) {
        let pause = now + PAUSE;
        let server = match self.take_stage() {
            Stage::Absent { server, .. } => server,
            Stage::Offline(_) => Server::Offline,
            Stage::Paused(_, at) => Server::Ready(Some(at.min(pause))),
            Stage::Authenticating(..) => Server::Ready(None),
            Stage::Queued(..) | Stage::Connecting(..) => Server::OwesAnswer,
            Stage::Connected { .. } => {
                self.transmits.push_back(Transmit::Disconnect);
                self.events.push_back(Event::Disconnected(reason));
                Server::Ready(Some(pause))
            }
        };
        self.leave(server, error);
    }

    /// An Engine.IO connection is open.
    pub fn connection_opened(&mut self, now: Instant) {
        match (&mut self.stage, self.join) {
            (Stage::Absent { server, .. }, Join::OnRequest) => *server = Server::Ready(None),
            (Stage::Absent { server, .. }, Join::Unasked) => *server = Server::OwesAnswer,
            (Stage::Offline(on_failure), Join::OnRequest) => {
                let on_failure = *on_failure;
                self.join(now, on_failure);
            }
            (Stage::Offline(on_failure), Join::Unasked) => {
                self.attempt += 1;
                self.stage = Stage::Connecting(*on_failure, now + self.timeout, EarlyEvents::default());
            }
            // Without `connection_lost` before it, it is the same connection.
            _ => {}
        }
    }

    /// The Engine.IO connection is gone. A socket that is active joins again on the next connection.
    pub fn connection_lost(&mut self, reason: R) {
        self.stage = match self.take_stage() {
            Stage::Absent { end, .. } => Stage::Absent { end, server: Server::Offline },
            Stage::Offline(on_failure)
            | Stage::Paused(on_failure, _)
            | Stage::Queued(on_failure, _)
            | Stage::Authenticating(on_failure, _)
            | Stage::Connecting(on_failure, ..) => Stage::Offline(on_failure),
            Stage::Connected { .. } => {
                self.events.push_back(Event::Disconnected(reason));
                Stage::Offline(OnFailure::Retry)
            }
        };
    }

    /// No connection could be opened, or it was lost before the server let the socket in.
    pub fn connection_failed(&mut self, error: E) {
        if matches!(self.stage, Stage::Offline(_)) {
            self.events.push_back(Event::ConnectFailed(error));
        }
    }

    /// There is no connection, and none is going to be opened.
    pub fn give_up(&mut self, error: E) {
        if matches!(self.stage, Stage::Offline(_)) {
            self.given_up(Server::Offline, error);
        }
    }

    /// Whether this attempt still waits for its authentication data.
    pub fn authenticates(&self, attempt: u64) -> bool {
        matches!(self.stage, Stage::Authenticating(..)) && attempt == self.attempt
    }

    /// The authentication data for an attempt is made: CONNECT follows. Ignored if it is not this attempt any more.
    pub fn authenticated(&mut self, now: Instant, attempt: u64) {
        if let Stage::Authenticating(on_failure, _) = self.stage
            && attempt == self.attempt
        {
            self.stage = Stage::Connecting(on_failure, now + self.timeout, EarlyEvents::default());
            self.transmits.push_back(Transmit::Connect);
        }
    }

    /// The authentication data for an attempt could not be made. `retry` returns the delay before the next attempt, or
    /// `None` to give up. Ignored if it is not this attempt any more.
    pub fn authentication_failed(
        &mut self,
        now: Instant,
        attempt: u64,
        error: E,
        retry: impl FnOnce() -> Option<Duration>,
    ) {
        if let Stage::Authenticating(on_failure, _) = self.stage
            && attempt == self.attempt
        {
            self.retry_later(now, on_failure, error, retry);
        }
    }

    /// Takes in that `now` has come. `timed_out` makes the error of an attempt that took too long, and `retry` returns
    /// the delay before the next one, or `None` to give up.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        timed_out: impl FnOnce() -> E,
        retry: impl FnOnce() -> Option<Duration>,
    ) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.stage {
            Stage::Absent { .. } | Stage::Offline(_) | Stage::Connected { .. } => {}
            Stage::Paused(on_failure, _) => {
                let on_failure = *on_failure;
                self.join(now, on_failure);
            }
            Stage::Authenticating(on_failure, _) => {
                let on_failure = *on_failure;
                self.retry_later(now, on_failure, timed_out(), retry);
            }
            Stage::Queued(on_failure, until) | Stage::Connecting(on_failure, until, _) => {
                // The server must not be asked twice, and may still answer.
                if *on_failure == OnFailure::Retry && retry().is_some() {
                    *until = now + self.timeout;
                    self.events.push_back(Event::ConnectFailed(timed_out()));
                } else {
                    self.refuse(Server::OwesAnswer, timed_out());
                }
            }
        }
    }

    /// The server's CONNECT has arrived, with the socket's id and, where the server can recover the session, its private
    /// id.
    pub fn handle_connect(&mut self, now: Instant, id: Arc<str>, pid: Option<String>) {
        match self.take_stage() {
            Stage::Connecting(_, _, early) => self.connected(id, pid, early),
            Stage::Queued(..) if self.join == Join::Unasked => self.connected(id, pid, EarlyEvents::default()),
            Stage::Queued(on_failure, _) => {
                self.transmits.push_back(Transmit::Disconnect);
                self.stage = Stage::Paused(on_failure, now + PAUSE);
            }
            Stage::Absent { end, server: Server::OwesAnswer } => {
                let server = match self.join {
                    Join::Unasked => Server::LetIn(id),
                    Join::OnRequest => {
                        self.transmits.push_back(Transmit::Disconnect);
                        Server::Ready(Some(now + PAUSE))
                    }
                };
                self.stage = Stage::Absent { end, server };
            }
            stage => self.stage = stage,
        }
    }

    /// The server's CONNECT_ERROR has arrived, or a CONNECT that the client cannot accept.
    pub fn handle_connect_error(&mut self, now: Instant, error: E) {
        match self.take_stage() {
            Stage::Connecting(..) => self.refuse(Server::Ready(None), error),
            stage => self.answered(now, stage),
        }
    }

    /// The server's DISCONNECT has arrived; those who wait for the socket to be connected get `error`.
    pub fn handle_disconnect(&mut self, now: Instant, reason: R, error: E) {
        match self.take_stage() {
            Stage::Connected { .. } => {
                self.events.push_back(Event::Disconnected(reason));
                self.leave(Server::Ready(None), error);
            }
            Stage::Connecting(..) => self.leave(Server::Ready(None), error),
            stage => self.answered(now, stage),
        }
    }

    /// What to do with an event that has arrived.
    pub fn accept(&self) -> Accept {
        match self.stage {
            Stage::Connected { .. } => Accept::Now,
            Stage::Connecting(..) => Accept::AfterConnect,
            _ => Accept::Never,
        }
    }

    /// Holds an event of so many bytes until CONNECT arrives.
    ///
    /// # Errors
    /// If more than `limit` bytes are held. The session is not offered for recovery any more, because the same would
    /// happen again.
    pub fn hold(&mut self, event: T, bytes: usize, limit: usize) -> Result<(), TooManyEarlyEvents> {
        let Stage::Connecting(_, _, early) = &mut self.stage else { return Ok(()) };
        early.bytes = early.bytes.saturating_add(bytes);
        early.events.push(event);
        if early.bytes <= limit {
            return Ok(());
        }
        *early = EarlyEvents::default();
        self.recovery = None;
        Err(TooManyEarlyEvents { limit })
    }

    /// Whether the server can recover the session, so that the last argument of each event may be its offset.
    pub fn expects_offset(&self) -> bool {
        self.recovery.is_some()
    }

    /// An event with this offset has arrived. That of an event before CONNECT counts once CONNECT arrives.
    pub fn handle_offset(&mut self, offset: String) {
        match (&mut self.stage, &mut self.recovery) {
            (Stage::Connected { .. }, Some(recovery)) => recovery.offset = Some(offset),
            (Stage::Connecting(_, _, early), Some(_)) => early.offset = Some(offset),
            _ => {}
        }
    }

    fn take_stage(&mut self) -> Stage<T, E> {
        mem::replace(&mut self.stage, Stage::Absent { end: None, server: Server::Offline })
    }

    /// Begins an attempt.
    fn join(&mut self, now: Instant, on_failure: OnFailure) {
        self.attempt += 1;
        self.stage = Stage::Authenticating(on_failure, now + self.timeout);
        self.events.push_back(Event::Authenticate(self.attempt));
    }

    /// The server has answered a CONNECT for which nobody waits any more, and does not have the socket.
    fn answered(&mut self, now: Instant, stage: Stage<T, E>) {
        match stage {
            Stage::Queued(on_failure, _) => self.join(now, on_failure),
            Stage::Absent { end, server: Server::OwesAnswer } => {
                self.stage = Stage::Absent { end, server: Server::Ready(None) };
            }
            stage => self.stage = stage,
        }
    }

    fn connected(&mut self, id: Arc<str>, pid: Option<String>, early: EarlyEvents<T>) {
        let before = self.recovery.take();
        let recovered = pid.is_some() && before.as_ref().map(|recovery| &recovery.pid) == pid.as_ref();
        let known = before.filter(|_| recovered).and_then(|recovery| recovery.offset);
        self.recovery = pid.map(|pid| Recovery { pid, offset: early.offset.or(known) });
        self.stage = Stage::Connected { id, recovered };
        self.events.push_back(Event::Connected(early.events));
    }

    /// An attempt failed before the server was asked.
    fn retry_later(&mut self, now: Instant, on_failure: OnFailure, error: E, retry: impl FnOnce() -> Option<Duration>) {
        let delay = if on_failure == OnFailure::Retry { retry() } else { None };
        match delay {
            Some(delay) => {
                self.events.push_back(Event::ConnectFailed(error));
                self.stage = Stage::Paused(on_failure, now + delay);
            }
            None => self.refuse(Server::Ready(None), error),
        }
    }

    fn refuse(&mut self, server: Server, error: E) {
        self.events.push_back(Event::ConnectFailed(error.clone()));
        self.given_up(server, error);
    }

    fn given_up(&mut self, server: Server, error: E) {
        self.events.push_back(Event::GivenUp(error.clone()));
        self.stage = Stage::Absent { end: Some(error), server };
    }

    fn leave(&mut self, server: Server, error: E) {
        self.events.push_back(Event::Left(error.clone()));
        self.stage = Stage::Absent { end: Some(error), server };
    }
}

impl<T> Default for EarlyEvents<T> {
    fn default() -> Self {
        Self { events: Vec::new(), bytes: 0, offset: None }
    }
}
