use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use sockeye_engine::CloseReason;
use sockeye_handler::{INTERNAL, guard};
use sockeye_protocol::socketio::{Args, ArgsBuf, Event};

use crate::{
    ConnectRefusal, DisconnectReason, Reply, Socket,
    connection::client::refuse,
    handler::{
        AckId, Admission, ConnectContext, DisconnectContext, ErasedHandler, EventContext, HandlerError, HandlerFuture,
        HandlerKind, OnConnect, OnDisconnect, OnEvent, Rejection,
    },
};

/// One socket and the work for it: its handlers run one after the other, in the order of what they handle.
pub(crate) struct Member {
    socket: Socket,
    work: Work,
    /// Events that wait for the one before them.
    backlog: VecDeque<Waiting>,
    backlog_bytes: usize,
}

/// What is under way for a socket.
enum Work {
    /// The middleware and the connect handlers run.
    Connecting { left: VecDeque<ErasedHandler<OnConnect>>, running: Option<HandlerFuture<OnConnect>> },
    /// Nothing.
    Idle,
    /// The handlers of one event run.
    Handling(Box<Handling>),
    /// The disconnect handlers run.
    Leaving {
        reason: DisconnectReason,
        left: VecDeque<ErasedHandler<OnDisconnect>>,
        running: Option<HandlerFuture<OnDisconnect>>,
    },
    /// All is done.
    Gone { was_in: bool },
}

struct Handling {
    event: Box<str>,
    /// The arguments, for the handlers that have not begun.
    args: ArgsBuf,
    running: Option<HandlerFuture<OnEvent>>,
    left: VecDeque<ErasedHandler<OnEvent>>,
    /// How many handlers, from the one that runs, are middleware.
    middleware: usize,
    /// Whether one of the handlers is for this event; middleware and those of every event alone do not answer it.
    is_handled: bool,
    ack: Option<u64>,
    /// Whether a handler has taken the acknowledgement upon itself.
    ack_taken: bool,
}

/// An event that waits, owned because the read buffer it came in is not.
struct Waiting {
    name: Box<str>,
    args: ArgsBuf,
    ack: Option<u64>,
    bytes: usize,
}

impl Member {
    pub(crate) fn new(socket: Socket) -> Self {
        let namespace = socket.namespace();
        let handlers = namespace.handlers();
        let skips = socket.is_recovered() && namespace.recovery().is_some_and(|recovery| recovery.skips_middleware());
        let middleware = handlers.middleware.iter().filter(|_| !skips);
        let left = middleware.chain(&handlers.connect).cloned().collect();
        let work = Work::Connecting { left, running: None };
        drop(handlers);
        Self { socket, work, backlog: VecDeque::new(), backlog_bytes: 0 }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.work, Work::Connecting { .. })
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.work, Work::Gone { .. })
    }

    /// Whether it is gone without having been in the namespace.
    pub(crate) fn was_refused(&self) -> bool {
        matches!(self.work, Work::Gone { was_in: false })
    }

    /// Handles an event now, or keeps it until the one before it is through.
    pub(crate) fn receive(&mut self, event: Event<'_>, cx: &mut Context<'_>) {
        if !matches!(self.work, Work::Idle) || !self.backlog.is_empty() {
            let args = event.args.to_owned();
            let bytes = event.name.len() + args.encoded_len() + size_of::<Waiting>();
            self.backlog_bytes += bytes;
            self.backlog.push_back(Waiting { name: event.name.into(), args, ack: event.ack, bytes });
            return;
        }
        self.begin(&event.name, event.args, event.ack, cx);
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.work {
                Work::Connecting { .. } => {
                    if self.poll_connecting(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Work::Handling(handling) => {
                    if handling.poll(&self.socket, cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.work = Work::Idle;
                }
                Work::Idle => {
                    if self.socket.is_expelled() {
                        self.backlog.clear();
                        self.backlog_bytes = 0;
                    }
                    match self.backlog.pop_front() {
                        Some(waiting) => {
                            self.backlog_bytes -= waiting.bytes;
                            self.begin(&waiting.name, waiting.args.as_args(), waiting.ack, cx);
                        }
                        None => {
                            let Some(reason) = self.socket.leaving() else { return Poll::Ready(()) };
                            self.leave(reason);
                        }
                    }
                }
                Work::Leaving { .. } => {
                    if self.poll_leaving(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.work = Work::Gone { was_in: true };
                }
                Work::Gone { .. } => return Poll::Ready(()),
            }
        }
    }

    /// Begins the handlers of an event: middleware, those of every event, the namespace's, the socket's own.
    fn begin(&mut self, name: &str, args: Args<'_>, ack: Option<u64>, cx: &mut Context<'_>) {
        let namespace = self.socket.namespace().clone();
        let table = namespace.handlers();
        let once = namespace.take_once(&table, name);
        let own = self.socket.with_handlers(|handlers| handlers.events.take(name)).unwrap_or_default();
        let mut of_event = once.as_ref().unwrap_or(&table).events.of(name).chain(&own).peekable();
        let fallback = if of_event.peek().is_none() { table.fallback.as_slice() } else { &[] };
        let is_handled = of_event.peek().is_some() || !fallback.is_empty();
        if !is_handled {
            tracing::debug!(event = name, sid = self.socket.id().short(), "ignored an event that nobody handles");
        }
        let mut handlers = table.before_event.iter().chain(&table.any).chain(of_event).chain(fallback);
        let Some(first) = handlers.next() else { return };
        let mut left: VecDeque<_> = handlers.cloned().collect();
        if left.is_empty() {
            // Nearly always there is one handler, which takes the arguments as they lie and does not wait.
            let mut context = EventContext::new(&self.socket, name, args, ack.map(AckId::from));
            let mut running = call(first, &mut context);
            // What a handler has taken that did not run, nobody answers.
            let taken = running.is_ok() && context.is_ack_taken();
            let polled = match &mut running {
                Ok(future) => poll_guarded::<OnEvent>(future, cx),
                Err(_) => Ok(Poll::Pending),
            };
            match (running, polled) {
                (Ok(future), Ok(Poll::Pending)) => {
                    self.work = Work::Handling(Box::new(Handling {
                        event: name.into(),
                        args: ArgsBuf::default(),
                        running: Some(future),
                        left,
                        middleware: 0,
                        is_handled,
                        ack,
                        ack_taken: taken,
                    }));
                }
                (Ok(_), polled) => {
                    let reply = settle(&self.socket, name, polled);
                    if !is_handled && matches!(reply, Reply::Empty) {
                        return;
                    }
                    answer(&self.socket, name, ack.filter(|_| !taken), reply);
                }
                (Err(failure), _) => {
                    answer(&self.socket, name, ack.filter(|_| !taken), failed(&self.socket, name, failure));
                }
            }
            return;
        }
        left.push_front(first.clone());
        let middleware = table.before_event.len();
        let args = args.to_owned();
        let event = name.into();
        let mut handling = Handling { event, args, running: None, left, middleware, is_handled, ack, ack_taken: false };
        if handling.poll(&self.socket, cx).is_pending() {
            self.work = Work::Handling(Box::new(handling));
        }
    }

    fn poll_connecting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Work::Connecting { left, running } = &mut self.work else { return Poll::Ready(()) };
            let Some(future) = running else {
                // A handler that has begun has run to its end, whatever became of the client meanwhile.
                match self.socket.leaving() {
                    None => {}
                    // The client has gone: what the handlers have set up is for the disconnect handlers to undo.
                    Some(reason @ DisconnectReason::Connection(_)) => {
                        self.leave(reason);
                        return Poll::Ready(());
                    }
                    Some(_) => {
                        self.turn_away(&ConnectRefusal::new("Connection rejected by server"));
                        return Poll::Ready(());
                    }
                }
                let Some(handler) = left.pop_front() else {
                    self.work = Work::Idle;
                    if self.socket.admit() {
                        self.socket.namespace().entered();
                    }
                    return Poll::Ready(());
                };
                let mut context = ConnectContext { socket: &self.socket, auth: self.socket.auth() };
                match guard(|| handler.call(&mut context)) {
                    Ok(Ok(future)) => *running = Some(future),
                    Ok(Err(rejection)) => {
                        let why = rejection.without_data();
                        tracing::warn!(namespace = self.socket.namespace().name(), why, "refused a client");
                        self.turn_away(&ConnectRefusal::new(rejection.to_string()));
                        return Poll::Ready(());
                    }
                    Err(panic) => {
                        self.panicked("connect", &panic);
                        self.turn_away(&ConnectRefusal::new(INTERNAL));
                        return Poll::Ready(());
                    }
                }
                continue;
            };
            match poll_guarded::<OnConnect>(future, cx) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Admission(Ok(())))) => *running = None,
                Ok(Poll::Ready(Admission(Err(refusal)))) => {
                    self.turn_away(&refusal);
                    return Poll::Ready(());
                }
                Err(panic) => {
                    self.panicked("connect", &panic);
                    self.turn_away(&ConnectRefusal::new(INTERNAL));
                    return Poll::Ready(());
                }
            }
        }
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Work::Leaving { reason, left, running } = &mut self.work else { return Poll::Ready(()) };
            let polled = match running {
                Some(future) => poll_guarded::<OnDisconnect>(future, cx),
                None => {
                    let Some(handler) = left.pop_front() else { return Poll::Ready(()) };
                    let mut context = DisconnectContext { socket: &self.socket, reason: *reason };
                    match guard(|| handler.call(&mut context)) {
                        Ok(Ok(future)) => {
                            *running = Some(future);
                            continue;
                        }
                        Ok(Err(rejection)) => {
                            tracing::error!(sid = self.socket.id().short(), %rejection, "a disconnect handler did not run");
                            continue;
                        }
                        Err(panic) => Err(panic),
                    }
                }
            };
            match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => *running = None,
                Err(panic) => {
                    *running = None;
                    self.panicked("disconnect", &panic);
                }
            }
        }
    }

    /// Takes the socket out of its namespace and tells the handlers.
    fn leave(&mut self, reason: DisconnectReason) {
        let namespace = self.socket.namespace().clone();
        let own = self.socket.with_handlers(|handlers| handlers.disconnect.clone()).unwrap_or_default();
        let left = namespace.handlers().disconnect.iter().cloned().chain(own).collect();
        self.take_out(Some(reason));
        self.work = Work::Leaving { reason, left, running: None };
    }

    /// Ends an attempt to join. The disconnect handlers are not run, because the socket never was in.
    fn turn_away(&mut self, refusal: &ConnectRefusal) {
        self.socket.begin_leaving(DisconnectReason::ServerNamespaceDisconnect);
        self.take_out(None);
        refuse(&self.socket.server(), self.socket.session(), self.socket.namespace().name(), refusal);
        self.work = Work::Gone { was_in: false };
    }

    fn take_out(&self, reason: Option<DisconnectReason>) {
        let namespace = self.socket.namespace();
        let rooms = namespace.local().remove(&self.socket);
        if let (Some((pid, left)), Some(recovery)) = (self.socket.finish_leaving(rooms), namespace.recovery())
            && reason.is_some_and(DisconnectReason::is_recoverable)
        {
            recovery.leave(pid, left);
        }
        if namespace.is_child() {
            namespace.server().cleanup(namespace);
        }
    }

    fn panicked(&self, kind: &str, panic: &str) {
        self.socket.server().counters().handler_panics.add();
        tracing::error!(sid = self.socket.id().short(), panic, "a {kind} handler panicked");
    }
}

impl Drop for Member {
    /// However the task of the connection ends, nobody goes on seeing its sockets. When it ends before they have left, by
    /// a panic or with its runtime, their handlers cannot run any more.
    fn drop(&mut self) {
        if matches!(self.work, Work::Connecting { .. } | Work::Idle | Work::Handling(_)) {
            self.socket.begin_leaving(DisconnectReason::Connection(CloseReason::TransportError));
            self.take_out(None);
        }
    }
}

impl Handling {
    fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let reply = match &mut self.running {
                Some(future) => match poll_guarded::<OnEvent>(future, cx) {
                    Ok(Poll::Pending) => return Poll::Pending,
                    polled => settle(socket, &self.event, polled),
                },
                None => {
                    let Some(handler) = self.left.pop_front() else { return Poll::Ready(()) };
                    let args = self.args.as_args();
                    let mut context = EventContext::new(socket, &self.event, args, self.ack.map(AckId::from));
                    let called = call(&handler, &mut context);
                    self.ack_taken |= called.is_ok() && context.is_ack_taken();
                    match called {
                        Ok(future) => {
                            self.running = Some(future);
                            continue;
                        }
                        Err(failure) => failed(socket, &self.event, failure),
                    }
                }
            };
            self.running = None;
            if let Some(middleware) = self.middleware.checked_sub(1) {
                self.middleware = middleware;
                if matches!(reply, Reply::Error(_)) || socket.is_expelled() {
                    self.left.clear();
                }
            }
            if self.left.is_empty() && self.is_handled || !matches!(reply, Reply::Empty) {
                let ack = self.ack.take().filter(|_| !self.ack_taken);
                answer(socket, &self.event, ack, reply);
            }
        }
    }
}

/// Why a handler did not run.
enum Failure {
    Rejected(Rejection),
    Panicked(String),
}

/// Begins a handler.
fn call(handler: &ErasedHandler<OnEvent>, context: &mut EventContext<'_>) -> Result<HandlerFuture<OnEvent>, Failure> {
    match guard(|| handler.call(context)) {
        Ok(Ok(future)) => Ok(future),
        Ok(Err(rejection)) => Err(Failure::Rejected(rejection)),
        Err(panic) => Err(Failure::Panicked(panic)),
    }
}

/// The reply of a handler that did not run.
fn failed(socket: &Socket, event: &str, failure: Failure) -> Reply {
    match failure {
        Failure::Rejected(rejection) => {
            socket.server().counters().handler_errors.add();
            tracing::warn!(event, sid = socket.id().short(), why = rejection.without_data(), "a handler did not run");
            Reply::error(rejection.to_string())
        }
        Failure::Panicked(panic) => settle(socket, event, Err(panic)),
    }
}

/// The reply of a handler that has ended.
fn settle(socket: &Socket, event: &str, ended: Result<Poll<Reply>, String>) -> Reply {
    match ended {
        Ok(Poll::Ready(reply)) => {
            if let Reply::Error(error) = &reply {
                socket.server().counters().handler_errors.add();
                tracing::warn!(event, sid = socket.id().short(), error, "an event handler returned an error");
            }
            reply
        }
        Ok(Poll::Pending) => Reply::Empty,
        Err(panic) => {
            socket.server().counters().handler_panics.add();
            tracing::error!(event, sid = socket.id().short(), panic, "a handler panicked");
            Reply::error(INTERNAL)
        }
    }
}

fn answer(socket: &Socket, event: &str, ack: Option<u64>, reply: Reply) {
    let reply = match reply {
        Reply::Error(message) => match &socket.namespace().handlers().error {
            Some(handle) => {
                guard(|| handle(&HandlerError { socket, event, message: &message })).unwrap_or_else(|panic| {
                    socket.server().counters().handler_panics.add();
                    tracing::error!(event, sid = socket.id().short(), panic, "the error handler panicked");
                    Reply::error(INTERNAL)
                })
            }
            None => Reply::error(message),
        },
        reply => reply,
    };
    let Some(id) = ack else { return };
    if let Err(error) = reply.send(socket, id.into()) {
        tracing::debug!(sid = socket.id().short(), %error, "an acknowledgement could not be sent");
    }
}

/// Polls a handler so that its panic ends its own work only.
fn poll_guarded<O: HandlerKind>(
    future: &mut HandlerFuture<O>,
    cx: &mut Context<'_>,
) -> Result<Poll<O::Output>, String> {
    guard(|| future.as_mut().poll(cx))
}
