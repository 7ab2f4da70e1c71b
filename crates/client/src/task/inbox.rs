use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use sockeye_handler::{INTERNAL, guard};
use sockeye_protocol::socketio::{Args, ArgsBuf};
use tokio::sync::mpsc::error::TrySendError;

use crate::{
    Event, Reply, Socket,
    handles::handler::{
        AckId, ConnectContext, ConnectErrorContext, DisconnectContext, ErasedHandler, EventContext, HandlerFuture,
        HandlerKind, OnEvent, Rejection,
    },
    state::socket::Incoming,
};

/// What waits for the handlers of one socket, and the handler at work: one after the other, in order.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: VecDeque<Incoming>,
    /// The bytes of the events that wait.
    bytes: usize,
    /// What is still to be done about the thing at hand, one step after the other.
    left: VecDeque<Step>,
    /// The step at work.
    running: Option<Work>,
    /// The event at hand, if more than one handler is to see it.
    event: Option<(Box<str>, ArgsBuf)>,
    /// The acknowledgement that the event at hand is owed.
    ack: Option<AckId>,
}

enum Step {
    /// A stream that had no room for the event takes it.
    Stream(Task),
    Event(ErasedHandler<OnEvent>, Role),
    /// A handler of the socket being connected, disconnected, or not connected.
    Lifecycle(Begin),
}

enum Work {
    Event(HandlerFuture<OnEvent>, Role),
    Other(Task),
}

/// What a handler of events is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Every event: that it has run does not yet mean that the event was handled.
    Any,
    /// This event.
    This,
}

type Begin = Box<dyn FnOnce(&Socket) -> Result<Task, Rejection> + Send>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an event without arguments costs.
const EVENT: usize = size_of::<Incoming>();

impl Inbox {
    /// How many bytes of events wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.left.is_empty() && self.running.is_none()
    }

    pub(super) fn push(&mut self, incoming: Incoming) {
        if let Incoming::Event { name, args, .. } = &incoming {
            self.bytes += cost(name, args);
        }
        self.waiting.push_back(incoming);
    }

    /// An event has come: it is handled at once if nothing is before it.
    pub(super) fn push_event(&mut self, socket: &Socket, name: &str, args: Args<'_>, ack: Option<AckId>) {
        if self.is_idle() {
            self.begin_event(socket, name, args, ack);
        } else {
            self.push(Incoming::Event { name: name.into(), args: args.to_owned(), ack });
        }
    }

    /// Lets handlers work, as far as they go without waiting.
    pub(super) fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) {
        loop {
            if let Some(work) = &mut self.running {
                let polled = match work {
                    Work::Event(future, _) => guard(|| future.as_mut().poll(cx)),
                    Work::Other(future) => guard(|| future.as_mut().poll(cx).map(|()| Reply::Empty)),
                };
                let reply = match polled {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(reply)) => {
                        if let Reply::Error(error) = &reply {
                            tracing::warn!(
                                namespace = socket.namespace(),
                                ?error,
                                "an event handler returned an error"
                            );
                        }
                        reply
                    }
                    Err(panic) => panicked(socket, &panic),
                };
                let is_handler = matches!(self.running.take(), Some(Work::Event(_, Role::This)));
                self.settle(socket, is_handler, reply);
            } else if let Some(step) = self.left.pop_front() {
                self.begin(socket, step);
            } else {
                (self.event, self.ack) = (None, None);
                match self.waiting.pop_front() {
                    None => {
                        (self.waiting, self.left) = (VecDeque::new(), VecDeque::new());
                        return;
                    }
                    Some(Incoming::Event { name, args, ack }) => {
                        self.bytes -= cost(&name, &args);
                        self.begin_event(socket, &name, args.as_args(), ack);
                    }
                    Some(lifecycle) => self.begin_lifecycle(socket, lifecycle),
                }
            }
        }
    }

    fn begin_lifecycle(&mut self, socket: &Socket, event: Incoming) {
        let handlers = socket.shared.handlers.read();
        let steps: Vec<Begin> = match event {
            Incoming::Event { .. } => Vec::new(),
            Incoming::Connected => {
                each(&handlers.connect, |handler| Box::new(move |socket| handler.call(&mut ConnectContext { socket })))
            }
            Incoming::Disconnected(reason) => each(&handlers.disconnect, |handler| {
                Box::new(move |socket| handler.call(&mut DisconnectContext { socket, reason }))
            }),
            Incoming::ConnectFailed(error) => each(&handlers.connect_error, |handler| {
                let error = error.clone();
                Box::new(move |socket| handler.call(&mut ConnectErrorContext { socket, error: &error }))
            }),
        };
        self.left.extend(steps.into_iter().map(Step::Lifecycle));
    }

    fn begin_event(&mut self, socket: &Socket, name: &str, args: Args<'_>, ack: Option<AckId>) {
        self.ack = ack;
        let mut handlers = socket.shared.handlers.write();
        let named = handlers.events.take(name);
        let fallback = if named.is_empty() { handlers.fallback.clone() } else { [].into() };
        let (any, streams) = (handlers.any.clone(), handlers.streams.clone());
        drop(handlers);
        if !streams.is_empty() {
            let event = Event { socket: socket.clone(), name: name.into(), args: args.to_owned(), ack };
            for stream in &*streams {
                if let Err(TrySendError::Full(event)) = stream.try_send(event.clone()) {
                    let stream = stream.clone();
                    // It fails only if the stream is dropped meanwhile.
                    self.left.push_back(Step::Stream(Box::pin(async move { drop(stream.send(event).await) })));
                }
            }
        }
        let of_event = named.into_iter().chain(fallback.iter().cloned()).map(|handler| (handler, Role::This));
        let mut steps = any.iter().cloned().map(|handler| (handler, Role::Any)).chain(of_event);
        match (steps.next(), steps.next()) {
            (None, _) => {}
            // Nearly always there is one handler, which takes the arguments as they lie.
            (Some((only, role)), None) if self.left.is_empty() => self.call(socket, &only, role, name, args),
            (Some(first), second) => {
                self.event = Some((name.into(), args.to_owned()));
                let all = [first].into_iter().chain(second).chain(steps);
                self.left.extend(all.map(|(handler, role)| Step::Event(handler, role)));
            }
        }
    }

    fn begin(&mut self, socket: &Socket, step: Step) {
        match step {
            Step::Stream(task) => self.running = Some(Work::Other(task)),
            Step::Lifecycle(begin) => match guard(|| begin(socket)) {
                Ok(Ok(task)) => self.running = Some(Work::Other(task)),
                Ok(Err(rejection)) => {
                    let why = rejection.without_data();
                    tracing::warn!(namespace = socket.namespace(), why, "a handler did not run");
                }
                Err(panic) => drop(panicked(socket, &panic)),
            },
            Step::Event(handler, role) => {
                let Some((name, args)) = self.event.take() else { return };
                self.call(socket, &handler, role, &name, args.as_args());
                self.event = Some((name, args));
            }
        }
    }

    /// Calls a handler of the event at hand.
    fn call(&mut self, socket: &Socket, handler: &ErasedHandler<OnEvent>, role: Role, name: &str, args: Args<'_>) {
        let mut context = EventContext::new(socket, name, args, self.ack);
        let reply = match guard(|| handler.call(&mut context)) {
            Ok(Ok(future)) => {
                self.ack = self.ack.filter(|_| !context.is_ack_taken());
                self.running = Some(Work::Event(future, role));
                return;
            }
            Ok(Err(rejection)) => {
                let why = rejection.without_data();
                tracing::warn!(namespace = socket.namespace(), event = name, why, "a handler did not run");
                Reply::error(rejection.to_string())
            }
            Err(panic) => panicked(socket, &panic),
        };
        self.settle(socket, false, reply);
    }

    /// A handler has ended, or did not run: answers the event if that is the answer, or nobody is left to answer.
    fn settle(&mut self, socket: &Socket, is_handler: bool, reply: Reply) {
        if (!matches!(reply, Reply::Empty) || is_handler && self.left.is_empty())
            && let Some(ack) = self.ack.take()
            && let Err(error) = reply.send(socket, ack)
        {
            tracing::debug!(namespace = socket.namespace(), %error, "an acknowledgement could not be sent");
        }
    }
}

fn each<O: HandlerKind>(handlers: &[ErasedHandler<O>], begin: impl Fn(ErasedHandler<O>) -> Begin) -> Vec<Begin> {
    handlers.iter().cloned().map(begin).collect()
}

/// What an event that waits takes of the receive buffer.
pub(super) fn cost(name: &str, args: &ArgsBuf) -> usize {
    EVENT + name.len() + args.encoded_len()
}

/// What is answered for a handler that has panicked. The panic ends the handler's own work only.
fn panicked(socket: &Socket, panic: &str) -> Reply {
    tracing::error!(namespace = socket.namespace(), panic, "a handler panicked");
    Reply::error(INTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manager;

    #[tokio::test]
    async fn waiting_events_cost_something_even_without_arguments() {
        let socket = Manager::builder("http://localhost").build().unwrap().socket("/");
        let mut inbox = Inbox::default();
        let nothing = ArgsBuf::new(&()).unwrap();
        inbox.push(Incoming::Connected);
        for _ in 0..3 {
            inbox.push_event(&socket, "tick", nothing.as_args(), None);
        }
        assert!(inbox.bytes() > 3 * size_of::<Incoming>(), "{}", inbox.bytes());
        inbox.poll(&socket, &mut Context::from_waker(std::task::Waker::noop()));
        assert_eq!(inbox.bytes(), 0);
    }
}
