use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use crate::{ErasedHandler, HandlerFailure, HandlerFuture, HandlerKind, guard};

/// Handlers of one kind that run one after the other, such as the disconnect handlers of a socket.
///
/// It has the size of a pointer, and allocates only if there are handlers.
pub struct Sequence<K: HandlerKind>(Option<Box<Handlers<K>>>);

struct Handlers<K: HandlerKind> {
    left: VecDeque<ErasedHandler<K>>,
    running: Option<HandlerFuture<K>>,
}

impl<K: HandlerKind> Sequence<K> {
    /// Handlers to run in this order.
    pub fn new(handlers: impl IntoIterator<Item = ErasedHandler<K>>) -> Self {
        let left: VecDeque<_> = handlers.into_iter().collect();
        Self((!left.is_empty()).then(|| Box::new(Handlers { left, running: None })))
    }

    /// Whether a handler has begun and waits.
    pub fn is_running(&self) -> bool {
        self.0.as_ref().is_some_and(|handlers| handlers.running.is_some())
    }

    /// Lets the handler that waits go on, or runs the next one. Returns what one handler returned, or why it failed, and
    /// `None` after the last.
    pub fn poll(
        &mut self,
        context: &mut K::Context<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<K::Output, HandlerFailure>>> {
        let Some(handlers) = &mut self.0 else { return Poll::Ready(None) };
        if handlers.running.is_none() {
            let Some(handler) = handlers.left.pop_front() else {
                self.0 = None;
                return Poll::Ready(None);
            };
            match guard(|| handler.call(context)) {
                Ok(Ok(future)) => handlers.running = Some(future),
                Ok(Err(rejection)) => return Poll::Ready(Some(Err(HandlerFailure::Rejected(rejection)))),
                Err(panic) => return Poll::Ready(Some(Err(HandlerFailure::Panicked(panic)))),
            }
        }
        let Some(future) = &mut handlers.running else { return Poll::Ready(None) };
        let ended = match guard(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(HandlerFailure::Panicked(panic)),
        };
        handlers.running = None;
        Poll::Ready(Some(ended))
    }
}
