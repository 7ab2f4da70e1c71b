use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::memory::{Charge, Memory, RECHECK};

/// A connection while the HTTP library owns it.
///
/// It can hold back the answer 101 Switching Protocols, so that one write sends the answer and the first packet of the
/// session. A write costs several microseconds, a sixth of what the whole connection costs.
///
/// A write fails if the client reads nothing for `write_timeout`.
#[derive(Debug)]
pub(crate) struct Switching<S> {
    stream: S,
    hold: Hold,
    answer: Vec<u8>,
    write_timeout: Duration,
    /// Runs while a write makes no progress.
    stalled: Option<Pin<Box<Sleep>>>,
    input: Input,
}

/// What has been read of a request, which the HTTP library may hold until it is answered.
#[derive(Debug)]
struct Input {
    memory: Arc<Memory>,
    charge: Charge,
    read: usize,
    /// The most that the library holds.
    most: usize,
    /// Runs while nothing is read for want of memory.
    starved: Option<Pin<Box<Sleep>>>,
}

/// So much of a request is covered by what is charged for each connection.
const COVERED: usize = 8 * 1024;

impl Input {
    /// Ready unless memory is short and more than an equal share of it is held for this connection.
    fn poll_memory(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_large = self.read > COVERED && self.read.min(self.most) > self.memory.fair_share();
            if !is_large || !self.memory.is_tight() {
                self.starved = None;
                return Poll::Ready(());
            }
            let starved = self.starved.get_or_insert_with(|| Box::pin(sleep(RECHECK)));
            ready!(starved.as_mut().poll(cx));
            self.starved = None;
        }
    }

    fn note(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read > COVERED {
            self.charge.adjust(self.read.min(self.most), &self.memory);
        }
    }

    fn forget(&mut self) {
        self.read = 0;
        self.charge.adjust(0, &self.memory);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Lets the handling of a request hold back its answer. The caller must then take over the connection and write the
/// answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold(Arc<Exchange>);

/// What the handling of requests and the connection tell each other.
#[derive(Debug, Default)]
struct Exchange {
    holds_answer: AtomicBool,
    /// Whether something was read since something was last written.
    has_input: AtomicBool,
    /// How many requests are being handled.
    requests: AtomicUsize,
}

/// A request that is being handled, until this is dropped.
#[derive(Debug)]
pub(crate) struct Handling(Hold);

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The client has read nothing of its answer for `write_timeout`.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read its answer")]
pub(crate) struct WriteTimedOut;

impl Hold {
    /// Holds back everything that is written from now on.
    pub(crate) fn begin(&self) {
        self.0.holds_answer.store(true, Ordering::Relaxed);
    }

    /// Notes that a request is being handled.
    pub(crate) fn handle(&self) -> Handling {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Handling(self.clone())
    }

    /// Whether the connection has sent a part of a request that is not handled yet.
    pub(crate) fn is_mid_head(&self) -> bool {
        self.0.has_input.load(Ordering::Relaxed) && self.0.requests.load(Ordering::Relaxed) == 0
    }
}

impl<S> Switching<S> {
    /// `max_input` is the most bytes of a request that the library holds.
    pub(crate) fn new(stream: S, write_timeout: Duration, max_input: usize, memory: Arc<Memory>) -> Self {
        let input = Input { memory, charge: Charge::default(), read: 0, most: max_input, starved: None };
        Self { stream, hold: Hold::default(), answer: Vec::new(), write_timeout, stalled: None, input }
    }

    pub(crate) fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// Returns the connection, and the answer that was held back, which must be written before anything else.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.answer)
    }

    /// Fails a write that has made no progress for `write_timeout`.
    fn in_time<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, WriteTimedOut)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Switching<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.input.poll_memory(cx));
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 {
            this.input.note(count);
            this.hold.0.has_input.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Switching<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.hold.0.holds_answer.load(Ordering::Relaxed) {
            let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
            // After an answer of status 100, the head of the request is still held.
            if written.is_ready() && slices.first().is_none_or(|slice| !slice.starts_with(b"HTTP/1.1 100 ")) {
                this.input.forget();
                this.hold.0.has_input.store(false, Ordering::Relaxed);
            }
            return this.in_time(written, cx);
        }
        let before = this.answer.len();
        slices.iter().for_each(|slice| this.answer.extend_from_slice(slice));
        Poll::Ready(Ok(this.answer.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.in_time(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.in_time(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn memory() -> Arc<Memory> {
        Arc::new(Memory::new(usize::MAX))
    }

    #[tokio::test]
    async fn an_answer_that_is_held_back_is_returned_and_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut switching = Switching::new(listener.accept().await.unwrap().0, Duration::from_secs(1), 1, memory());
        switching.write_all(b"sent").await.unwrap();
        switching.hold().begin();
        switching.write_all(b"he").await.unwrap();
        let slices = [IoSlice::new(b"l"), IoSlice::new(b"d")];
        assert_eq!(switching.write_vectored(&slices).await.unwrap(), 2);
        switching.flush().await.unwrap();
        let (stream, answer) = switching.into_parts();
        assert_eq!(answer, b"held");
        drop(stream);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"sent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_fails_only_after_the_peer_has_read_nothing_for_the_timeout() {
        let (mut peer, stream) = tokio::io::duplex(10);
        let mut switching = Switching::new(stream, Duration::from_secs(1), 1, memory());
        for _ in 0..5 {
            switching.write_all(b"0123456789").await.unwrap();
            let reading = async {
                sleep(Duration::from_millis(900)).await;
                peer.read_exact(&mut [0; 10]).await.unwrap();
            };
            tokio::join!(reading, async { switching.write_all(b"0123456789").await.unwrap() });
            peer.read_exact(&mut [0; 10]).await.unwrap();
        }
        switching.write_all(b"0123456789").await.unwrap();
        let failed = tokio::time::timeout(Duration::from_secs(2), switching.write_all(b"x")).await;
        let error = failed.expect("the write did not fail").unwrap_err();
        assert!(error.get_ref().is_some_and(|cause| cause.is::<WriteTimedOut>()), "{error}");
    }
}
