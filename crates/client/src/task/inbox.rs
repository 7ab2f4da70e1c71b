use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use sockeye_handler::{
    EventHandlers, HandlerError, HandlerFailure, HandlerKind, Queued, QueuedEvent, Runner, RunnerSocket, Sequence,
    with_causes,
};
use sockeye_protocol::socketio::Args;
use tokio::sync::mpsc::error::TrySendError;

use crate::{
    ConnectError, DisconnectReason, Event, Reply, Socket,
    handles::handler::{
        AckId, ConnectContext, ConnectErrorContext, DisconnectContext, OnConnect, OnConnectError, OnDisconnect,
    },
    state::socket::LifecycleEvent,
};

/// What waits for the handlers and streams of one socket, and the handlers at work: one thing after the other, in order.
#[derive(Default)]
pub(super) struct Inbox {
    runner: Runner<Socket, LifecycleEvent>,
    /// What is handled before the runner goes on.
    current: Option<Current>,
}

enum Current {
    /// Streams that had no room take the event, which the handlers get afterwards.
    Streams(Pin<Box<dyn Future<Output = ()> + Send>>, QueuedEvent),
    Connect(Sequence<OnConnect>),
    Disconnect(Sequence<OnDisconnect>, DisconnectReason),
    ConnectError(Sequence<OnConnectError>, ConnectError),
}

impl Inbox {
    /// How many bytes of memory the waiting events take.
    pub(super) fn bytes(&self) -> usize {
        self.runner.queued_bytes()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.runner.is_idle()
    }

    pub(super) fn push(&mut self, incoming: Queued<LifecycleEvent>) {
        self.runner.push(incoming);
    }

    /// An event has arrived. It is handled at once if nothing is before it.
    pub(super) fn push_event(
        &mut self,
        socket: &Socket,
        name: &str,
        args: Args<'_>,
        ack: Option<AckId>,
        cx: &mut Context<'_>,
    ) {
        if self.is_idle() {
            self.begin_event(socket, (name, args, ack), cx);
        } else {
            self.runner.push(Queued::Event(QueuedEvent::new(name, args, ack)));
        }
    }

    /// Lets handlers work, as far as they go without waiting.
    pub(super) fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) {
        while self.poll_current(socket, cx).is_ready() && self.runner.poll(socket, cx).is_ready() {
            match self.runner.next() {
                None => return,
                Some(Queued::Event(QueuedEvent { name, args, ack })) => {
                    self.begin_event(socket, (&name, args.as_args(), ack), cx);
                }
                Some(Queued::Other(event)) => self.current = Some(Current::new(socket, event)),
            }
        }
    }

    fn poll_current(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.current {
            None => return Poll::Ready(()),
            Some(Current::Streams(streams, _)) => ready!(streams.as_mut().poll(cx)),
            Some(Current::Connect(handlers)) => {
                ready!(poll_handlers(handlers, &mut ConnectContext { socket }, socket, "connect", cx));
            }
            Some(Current::Disconnect(handlers, reason)) => {
                let mut context = DisconnectContext { socket, reason: *reason };
                ready!(poll_handlers(handlers, &mut context, socket, "disconnect", cx));
            }
            Some(Current::ConnectError(handlers, error)) => {
                let mut context = ConnectErrorContext { socket, error };
                ready!(poll_handlers(handlers, &mut context, socket, "connect_error", cx));
            }
        }
        if let Some(Current::Streams(_, QueuedEvent { name, args, ack })) = self.current.take() {
            self.run_handlers(socket, (&name, args.as_args(), ack), cx);
        }
        Poll::Ready(())
    }

    fn begin_event(
        &mut self,
        socket: &Socket,
        (name, args, ack): (&str, Args<'_>, Option<AckId>),
        cx: &mut Context<'_>,
    ) {
        let streams = socket.shared.handlers.read().streams.clone();
        if !streams.is_empty() {
            let event = Event { socket: socket.clone(), name: name.into(), args: args.to_owned(), ack };
            let mut full = Vec::new();
            for stream in &*streams {
                if let Err(TrySendError::Full(event)) = stream.try_send(event.clone()) {
                    full.push((stream.clone(), event));
                }
            }
            if !full.is_empty() {
                let sending = Box::pin(async move {
                    for (stream, event) in full {
                        // It fails only if the stream is dropped meanwhile.
                        drop(stream.send(event).await);
                    }
                });
                self.current = Some(Current::Streams(sending, QueuedEvent::new(name, args, ack)));
                return;
            }
        }
        self.run_handlers(socket, (name, args, ack), cx);
    }

    fn run_handlers(&mut self, socket: &Socket, event: (&str, Args<'_>, Option<AckId>), cx: &mut Context<'_>) {
        let mut handlers = socket.shared.handlers.write();
        let mut own = handlers.events.take(event.0);
        if own.is_empty() {
            own.extend(handlers.fallback.iter().cloned());
        }
        let any = handlers.any.clone();
        drop(handlers);
        let handlers = EventHandlers { middleware: &[], any: any.iter(), own: own.iter() };
        self.runner.start(socket, event, handlers, cx);
    }
}

impl Current {
    fn new(socket: &Socket, event: LifecycleEvent) -> Self {
        let handlers = socket.shared.handlers.read();
        match event {
            LifecycleEvent::Connected => Self::Connect(Sequence::new(handlers.connect.iter().cloned())),
            LifecycleEvent::Disconnected(reason) => {
                Self::Disconnect(Sequence::new(handlers.disconnect.iter().cloned()), reason)
            }
            LifecycleEvent::ConnectFailed(error) => {
                Self::ConnectError(Sequence::new(handlers.connect_error.iter().cloned()), error)
            }
        }
    }
}

/// Runs the handlers of a lifecycle event. One that fails is logged, and the next one runs.
fn poll_handlers<K: HandlerKind<Output = Result<(), HandlerError>>>(
    handlers: &mut Sequence<K>,
    context: &mut K::Context<'_>,
    socket: &Socket,
    event: &str,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while let Some(ended) = ready!(handlers.poll(context, cx)) {
        if let Err(failure) = ended.and_then(|result| result.map_err(HandlerFailure::Returned)) {
            log_failure(socket, event, &failure);
        }
    }
    Poll::Ready(())
}

impl RunnerSocket for Socket {
    fn handler_failed(&self, event: &str, failure: HandlerFailure) -> Reply {
        log_failure(self, event, &failure);
        Reply::error(failure.message())
    }
}

fn log_failure(socket: &Socket, event: &str, failure: &HandlerFailure) {
    let namespace = socket.namespace();
    match failure {
        HandlerFailure::Panicked(panic) => tracing::error!(namespace, event, panic, "a handler panicked"),
        HandlerFailure::Rejected(rejection) => {
            tracing::warn!(namespace, event, why = rejection.without_data(), "a handler did not run");
        }
        HandlerFailure::Returned(error) => {
            tracing::warn!(namespace, event, error = with_causes(error.as_error()), "a handler returned an error");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sockeye_protocol::socketio::ArgsBuf;

    use super::*;
    use crate::Manager;

    fn socket() -> Socket {
        Manager::builder("http://localhost").build().unwrap().socket("/")
    }

    #[tokio::test]
    async fn events_that_are_handled_count_no_more() {
        let socket = socket();
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut inbox = Inbox::default();
        let nothing = ArgsBuf::new(&()).unwrap();
        inbox.push(Queued::Other(LifecycleEvent::Connected));
        for _ in 0..3 {
            inbox.push_event(&socket, "tick", nothing.as_args(), None, cx);
        }
        assert!(inbox.bytes() > 0);
        inbox.poll(&socket, cx);
        assert_eq!(inbox.bytes(), 0);
    }

    #[tokio::test]
    async fn a_full_inbox_keeps_little_more_memory_than_its_limit() {
        const LIMIT: usize = 4 << 20;
        let socket = socket();
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        // The smallest and the largest events, without attachments and with some.
        for (length, attachments) in [(0, 0), (4_000_000, 0), (0, 1), (0, 1_000), (1 << 20, 1)] {
            let args = ArgsBuf::new(&("x".repeat(length), vec![Bytes::from(vec![0; length]); attachments])).unwrap();
            let mut inbox = Inbox::default();
            inbox.push(Queued::Other(LifecycleEvent::Connected));
            let kept = allocation_counter::measure(|| {
                while inbox.bytes() < LIMIT {
                    inbox.push_event(&socket, "e", args.as_args(), None, cx);
                }
            });
            // The last event went beyond the limit.
            let most = LIMIT + LIMIT / 4 + 8 * 1024 + args.encoded_len();
            assert!(kept.bytes_current <= most as i64, "{length}, {attachments}: {kept:?}");
        }
    }
}
