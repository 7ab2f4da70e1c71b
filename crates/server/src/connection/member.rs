use std::task::{Context, Poll};

use sockeye_engine::{CloseReason, log_throttled};
use sockeye_handler::{
    EventHandlers, HandlerFailure, INTERNAL, Queued, QueuedEvent, Runner, RunnerSocket, Sequence, guard, with_causes,
};
use sockeye_protocol::socketio::{Args, Event, membership::ServerMembership};

use super::refusal::refuse;
use crate::{
    ConnectRefusal, DisconnectReason, Reply, Socket,
    handler::{AckId, Admission, ConnectContext, DisconnectContext, FailedEvent, OnConnect, OnDisconnect},
};

/// One socket and its running handlers. They run one after the other.
pub(crate) struct Member {
    socket: Socket,
    stage: Stage,
}

/// Which handlers of the socket run.
enum Stage {
    /// The middleware and the connect handlers run.
    Connecting(Sequence<OnConnect>),
    /// The client is in the namespace, and the handlers of its events run.
    Joined(Runner<Socket>),
    /// The disconnect handlers run.
    Leaving(DisconnectReason, Sequence<OnDisconnect>),
    /// The disconnect handlers have run, or the client was refused.
    Over,
}

impl Member {
    pub(crate) fn new(socket: Socket) -> Self {
        let namespace = socket.namespace();
        let handlers = namespace.handlers();
        let skips = socket.is_recovered() && namespace.recovery().is_some_and(|recovery| recovery.skips_middleware());
        let middleware = handlers.middleware.iter().filter(|_| !skips);
        let stage = Stage::Connecting(Sequence::new(middleware.chain(&handlers.connect).cloned()));
        drop(handlers);
        Self { socket, stage }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// How many bytes of the client's `auth` are kept for the connect handlers.
    pub(crate) fn auth_bytes(&self) -> usize {
        match &self.stage {
            Stage::Connecting(_) => self.socket.auth().map_or(0, |auth| auth.get().len()),
            _ => 0,
        }
    }

    /// The number of bytes of events that wait for a handler.
    pub(crate) fn backlog_bytes(&self) -> usize {
        match &self.stage {
            Stage::Joined(events) => events.queued_bytes(),
            _ => 0,
        }
    }

    /// The state of the client's membership in the namespace.
    pub(crate) fn membership(&self) -> ServerMembership {
        self.socket.membership()
    }

    /// Whether the client has joined and its events are handled.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.stage, Stage::Joined(_))
    }

    /// Handles an event now, or keeps it until the event before it is handled.
    pub(crate) fn receive(&mut self, event: Event<'_>, cx: &mut Context<'_>) {
        let Stage::Joined(events) = &mut self.stage else { return };
        let ack = event.ack.map(AckId::from);
        if events.is_idle() {
            start(events, &self.socket, (&event.name, event.args, ack), cx);
        } else {
            events.push(Queued::Event(QueuedEvent::new(&event.name, event.args, ack)));
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.stage {
                Stage::Connecting(_) => {
                    if self.poll_connecting(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Stage::Joined(events) => {
                    if events.poll(&self.socket, cx).is_pending() {
                        return Poll::Pending;
                    }
                    if self.socket.is_expelled() {
                        events.clear_queue();
                    }
                    match events.next() {
                        Some(Queued::Event(QueuedEvent { name, args, ack })) => {
                            start(events, &self.socket, (&name, args.as_args(), ack), cx);
                        }
                        Some(Queued::Other(other)) => match other {},
                        None => {
                            let Some(reason) = self.socket.leaving() else { return Poll::Ready(()) };
                            self.leave(reason);
                        }
                    }
                }
                Stage::Leaving(reason, handlers) => {
                    let mut context = DisconnectContext { socket: &self.socket, reason: *reason };
                    match handlers.poll(&mut context, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Some(Ok(Ok(())))) => {}
                        Poll::Ready(Some(Ok(Err(error)))) => {
                            self.report("disconnect", &HandlerFailure::Returned(error));
                        }
                        Poll::Ready(Some(Err(failure))) => self.report("disconnect", &failure),
                        Poll::Ready(None) => {
                            self.socket.handlers_ended();
                            self.stage = Stage::Over;
                        }
                    }
                }
                Stage::Over => return Poll::Ready(()),
            }
        }
    }

    /// Runs the connect handlers until one waits, one refuses the client, or all of them have admitted it.
    fn poll_connecting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Stage::Connecting(handlers) = &mut self.stage else { return Poll::Ready(()) };
            // A handler that has begun runs to its end, even if the client has left meanwhile.
            if !handlers.is_running() {
                match self.socket.leaving() {
                    None => {}
                    // The connection is closed. The disconnect handlers run, so that they can undo the work of the
                    // connect handlers.
                    Some(reason @ DisconnectReason::Connection(_)) => {
                        self.leave(reason);
                        return Poll::Ready(());
                    }
                    Some(_) => {
                        self.refuse(&ConnectRefusal::new("Connection rejected by server"));
                        return Poll::Ready(());
                    }
                }
            }
            let auth = self.socket.auth();
            let mut context = ConnectContext { socket: &self.socket, auth: auth.as_deref() };
            let refusal = match handlers.poll(&mut context, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(Admission(Ok(()))))) => continue,
                Poll::Ready(Some(Ok(Admission(Err(refusal))))) => refusal,
                Poll::Ready(Some(Err(failure))) => {
                    self.report("connect", &failure);
                    ConnectRefusal::new(failure.message())
                }
                Poll::Ready(None) => {
                    self.stage = Stage::Joined(Runner::default());
                    if self.socket.admit() {
                        self.socket.namespace().entered();
                    }
                    return Poll::Ready(());
                }
            };
            self.refuse(&refusal);
            return Poll::Ready(());
        }
    }

    /// Removes the socket from its namespace and runs the disconnect handlers.
    fn leave(&mut self, reason: DisconnectReason) {
        let namespace = self.socket.namespace().clone();
        let own = self.socket.with_handlers(|handlers| handlers.disconnect.clone()).unwrap_or_default();
        let handlers = Sequence::new(namespace.handlers().disconnect.iter().cloned().chain(own));
        self.take_out(Some(reason));
        self.stage = Stage::Leaving(reason, handlers);
    }

    /// Refuses the client. The disconnect handlers do not run, because the client has never been in the namespace.
    fn refuse(&mut self, refusal: &ConnectRefusal) {
        let is_told = self.socket.begin_refusal();
        self.take_out(None);
        if is_told {
            refuse(self.socket.namespace().common(), self.socket.session(), self.socket.namespace().name(), refusal);
        }
        self.stage = Stage::Over;
    }

    fn take_out(&self, reason: Option<DisconnectReason>) {
        let namespace = self.socket.namespace();
        let is_recoverable = reason.is_some_and(DisconnectReason::is_recoverable);
        let events = match namespace.recovery() {
            // The closure runs under the lock of recovery, so that a client that reconnects finds its former socket
            // either in the namespace or among the disconnected clients.
            Some(recovery) => recovery.leave(|| {
                let (rooms, events) = namespace.local().remove(&self.socket);
                let left = self.socket.finish_leaving(rooms);
                (left.map(|(pid, left)| (pid, is_recoverable.then_some(left))), events)
            }),
            None => {
                let (rooms, events) = namespace.local().remove(&self.socket);
                self.socket.finish_leaving(rooms);
                events
            }
        };
        namespace.local().tell(events);
        if namespace.is_made_for_client()
            && let Some(registry) = namespace.registry()
        {
            registry.socket_left(namespace);
        }
    }

    /// Counts and logs the failure of a connect or disconnect handler.
    fn report(&self, kind: &str, failure: &HandlerFailure) {
        let (namespace, sid) = (self.socket.namespace().name(), self.socket.id().short());
        match failure {
            HandlerFailure::Panicked(panic) => {
                self.socket.namespace().counters().handler_panics.add();
                log_throttled!(error, panic, namespace, sid, panic, "a {kind} handler panicked");
            }
            HandlerFailure::Rejected(rejection) => {
                let why = rejection.without_data();
                log_throttled!(warn, &rejection.to_string(), namespace, sid, why, "a {kind} handler did not run");
            }
            HandlerFailure::Returned(error) => {
                let error = with_causes(error.as_error());
                log_throttled!(warn, &error, namespace, sid, error, "a {kind} handler returned an error");
            }
        }
    }
}

impl Drop for Member {
    /// Removes the socket from its namespace if the connection's task ends first, because it panicked or its runtime
    /// was shut down. The disconnect handlers cannot run then.
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Connecting(_) | Stage::Joined(_)) {
            self.socket.begin_leaving(DisconnectReason::Connection(CloseReason::TransportError));
            self.take_out(None);
        }
    }
}

impl RunnerSocket for Socket {
    fn handler_failed(&self, event: &str, failure: HandlerFailure) -> Reply {
        let (counters, sid) = (self.namespace().counters(), self.id().short());
        match &failure {
            HandlerFailure::Panicked(panic) => {
                counters.handler_panics.add();
                log_throttled!(error, event, event, sid, panic, "a handler panicked");
            }
            HandlerFailure::Rejected(rejection) => {
                counters.handler_errors.add();
                log_throttled!(warn, event, event, sid, why = rejection.without_data(), "a handler did not run");
            }
            HandlerFailure::Returned(error) => {
                counters.handler_errors.add();
                let error = with_causes(error.as_error());
                log_throttled!(warn, event, event, sid, error, "an event handler returned an error");
            }
        }
        let Some(handle) = self.namespace().handlers().error.clone() else { return Reply::error(failure.message()) };
        guard(|| handle(&FailedEvent { socket: self, event, failure: &failure })).unwrap_or_else(|panic| {
            counters.handler_panics.add();
            log_throttled!(error, event, event, sid, panic, "the error handler panicked");
            Reply::error(INTERNAL)
        })
    }

    fn is_expelled(&self) -> bool {
        self.is_expelled()
    }
}

/// Starts the handlers of an event in this order: event middleware, `on_any` handlers, the namespace's handlers, the
/// socket's handlers.
fn start(
    events: &mut Runner<Socket>,
    socket: &Socket,
    event @ (name, _, _): (&str, Args<'_>, Option<AckId>),
    cx: &mut Context<'_>,
) {
    let namespace = socket.namespace();
    let table = namespace.handlers();
    let once = namespace.take_once(&table, name);
    let own = socket.with_handlers(|handlers| handlers.events.take(name)).unwrap_or_default();
    let mut of_event = once.as_ref().unwrap_or(&table).events.of(name).chain(&own).peekable();
    let fallback = if of_event.peek().is_none() { table.fallback.as_slice() } else { &[] };
    if of_event.peek().is_none() && fallback.is_empty() {
        tracing::debug!(event = name, sid = socket.id().short(), "ignored an event that nobody handles");
    }
    let own = of_event.chain(fallback);
    let handlers = EventHandlers { middleware: &table.before_event, any: table.any.iter(), own };
    events.start(socket, event, handlers, cx);
}
