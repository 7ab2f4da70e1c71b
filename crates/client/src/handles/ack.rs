use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use serde::de::DeserializeOwned;
use sockeye_handler::{decode_answer, error_of_answer};
use sockeye_protocol::socketio::ArgsBuf;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use crate::{AckError, EmitError, Socket, error::AckErrorKind, state::socket::AckOutcome};

/// The future of an acknowledgement. It resolves to the first argument of the answer, or to all arguments if `T` is a
/// tuple, such as `(i64, String)`. An answer without arguments counts as `null`, from which `()` can be deserialised.
///
/// The event is emitted already: it is sent when the future is first awaited, and otherwise within two milliseconds. If the
/// future is dropped, the answer is ignored. If the time runs out while the event still waits for a connection, the event
/// is not sent any more, unless the manager has [`Retries`](crate::Retries).
#[derive(Debug)]
#[must_use = "the acknowledgement arrives only if the future is awaited; to emit without one, use `emit`"]
pub struct AckFuture<T> {
    state: State,
    limit: Duration,
    answer: PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum State {
    Failed(Option<EmitError>),
    Waiting { pending: Pending, timeout: Option<Pin<Box<Sleep>>> },
}

/// Forgets the acknowledgement when it is dropped.
#[derive(Debug)]
struct Pending {
    socket: Socket,
    id: u64,
    answer: oneshot::Receiver<AckOutcome>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            self.socket.forget_ack(self.id);
        }
    }
}

impl<T> AckFuture<T> {
    pub(crate) fn failed(error: EmitError) -> Self {
        Self { state: State::Failed(Some(error)), limit: Duration::ZERO, answer: PhantomData }
    }

    pub(crate) fn waiting(socket: Socket, id: u64, answer: oneshot::Receiver<AckOutcome>, limit: Duration) -> Self {
        let pending = Pending { socket, id, answer };
        Self { state: State::Waiting { pending, timeout: None }, limit, answer: PhantomData }
    }

    /// Waits for the answer and returns its arguments undecoded.
    ///
    /// # Errors
    /// As the future itself, but not for the types of the arguments.
    pub async fn raw(mut self) -> Result<ArgsBuf, AckError> {
        std::future::poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<ArgsBuf, AckError>> {
        let limit = self.limit;
        match &mut self.state {
            State::Failed(error) => match error.take() {
                Some(error) => Poll::Ready(Err(AckError::with_source(AckErrorKind::Emit, error))),
                None => Poll::Pending,
            },
            State::Waiting { pending, timeout } => match Pin::new(&mut pending.answer).poll(cx) {
                Poll::Ready(Ok(Ok(args))) => Poll::Ready(Ok(args)),
                Poll::Ready(Ok(Err(kind))) => Poll::Ready(Err(kind.into())),
                Poll::Ready(Err(_)) => Poll::Ready(Err(AckErrorKind::Disconnected.into())),
                Poll::Pending => {
                    pending.socket.flush();
                    let timeout = timeout.get_or_insert_with(|| Box::pin(sleep(limit)));
                    timeout.as_mut().poll(cx).map(|()| {
                        pending.socket.withdraw(pending.id);
                        Err(AckErrorKind::TimedOut(limit).into())
                    })
                }
            },
        }
    }
}

impl<T: DeserializeOwned> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_outcome(cx).map(|outcome| {
            let outcome = outcome?;
            decode_answer(outcome.as_args()).map_err(|error| match error_of_answer(outcome.as_args()) {
                Some(text) => AckErrorKind::Failed(text).into(),
                None => AckError::with_source(AckErrorKind::Arguments, error),
            })
        })
    }
}
