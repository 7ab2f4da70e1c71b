use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use sockeye_protocol::websocket::{Decoder, Limits, Role};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp::OwnedReadHalf,
};

use crate::Config;

/// A byte stream other than a plain TCP connection, such as TLS.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> ByteStream for S {}

/// Where a WebSocket's bytes come from. The session owns the write half of a TCP connection, so that the thread that
/// sends can write to it. Only the session's task reads and writes any other stream.
pub(crate) enum Source {
    Tcp(OwnedReadHalf),
    Stream(Pin<Box<dyn ByteStream>>),
}

/// The reading side of a WebSocket. Between reads it keeps only the bytes of an incomplete frame.
pub(crate) struct WebSocket {
    pub(crate) source: Source,
    pub(crate) decoder: Decoder,
    ahead: Ahead,
}

/// Bytes that were read from a connection and are not decoded yet. Mostly there are none, which takes one pointer.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Option<Box<ReadBytes>>);

#[derive(Debug)]
struct ReadBytes {
    bytes: Vec<u8>,
    /// How many of the bytes have been handled.
    handled: usize,
}

impl Ahead {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let read = (!bytes.is_empty()).then(|| Box::new(ReadBytes { bytes: bytes.to_vec(), handled: 0 }));
        Self(read)
    }

    /// What is left to be handled.
    pub(crate) fn left(&mut self) -> &mut [u8] {
        self.0.as_mut().and_then(|read| read.bytes.get_mut(read.handled..)).unwrap_or_default()
    }

    /// Forgets `count` bytes, and the memory when nothing is left.
    pub(crate) fn advance(&mut self, count: usize) {
        if let Some(read) = &mut self.0 {
            read.handled += count;
            if read.handled >= read.bytes.len() {
                self.0 = None;
            }
        }
    }

    /// Moves as much into `buffer` as fits; none if there is nothing.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let left = self.left();
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(left.get(..count)?);
        self.advance(count);
        (count > 0).then_some(count)
    }

    /// Puts bytes back before the others.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Some(read) => {
                read.bytes.splice(..read.handled, bytes.iter().copied());
                read.handled = 0;
            }
            None => *self = Self::new(bytes),
        }
    }

    fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |read| size_of::<ReadBytes>() + read.bytes.capacity())
    }
}

impl WebSocket {
    pub(crate) fn new(source: Source, ahead: Ahead) -> Self {
        Self { source, decoder: Decoder::new(Role::Server), ahead }
    }

    /// Reads into `buffer`, and returns how many bytes; 0 means that the client has closed its side.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(count) = self.ahead.read(buffer) {
            return Poll::Ready(Ok(count));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(match &mut self.source {
            Source::Tcp(half) => Pin::new(half).poll_read(cx, &mut buffer),
            Source::Stream(stream) => stream.as_mut().poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// How much memory incomplete messages take, and what was read and is left to be decoded.
    pub(crate) fn memory(&self) -> usize {
        self.decoder.memory() + self.ahead.memory()
    }

    /// Takes what was read before and is left to be decoded. To be given back by [`put_back`](Self::put_back).
    pub(crate) fn take_ahead(&mut self) -> Ahead {
        std::mem::take(&mut self.ahead)
    }

    /// Keeps what was read and is left to be decoded.
    pub(crate) fn put_back(&mut self, ahead: Ahead) {
        self.ahead = ahead;
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("ahead", &self.ahead.memory()).finish_non_exhaustive()
    }
}

/// The limits of the WebSocket decoder.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits { max_message: config.max_payload, max_fragments: config.max_fragments }
}
