use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use hashbrown::HashMap;
use serde::de::DeserializeOwned;
use sockeye_engine::{Sid, log_throttled};
use sockeye_handler::{decode_answer, error_of_answer, guarded};
use sockeye_protocol::socketio::ArgsBuf;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    EmitError, Namespace, Socket,
    adapter::{RemoteAck, RemoteAcks},
    handles::pending_acks::{AckError, Answer},
};

/// The future of an acknowledgement. It resolves to the first argument of the answer, or to all arguments if `T` is a
/// tuple, such as `(i64, String)`. An answer without arguments counts as `null`, from which `()` can be deserialised.
/// [`raw`](Self::raw) returns the encoded arguments. If the future is dropped, the answer is ignored.
#[derive(Debug)]
#[must_use = "the acknowledgement arrives only if the future is awaited; to emit without one, use `emit`"]
pub struct AckFuture<T> {
    state: State,
    answer: PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum State {
    Failed(Option<EmitError>),
    Waiting { socket: Socket, id: u64, answer: oneshot::Receiver<ArgsBuf>, deadline: AckDeadline },
}

impl<T> AckFuture<T> {
    pub(crate) fn failed(error: EmitError) -> Self {
        Self { state: State::Failed(Some(error)), answer: PhantomData }
    }

    pub(crate) fn waiting(socket: Socket, id: u64, answer: oneshot::Receiver<ArgsBuf>, timeout: Duration) -> Self {
        let deadline = AckDeadline::new(timeout);
        Self { state: State::Waiting { socket, id, answer, deadline }, answer: PhantomData }
    }

    /// Waits for the answer and returns all its arguments encoded. Read them by `answer.as_args().all::<(i64,
    /// String)>()`.
    ///
    /// # Errors
    /// As the future itself, except that the type of the arguments is not checked.
    pub async fn raw(mut self) -> Result<ArgsBuf, AckError> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Spawns a task that calls `callback` with the output of the future.
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
                let namespace = namespace.name();
                log_throttled!(error, namespace, namespace, panic, "the callback of an acknowledgement panicked");
            }
        });
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<ArgsBuf, AckError>> {
        match &mut self.state {
            State::Failed(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => Poll::Pending,
            },
            State::Waiting { answer, deadline, .. } => match Pin::new(answer).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(|_| AckError::Disconnected)),
                Poll::Pending => deadline.poll(cx).map(|()| Err(AckError::TimedOut)),
            },
        }
    }
}

impl<T: DeserializeOwned> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|answer| decoded(&answer?))
    }
}

impl<T> Drop for AckFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting { socket, id, .. } = &self.state {
            socket.forget_ack(*id);
        }
    }
}

/// The acknowledgements of a broadcast, as a stream. It yields one item for each client, in the order in which the
/// answers arrive, with the id of its socket if that is on this server. The item is [`AckError::TimedOut`] if the socket does not answer in time, and [`AckError::Emit`] if it did not
/// get the event because it has `max_pending_acks` unanswered acknowledgements. [`collect`](Self::collect) waits for
/// all.
#[derive(Debug)]
#[must_use = "the acknowledgements arrive only if the stream is polled; to emit without them, use `emit`"]
pub struct BroadcastAcks<T> {
    id: u64,
    sockets: HashMap<Sid, Socket>,
    answers: mpsc::UnboundedReceiver<(Sid, Answer)>,
    elsewhere: Elsewhere,
    deadline: AckDeadline,
    answer: PhantomData<fn() -> T>,
}

/// The clients of other servers of the cluster.
#[derive(Debug, Default)]
struct Elsewhere {
    acks: Vec<RemoteAcks>,
    outstanding: usize,
    servers_missing: usize,
}

/// The result of a broadcast with acknowledgements.
#[derive(Debug)]
pub struct BroadcastAnswers<T> {
    /// The answers that arrived, with the ids of the sockets that are on this server.
    pub answers: Vec<(Option<Sid>, T)>,
    /// The clients that gave no valid answer, and the reasons; with the ids of the sockets that are on this server.
    pub missing: Vec<(Option<Sid>, AckError)>,
    /// How many servers of the cluster did not answer in time. How many clients they have is not known.
    pub servers_missing: usize,
}

impl<T> BroadcastAcks<T> {
    pub(crate) fn new(id: u64, answers: mpsc::UnboundedReceiver<(Sid, Answer)>, timeout: Duration) -> Self {
        let (sockets, elsewhere) = (HashMap::new(), Elsewhere::default());
        Self { id, sockets, answers, elsewhere, deadline: AckDeadline::new(timeout), answer: PhantomData }
    }

    /// Adds sockets that were asked for an acknowledgement.
    pub(crate) fn expect(&mut self, sockets: Vec<Socket>) {
        self.sockets.extend(sockets.into_iter().map(|socket| (socket.id().clone(), socket)));
    }

    /// Adds clients of other servers.
    pub(crate) fn expect_elsewhere(&mut self, acks: Option<RemoteAcks>) {
        self.elsewhere.acks.extend(acks);
    }

    /// The number of clients that have not answered yet, as far as they are known.
    pub fn outstanding(&self) -> usize {
        self.sockets.len() + self.elsewhere.outstanding
    }

    /// The next answer, or why a client gives none.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Option<Sid>, Answer)>> {
        loop {
            if let Poll::Ready(Some((sid, answer))) = self.answers.poll_recv(cx) {
                if self.sockets.remove(&sid).is_none() {
                    continue;
                }
                return Poll::Ready(Some((Some(sid), answer)));
            }
            if let Poll::Ready(answer) = self.elsewhere.poll(cx) {
                return Poll::Ready(Some((None, Ok(answer))));
            }
            if self.sockets.is_empty() && self.elsewhere.acks.is_empty() && self.elsewhere.outstanding == 0 {
                return Poll::Ready(None);
            }
            if self.deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            // After the timeout, the stream yields one item for each client without an answer.
            if let Some(sid) = self.sockets.keys().next().cloned() {
                if let Some(socket) = self.sockets.remove(&sid) {
                    socket.forget_ack(self.id);
                }
                return Poll::Ready(Some((Some(sid), Err(AckError::TimedOut))));
            }
            // The adapter has the same timeout, and then tells which servers are missing.
            if !self.elsewhere.acks.is_empty() {
                return Poll::Pending;
            }
            let Some(outstanding) = self.elsewhere.outstanding.checked_sub(1) else { return Poll::Ready(None) };
            self.elsewhere.outstanding = outstanding;
            return Poll::Ready(Some((None, Err(AckError::TimedOut))));
        }
    }
}

impl<T: 'static> BroadcastAcks<T> {
    /// The answers as they are encoded, without the reasons of those that are missing.
    pub(crate) fn raw_answers(self) -> impl Stream<Item = ArgsBuf> + Send {
        RawAnswers(self)
    }
}

impl Elsewhere {
    /// The next answer. Pending also when there are none any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ArgsBuf> {
        let mut index = 0;
        while let Some(acks) = self.acks.get_mut(index) {
            match acks.poll(cx) {
                Poll::Ready(Some(RemoteAck::Asked(count))) => self.outstanding = self.outstanding.saturating_add(count),
                Poll::Ready(Some(RemoteAck::Answer(answer))) => {
                    self.outstanding = self.outstanding.saturating_sub(1);
                    return Poll::Ready(answer);
                }
                Poll::Ready(Some(RemoteAck::ServersMissing(count))) => self.servers_missing += count,
                Poll::Ready(None) => drop(self.acks.swap_remove(index)),
                Poll::Pending => index += 1,
            }
        }
        Poll::Pending
    }
}

/// See [`BroadcastAcks::raw_answers`].
struct RawAnswers<T>(BroadcastAcks<T>);

impl<T> Stream for RawAnswers<T> {
    type Item = ArgsBuf;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ArgsBuf>> {
        loop {
            match self.0.poll_answer(cx) {
                Poll::Ready(Some((_, Ok(answer)))) => return Poll::Ready(Some(answer)),
                Poll::Ready(Some((_, Err(_)))) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T: DeserializeOwned> BroadcastAcks<T> {
    /// Waits until every socket has answered or left, or until the timeout. After the timeout, the result has the
    /// answers that arrived before it.
    pub async fn collect(mut self) -> BroadcastAnswers<T> {
        let mut collected = BroadcastAnswers { answers: Vec::new(), missing: Vec::new(), servers_missing: 0 };
        while let Some((sid, answer)) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            match answer {
                Ok(answer) => collected.answers.push((sid, answer)),
                Err(error) => collected.missing.push((sid, error)),
            }
        }
        collected.servers_missing = self.elsewhere.servers_missing;
        collected
    }
}

impl<T: DeserializeOwned> Stream for BroadcastAcks<T> {
    type Item = (Option<Sid>, Result<T, AckError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_answer(cx).map(|next| next.map(|(sid, answer)| (sid, answer.and_then(|args| decoded(&args)))))
    }
}

impl<T> Drop for BroadcastAcks<T> {
    fn drop(&mut self) {
        for socket in self.sockets.values() {
            socket.forget_ack(self.id);
        }
    }
}

fn decoded<T: DeserializeOwned>(answer: &ArgsBuf) -> Result<T, AckError> {
    decode_answer(answer.as_args()).map_err(|error| match error_of_answer(answer.as_args()) {
        Some(text) => AckError::Failed(text),
        None => error.into(),
    })
}

/// The deadline of an acknowledgement. Its time starts at once, but the timer is created at the first poll, because
/// `emit_with_ack` may be called outside of a runtime.
#[derive(Debug)]
struct AckDeadline {
    /// None if the deadline is later than an `Instant` can be.
    ends: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl AckDeadline {
    fn new(timeout: Duration) -> Self {
        Self { ends: Instant::now().checked_add(timeout), timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ends) = self.ends else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(ends))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[tokio::test]
    async fn a_broadcast_does_not_wait_for_a_socket_that_leaves() {
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
