use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use hashbrown::HashMap;
use serde::de::DeserializeOwned;
use sockeye_engine::Sid;
use sockeye_handler::{decode_answer, guarded};
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until},
};

use crate::{EmitError, LimitError, Namespace, Socket};

/// Why no acknowledgement came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client did not answer in time.
    #[error("operation has timed out: the client did not acknowledge the event in time")]
    TimedOut,
    /// The socket left before it answered.
    #[error("the socket has been disconnected before it acknowledged the event")]
    Disconnected,
    /// The client answered with something else.
    #[error("the acknowledgement is not what was expected: {0}")]
    Arguments(#[from] ArgumentError),
}

/// An acknowledgement to come. It resolves to the first argument of the answer, or to all of them if `T` is a tuple, such
/// as `(i64, String)`. An answer without arguments is taken for `null`, which `()` is decoded from.
/// [`raw`](Self::raw) returns the arguments still encoded. If the future is dropped, the answer is not waited for.
#[derive(Debug)]
#[must_use = "an acknowledgement is only waited for when the future is awaited; to emit without one, use `emit`"]
pub struct AckFuture<T> {
    state: State,
    answer: PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum State {
    Failed(Option<EmitError>),
    Waiting { socket: Socket, id: u64, answer: oneshot::Receiver<ArgsBuf>, patience: Patience },
}

impl<T> AckFuture<T> {
    pub(crate) fn failed(error: EmitError) -> Self {
        Self { state: State::Failed(Some(error)), answer: PhantomData }
    }

    pub(crate) fn waiting(socket: Socket, id: u64, answer: oneshot::Receiver<ArgsBuf>, timeout: Duration) -> Self {
        let patience = Patience::new(timeout);
        Self { state: State::Waiting { socket, id, answer, patience }, answer: PhantomData }
    }

    /// Waits for the answer as it comes, with all its arguments: `answer.as_args().all::<(i64, String)>()`.
    ///
    /// # Errors
    /// As the future itself, but for the type of the argument.
    pub async fn raw(mut self) -> Result<ArgsBuf, AckError> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Calls `callback` in a task of its own with what the future resolves to.
    pub(crate) fn call_with_answer<F, Fut>(self, namespace: Namespace, callback: F)
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(async move {
            let answer = self.await;
            if let Err(panic) = guarded(async { callback(answer).await }).await {
                namespace.counters().handler_panics.add();
                tracing::error!(namespace = namespace.name(), panic, "the callback of an acknowledgement panicked");
            }
        });
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<ArgsBuf, AckError>> {
        match &mut self.state {
            State::Failed(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => Poll::Pending,
            },
            State::Waiting { answer, patience, .. } => match Pin::new(answer).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(|_| AckError::Disconnected)),
                Poll::Pending => patience.poll(cx).map(|()| Err(AckError::TimedOut)),
            },
        }
    }
}

impl<T: DeserializeOwned> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|answer| Ok(decode_answer(answer?.as_args())?))
    }
}

impl<T> Drop for AckFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting { socket, id, .. } = &self.state {
            socket.forget_ack(*id);
        }
    }
}

/// The acknowledgements of a broadcast, as a stream: one item a socket, in the order they come, with
/// [`AckError::TimedOut`] for those that do not answer in time, and [`AckError::Emit`] for those that owe so many answers
/// already that they were not asked. [`collect`](Self::collect) waits for all.
#[derive(Debug)]
#[must_use = "the acknowledgements are only waited for when the stream is polled; to emit without them, use `emit`"]
pub struct BroadcastAcks<T> {
    id: u64,
    sockets: HashMap<Sid, Socket>,
    answers: mpsc::UnboundedReceiver<(Sid, Answer)>,
    patience: Patience,
    answer: PhantomData<fn() -> T>,
}

/// What came of a broadcast's acknowledgements.
#[derive(Debug)]
pub struct BroadcastAnswers<T> {
    /// The answers that came.
    pub answers: Vec<(Sid, T)>,
    /// The sockets that gave none, and why.
    pub missing: Vec<(Sid, AckError)>,
}

impl<T> BroadcastAcks<T> {
    pub(crate) fn new(id: u64, answers: mpsc::UnboundedReceiver<(Sid, Answer)>, timeout: Duration) -> Self {
        Self { id, sockets: HashMap::new(), answers, patience: Patience::new(timeout), answer: PhantomData }
    }

    /// Waits for these sockets, too, which have been asked.
    pub(crate) fn expect(&mut self, sockets: Vec<Socket>) {
        self.sockets.extend(sockets.into_iter().map(|socket| (socket.id().clone(), socket)));
    }

    /// How many sockets have not answered yet.
    pub fn outstanding(&self) -> usize {
        self.sockets.len()
    }
}

impl<T: DeserializeOwned> BroadcastAcks<T> {
    /// Waits until every socket has answered, has left, or the time is up. Partial answers are kept.
    pub async fn collect(mut self) -> BroadcastAnswers<T> {
        let mut collected = BroadcastAnswers { answers: Vec::new(), missing: Vec::new() };
        while let Some((sid, answer)) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            match answer {
                Ok(answer) => collected.answers.push((sid, answer)),
                Err(error) => collected.missing.push((sid, error)),
            }
        }
        collected
    }
}

impl<T: DeserializeOwned> Stream for BroadcastAcks<T> {
    type Item = (Sid, Result<T, AckError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.sockets.is_empty() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(Some((sid, answer))) = self.answers.poll_recv(cx) {
                if self.sockets.remove(&sid).is_none() {
                    continue;
                }
                let answer = answer.and_then(|args| Ok(decode_answer(args.as_args())?));
                return Poll::Ready(Some((sid, answer)));
            }
            if self.patience.poll(cx).is_pending() {
                return Poll::Pending;
            }
            // The time is up: each socket that is left is one item.
            let Some(sid) = self.sockets.keys().next().cloned() else { return Poll::Ready(None) };
            if let Some(socket) = self.sockets.remove(&sid) {
                socket.forget_ack(self.id);
            }
            return Poll::Ready(Some((sid, Err(AckError::TimedOut))));
        }
    }
}

impl<T> Drop for BroadcastAcks<T> {
    fn drop(&mut self) {
        for socket in self.sockets.values() {
            socket.forget_ack(self.id);
        }
    }
}

/// How long an answer is waited for. The time runs at once, but the timer is made when somebody waits, because events are
/// emitted outside of a runtime, too.
#[derive(Debug)]
struct Patience {
    /// None is beyond all time.
    ends: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(timeout: Duration) -> Self {
        Self { ends: Instant::now().checked_add(timeout), timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ends) = self.ends else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(ends))).as_mut().poll(cx)
    }
}

/// What became of one socket's acknowledgement of a broadcast.
type Answer = Result<ArgsBuf, AckError>;

/// Where the sockets that a broadcast asks leave their answers.
pub(crate) type Answers = mpsc::UnboundedSender<(Sid, Answer)>;

/// The acknowledgements one socket still owes.
#[derive(Debug, Default)]
pub(crate) struct PendingAcks {
    waiting: HashMap<u64, PendingAck>,
}

/// Who waits for an acknowledgement.
#[derive(Debug)]
pub(crate) enum PendingAck {
    One(oneshot::Sender<ArgsBuf>),
    Broadcast(Sid, Answers),
}

/// The ids of a server's acknowledgements. All sockets share them, for two reasons: one encoding of a broadcast serves
/// every recipient, and clients answer an event although they have come back as another socket since, which must not be
/// taken for the answer to what that one was asked.
#[derive(Debug, Default)]
pub(crate) struct AckIds(AtomicU32);

impl AckIds {
    /// The next id, which fits into a signed number of 32 bits, because the Java client takes no other.
    pub(crate) fn next(&self) -> u64 {
        u64::from(self.0.fetch_add(1, Ordering::Relaxed) & (u32::MAX >> 1))
    }
}

impl PendingAcks {
    pub(crate) fn expect(&mut self, id: u64, ack: PendingAck, limit: usize) -> Result<(), LimitError> {
        if self.waiting.len() >= limit {
            return Err(LimitError::PendingAcks { limit });
        }
        self.waiting.insert(id, ack);
        Ok(())
    }

    pub(crate) fn take(&mut self, id: u64) -> Option<PendingAck> {
        self.waiting.remove(&id)
    }

    /// Tells everyone who waits that no answer will come.
    pub(crate) fn disconnected(self) {
        self.waiting.into_values().for_each(PendingAck::disconnected);
    }
}

impl PendingAck {
    /// Tells whoever waits that no answer will come.
    pub(crate) fn disconnected(self) {
        match self {
            Self::One(answer) => drop(answer),
            // Whoever waited may have given up.
            Self::Broadcast(sid, answers) => drop(answers.send((sid, Err(AckError::Disconnected)))),
        }
    }

    pub(crate) fn resolve(self, args: ArgsBuf) {
        // Whoever waited may have given up in this moment.
        match self {
            Self::One(answer) => drop(answer.send(args)),
            Self::Broadcast(sid, answers) => drop(answers.send((sid, Ok(args)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[test]
    fn ids_begin_anew_before_they_are_too_large_for_clients_in_java() {
        let ids = AckIds(AtomicU32::new(i32::MAX as u32));
        assert_eq!([ids.next(), ids.next()], [i32::MAX as u64, 0]);
        let ids = AckIds(AtomicU32::new(u32::MAX));
        assert_eq!([ids.next(), ids.next()], [i32::MAX as u64, 0]);
    }

    #[tokio::test]
    async fn who_leaves_while_a_broadcast_asks_is_not_waited_for() {
        let server = Server::new();
        let client = server.test_client().connect().await.unwrap();
        let socket = server.of("/").socket(client.sid()).unwrap();
        let (sender, mut answers) = mpsc::unbounded_channel();
        assert!(socket.expect_broadcast_ack(1, &sender));
        assert!(answers.try_recv().is_err(), "it is there");
        client.disconnect().await.unwrap();
        assert!(matches!(answers.try_recv(), Ok((_, Err(AckError::Disconnected)))), "it has left");
        assert!(!socket.expect_broadcast_ack(2, &sender));
        assert!(matches!(answers.try_recv(), Ok((_, Err(AckError::Disconnected)))), "it had left before");
    }
}
