use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use sockeye_protocol::socketio::{Args, ArgsBuf};

use crate::{AckId, Acknowledge, ErasedHandler, EventContext, HandlerFailure, OnEvent, Reply, guard, with_causes};

/// Runs the handlers of one socket's events: one event after the other, in the order they came, and the handlers of one
/// event one after the other.
///
/// A handler is polled as soon as its event comes. One that waits is kept, and what comes behind it is queued. The owner
/// drives the runner: it [polls](Self::poll) until the event at hand is handled, then takes the [next](Self::next) one
/// from the queue and [starts](Self::start) it. Things other than events that must be handled in order with them, such
/// as a disconnect, are queued as `Other`; the owner handles those itself.
///
/// The queue has no limit of its own. The owner stops reading when [`queued_bytes`](Self::queued_bytes) is too large.
pub struct Runner<S: RunnerSocket, Other = Infallible> {
    /// The event whose handler waits.
    running: Option<Box<RunningEvent<S>>>,
    /// What waits behind it. An idle socket keeps no memory for a queue.
    queue: Option<Box<Queue<Other>>>,
}

struct Queue<Other> {
    queued: VecDeque<Queued<Other>>,
    bytes: usize,
}

/// The socket whose handlers a [`Runner`] runs.
pub trait RunnerSocket: Acknowledge + Sized + 'static {
    /// Counts and logs that a handler of this event failed, and returns what the event is acknowledged with.
    fn handler_failed(&self, event: &str, failure: HandlerFailure) -> Reply;

    /// Whether the handlers that have not begun must not run any more after a middleware has ended.
    fn is_expelled(&self) -> bool {
        false
    }
}

/// What a [`Runner`] keeps until what came before it is handled. The enum is exhaustive, because the owner of the runner
/// must handle each variant.
#[derive(Debug)]
pub enum Queued<Other = Infallible> {
    /// An event.
    Event(QueuedEvent),
    /// Something else, which the owner of the runner handles.
    Other(Other),
}

/// An event that is kept. It owns its arguments, because the read buffer that they came in is used again.
#[derive(Debug)]
pub struct QueuedEvent {
    /// The event's name.
    pub name: Box<str>,
    /// The event's arguments.
    pub args: ArgsBuf,
    /// The id to acknowledge the event by, if the peer asked for that.
    pub ack: Option<AckId>,
}

/// The handlers of one event. They run in the order of the fields.
pub struct EventHandlers<'a, S: RunnerSocket, Any, Own> {
    /// Handlers that may end the event, by an error or by disconnecting the socket.
    pub middleware: &'a [ErasedHandler<OnEvent<S>>],
    /// Handlers of every event.
    pub any: Any,
    /// Handlers of this event. If there are none, the event is only acknowledged by a handler that replies with something.
    pub own: Own,
}

/// A [`HandlerFuture`](crate::HandlerFuture) of [`OnEvent`].
type EventFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

struct RunningEvent<S: RunnerSocket> {
    name: Box<str>,
    /// The arguments, for the handlers that have not begun.
    args: ArgsBuf,
    running: Option<EventFuture>,
    left: VecDeque<ErasedHandler<OnEvent<S>>>,
    /// How many handlers are middleware, counted from the one that runs.
    middleware: usize,
    /// Whether one of the handlers is for this event.
    is_handled: bool,
    /// The acknowledgement, unless a handler has answered or taken it.
    ack: Option<AckId>,
}

impl QueuedEvent {
    /// Copies an event out of the read buffer.
    pub fn new(name: &str, args: Args<'_>, ack: Option<AckId>) -> Self {
        Self { name: name.into(), args: args.to_owned(), ack }
    }

    /// How many bytes of memory the event takes while it is kept, in a queue that is half empty.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.args.memory() + 2 * size_of::<Self>()
    }
}

impl<S: RunnerSocket, Other> Runner<S, Other> {
    /// How many bytes the queued events take.
    pub fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Whether no handler waits and nothing is queued, so that an event may be started.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.as_ref().is_none_or(|queue| queue.queued.is_empty())
    }

    /// Keeps something until what came before it is handled.
    pub fn push(&mut self, queued: Queued<Other>) {
        let queue = self.queue.get_or_insert_with(|| Box::new(Queue { queued: VecDeque::new(), bytes: 0 }));
        if let Queued::Event(event) = &queued {
            queue.bytes += event.bytes();
        }
        queue.queued.push_back(queued);
    }

    /// Takes the next thing to handle from the queue. To be called when no handler waits.
    #[expect(clippy::should_implement_trait, reason = "it ends only for the moment")]
    pub fn next(&mut self) -> Option<Queued<Other>> {
        let queue = self.queue.as_mut()?;
        let next = queue.queued.pop_front();
        match &next {
            Some(Queued::Event(event)) => queue.bytes -= event.bytes(),
            Some(Queued::Other(_)) => {}
            None => self.queue = None,
        }
        next
    }

    /// Forgets what is queued. A handler that waits goes on.
    pub fn clear_queue(&mut self) {
        self.queue = None;
    }

    /// Runs the handlers of an event as far as they go without waiting. To be called when no handler waits.
    pub fn start<'a>(
        &mut self,
        socket: &S,
        (name, args, ack): (&str, Args<'_>, Option<AckId>),
        handlers: EventHandlers<
            'a,
            S,
            impl Iterator<Item = &'a ErasedHandler<OnEvent<S>>>,
            impl Iterator<Item = &'a ErasedHandler<OnEvent<S>>>,
        >,
        cx: &mut Context<'_>,
    ) {
        let mut own = handlers.own.peekable();
        let is_handled = own.peek().is_some();
        let middleware = handlers.middleware.len();
        let mut handlers = handlers.middleware.iter().chain(handlers.any).chain(own);
        let Some(first) = handlers.next() else { return };
        let Some(second) = handlers.next() else {
            return self.start_only(socket, (name, args, ack), first, is_handled, cx);
        };
        let left = [first, second].into_iter().chain(handlers).cloned().collect();
        let (name, args) = (name.into(), args.to_owned());
        let mut event = RunningEvent { name, args, running: None, left, middleware, is_handled, ack };
        if event.poll(socket, cx).is_pending() {
            self.running = Some(Box::new(event));
        }
    }

    /// Lets the handlers of the event at hand go on, until all have ended.
    pub fn poll(&mut self, socket: &S, cx: &mut Context<'_>) -> Poll<()> {
        let Some(event) = &mut self.running else { return Poll::Ready(()) };
        let polled = event.poll(socket, cx);
        if polled.is_ready() {
            self.running = None;
        }
        polled
    }

    /// Nearly always there is one handler, which takes the arguments where they lie and does not wait.
    fn start_only(
        &mut self,
        socket: &S,
        (name, args, ack): (&str, Args<'_>, Option<AckId>),
        handler: &ErasedHandler<OnEvent<S>>,
        is_handled: bool,
        cx: &mut Context<'_>,
    ) {
        let mut context = EventContext::new(socket, name, args, ack);
        let called = call(handler, &mut context);
        // What a handler took that was not called, nobody answers.
        let ack = ack.filter(|_| called.is_err() || !context.is_ack_taken());
        let ended = match called {
            Ok(mut future) => match poll_guarded(&mut future, cx) {
                Poll::Pending => {
                    self.running = Some(Box::new(RunningEvent {
                        name: name.into(),
                        args: ArgsBuf::default(),
                        running: Some(future),
                        left: VecDeque::new(),
                        middleware: 0,
                        is_handled,
                        ack,
                    }));
                    return;
                }
                Poll::Ready(ended) => ended,
            },
            Err(failure) => Err(failure),
        };
        settle(socket, name, ended, is_handled, &mut { ack });
    }
}

impl<S: RunnerSocket, Other> Default for Runner<S, Other> {
    fn default() -> Self {
        Self { running: None, queue: None }
    }
}

impl<S: RunnerSocket> RunningEvent<S> {
    fn poll(&mut self, socket: &S, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let ended = match &mut self.running {
                Some(future) => match poll_guarded(future, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(ended) => ended,
                },
                None => {
                    let Some(handler) = self.left.pop_front() else { return Poll::Ready(()) };
                    let mut context = EventContext::new(socket, &self.name, self.args.as_args(), self.ack);
                    match call(&handler, &mut context) {
                        Ok(future) => {
                            self.ack = self.ack.filter(|_| !context.is_ack_taken());
                            self.running = Some(future);
                            continue;
                        }
                        Err(failure) => Err(failure),
                    }
                }
            };
            self.running = None;
            if let Some(middleware) = self.middleware.checked_sub(1) {
                self.middleware = middleware;
                if ended.is_err() || socket.is_expelled() {
                    self.left.clear();
                }
            }
            settle(socket, &self.name, ended, self.is_handled && self.left.is_empty(), &mut self.ack);
        }
    }
}

/// Calls a handler, so that its panic ends its own work only.
fn call<S: RunnerSocket>(
    handler: &ErasedHandler<OnEvent<S>>,
    context: &mut EventContext<'_, S>,
) -> Result<EventFuture, HandlerFailure> {
    match guard(|| handler.call(context)) {
        Ok(Ok(future)) => Ok(future),
        Ok(Err(rejection)) => Err(HandlerFailure::Rejected(rejection)),
        Err(panic) => Err(HandlerFailure::Panicked(panic)),
    }
}

/// Polls a handler, so that its panic ends its own work only.
fn poll_guarded(future: &mut EventFuture, cx: &mut Context<'_>) -> Poll<Result<Reply, HandlerFailure>> {
    match guard(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Reply::Error(error))) => Poll::Ready(Err(HandlerFailure::Returned(error))),
        Ok(Poll::Ready(reply)) => Poll::Ready(Ok(reply)),
        Err(panic) => Poll::Ready(Err(HandlerFailure::Panicked(panic))),
    }
}

/// Acknowledges the event if the handler that ended replies with something or fails, or if it was the `last` one.
fn settle<S: RunnerSocket>(
    socket: &S,
    event: &str,
    ended: Result<Reply, HandlerFailure>,
    last: bool,
    ack: &mut Option<AckId>,
) {
    let reply = match ended {
        Ok(Reply::Empty) if !last => return,
        Ok(reply) => reply,
        Err(failure) => socket.handler_failed(event, failure),
    };
    if let Some(ack) = ack.take()
        && let Err(error) = reply.send(socket, ack)
    {
        tracing::debug!(event, error = with_causes(&error), "an acknowledgement could not be sent");
    }
}
