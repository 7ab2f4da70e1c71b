use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection that can hold back the answer 101 Switching Protocols, so that it leaves in one write with the first
/// packet of the session it opens. A write costs the kernel several microseconds, a sixth of all that a connection costs.
#[derive(Debug)]
pub(crate) struct Switching {
    stream: TcpStream,
    hold: Hold,
    answer: Vec<u8>,
}

/// A request's way to have its answer held back. Whoever asks for that must take the connection over and write the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold(Arc<AtomicBool>);

impl Hold {
    /// Holds back what is written from now on.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Switching {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, hold: Hold::default(), answer: Vec::new() }
    }

    pub(crate) fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// The connection, and what is still to be written to it before anything else.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.answer)
    }
}

impl AsyncRead for Switching {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Switching {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, hold, answer } = self.get_mut();
        if !hold.0.load(Ordering::Relaxed) {
            return Pin::new(stream).poll_write_vectored(cx, slices);
        }
        let before = answer.len();
        slices.iter().for_each(|slice| answer.extend_from_slice(slice));
        Poll::Ready(Ok(answer.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_is_held_back_is_handed_over_and_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut switching = Switching::new(listener.accept().await.unwrap().0);
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
}
