use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

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
}

/// Lets the handling of a request hold back its answer. The caller must then take over the connection and write the
/// answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold(Arc<AtomicBool>);

/// The client has read nothing of its answer for `write_timeout`.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read its answer")]
pub(crate) struct WriteTimedOut;

impl Hold {
    /// Holds back everything that is written from now on.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<S> Switching<S> {
    pub(crate) fn new(stream: S, write_timeout: Duration) -> Self {
        Self { stream, hold: Hold::default(), answer: Vec::new(), write_timeout, stalled: None }
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
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
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
        if !this.hold.0.load(Ordering::Relaxed) {
            let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
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

    #[tokio::test]
    async fn an_answer_that_is_held_back_is_returned_and_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut switching = Switching::new(listener.accept().await.unwrap().0, Duration::from_secs(1));
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
        let mut switching = Switching::new(stream, Duration::from_secs(1));
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
