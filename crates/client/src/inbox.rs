use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use sockeye_handler::{INTERNAL, guard};
use sockeye_protocol::socketio::{Args, ArgsBuf};
use tokio::{sync::mpsc::error::TrySendError, time::Instant};

use crate::{
    Event, Reply, Socket,
    config::AuthFuture,
    core::{News, SocketInner},
    handler::{
        ConnectContext, ConnectErrorContext, DisconnectContext, ErasedHandler, EventContext, HandlerFuture, Occasion,
        OnEvent,
    },
};

/// What has come for one socket and what its handlers are doing about it: one thing after the other, in order.
pub(crate) struct Inbox {
    pub(crate) socket: Arc<SocketInner>,
    waiting: VecDeque<Item>,
    /// The bytes of the events that wait.
    bytes: usize,
    /// The handlers of what is being handled; the first is at work.
    working: VecDeque<Work>,
    /// The acknowledgement that the event being handled is owed.
    ack: Option<u64>,
    /// The events that came before the server's CONNECT, to be handled after it.
    early: VecDeque<Item>,
    early_bytes: usize,
    pub(crate) joining: Joining,
}

/// What joining a namespace needs.
#[derive(Default)]
pub(crate) struct Joining {
    /// The authentication data in the making.
    pub(crate) auth: Option<AuthFuture>,
    /// When it must be done.
    pub(crate) until: Option<Instant>,
    /// The private id of the server's session, to recover it with.
    pub(crate) pid: Option<String>,
    /// What the server calls the last event that came.
    pub(crate) offset: Option<String>,
}

enum Item {
    News(News),
    Event { name: Box<str>, args: ArgsBuf, ack: Option<u64> },
}

enum Work {
    /// A handler of every event: that it has run does not yet mean that the event was handled.
    Any(HandlerFuture<OnEvent>),
    Handler(HandlerFuture<OnEvent>),
    Other(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Inbox {
    pub(crate) fn new(socket: Arc<SocketInner>) -> Self {
        Self {
            socket,
            waiting: VecDeque::new(),
            bytes: 0,
            working: VecDeque::new(),
            ack: None,
            early: VecDeque::new(),
            early_bytes: 0,
            joining: Joining::default(),
        }
    }

    /// How many bytes of events wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.working.is_empty()
    }

    pub(crate) fn push_news(&mut self, news: News) {
        self.waiting.push_back(Item::News(news));
    }

    /// An event has come: it is handled at once if nothing is before it.
    pub(crate) fn push_event(&mut self, socket: &Socket, name: &str, args: Args<'_>, ack: Option<u64>) {
        if self.is_idle() {
            self.begin_event(socket, name, args, ack);
        } else {
            let args = args.to_owned();
            self.bytes += args.encoded_len();
            self.waiting.push_back(Item::Event { name: name.into(), args, ack });
        }
    }

    /// An event has come before the server's CONNECT. Answers how many bytes are kept.
    pub(crate) fn push_early(&mut self, name: &str, args: Args<'_>, ack: Option<u64>) -> usize {
        let args = args.to_owned();
        self.early_bytes += args.encoded_len();
        self.early.push_back(Item::Event { name: name.into(), args, ack });
        self.early_bytes
    }

    /// Whether events came before the server's CONNECT.
    pub(crate) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// The server's CONNECT has come, and the news of it is told: now for the events before it.
    pub(crate) fn release_early(&mut self) {
        self.bytes += std::mem::take(&mut self.early_bytes);
        self.waiting.append(&mut self.early);
    }

    pub(crate) fn drop_early(&mut self) {
        self.early = VecDeque::new();
        self.early_bytes = 0;
    }

    /// Forgets everything, because nobody is left to be told.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.socket.clone());
    }

    /// Lets handlers work, as far as they go without waiting.
    pub(crate) fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) {
        loop {
            while let Some(work) = self.working.front_mut() {
                let polled = match work {
                    Work::Any(future) | Work::Handler(future) => guard(|| future.as_mut().poll(cx)),
                    Work::Other(future) => guard(|| future.as_mut().poll(cx).map(|()| Reply::Empty)),
                };
                let reply = match polled {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(reply)) => {
                        if let Reply::Error(error) = &reply {
                            tracing::warn!(namespace = socket.namespace(), error, "an event handler returned an error");
                        }
                        reply
                    }
                    Err(panic) => panicked(socket, &panic),
                };
                let is_last = matches!(self.working.pop_front(), Some(Work::Handler(_))) && !self.has_handlers();
                if (is_last || !matches!(reply, Reply::Empty))
                    && let Some(ack) = self.ack.take()
                {
                    send_reply(socket, ack, reply);
                }
            }
            match self.waiting.pop_front() {
                None => {
                    (self.waiting, self.working) = (VecDeque::new(), VecDeque::new());
                    return;
                }
                Some(Item::News(news)) => self.begin_news(socket, &news),
                Some(Item::Event { name, args, ack }) => {
                    self.bytes -= args.encoded_len();
                    self.begin_event(socket, &name, args.as_args(), ack);
                }
            }
        }
    }

    fn begin_news(&mut self, socket: &Socket, news: &News) {
        match news {
            News::Connected => {
                let handlers = self.socket.handlers.read().connect.clone();
                self.begin(&handlers, socket, ConnectContext { socket });
            }
            News::Disconnected(reason) => {
                let handlers = self.socket.handlers.read().disconnect.clone();
                self.begin(&handlers, socket, DisconnectContext { socket, reason: *reason });
            }
            News::ConnectFailed(error) => {
                let handlers = self.socket.handlers.read().connect_error.clone();
                self.begin(&handlers, socket, ConnectErrorContext { socket, error });
            }
        }
    }

    fn begin<O: Occasion<Output = ()>>(
        &mut self,
        handlers: &[ErasedHandler<O>],
        socket: &Socket,
        mut context: O::Context<'_>,
    ) {
        for handler in handlers {
            match guard(|| handler.call(&mut context)) {
                Ok(Ok(future)) => self.working.push_back(Work::Other(future)),
                Ok(Err(rejection)) => {
                    tracing::warn!(namespace = socket.namespace(), %rejection, "a handler did not run");
                }
                Err(panic) => drop(panicked(socket, &panic)),
            }
        }
    }

    fn begin_event(&mut self, socket: &Socket, name: &str, args: Args<'_>, ack: Option<u64>) {
        let mut handlers = self.socket.handlers.write();
        let named = handlers.events.take(name);
        let any = handlers.any.clone();
        let fallback = if named.is_empty() { handlers.fallback.clone() } else { [].into() };
        let streams = handlers.streams.clone();
        drop(handlers);
        if !streams.is_empty() {
            let event = Event { socket: socket.clone(), name: name.into(), args: args.to_owned(), ack };
            for stream in &*streams {
                if let Err(TrySendError::Full(event)) = stream.try_send(event.clone()) {
                    let stream = stream.clone();
                    // It fails only if the stream is dropped meanwhile.
                    self.working.push_back(Work::Other(Box::pin(async move { drop(stream.send(event).await) })));
                }
            }
        }
        let mut context = EventContext::new(socket, name, args, ack);
        let mut failure = None;
        let of_event = named.iter().chain(&*fallback);
        let work = any.iter().map(|handler| (handler, Work::Any as fn(_) -> _));
        for (handler, work) in work.chain(of_event.map(|handler| (handler, Work::Handler as fn(_) -> _))) {
            match guard(|| handler.call(&mut context)) {
                Ok(Ok(future)) => self.working.push_back(work(future)),
                Ok(Err(rejection)) => {
                    tracing::warn!(namespace = socket.namespace(), event = name, %rejection, "a handler did not run");
                    failure = Some(Reply::error(rejection.to_string()));
                }
                Err(panic) => failure = Some(panicked(socket, &panic)),
            }
        }
        self.ack = ack.filter(|_| !context.is_ack_taken());
        if !self.has_handlers()
            && let Some(reply) = failure
            && let Some(ack) = self.ack.take()
        {
            send_reply(socket, ack, reply);
        }
    }

    /// Whether handlers of the event at hand have not run to their end.
    fn has_handlers(&self) -> bool {
        self.working.iter().any(|work| matches!(work, Work::Handler(_)))
    }
}

/// What is answered for a handler that has panicked. The panic ends the handler's own work only.
fn panicked(socket: &Socket, panic: &str) -> Reply {
    tracing::error!(namespace = socket.namespace(), panic, "a handler panicked");
    Reply::error(INTERNAL)
}

fn send_reply(socket: &Socket, ack: u64, reply: Reply) {
    if let Err(error) = reply.send(socket, ack) {
        tracing::debug!(namespace = socket.namespace(), %error, "an acknowledgement could not be sent");
    }
}
