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

/// A byte stream that is no plain TCP connection, such as TLS.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> ByteStream for S {}

/// Where a WebSocket's bytes come from. A TCP connection's other half lies with the session, so that whoever sends
/// can write to it directly; any other stream is read and written by the session's task alone.
pub(crate) enum Source {
    Tcp(OwnedReadHalf),
    Stream(Pin<Box<dyn ByteStream>>),
}

/// The reading side of a WebSocket. It owns no buffer but the incomplete tail of a frame.
pub(crate) struct WebSocket {
    pub(crate) source: Source,
    pub(crate) decoder: Decoder,
    /// What was read along with something else before this transport took over.
    ahead: Vec<u8>,
}

impl WebSocket {
    pub(crate) fn new(source: Source, ahead: Vec<u8>) -> Self {
        Self { source, decoder: Decoder::new(Role::Server), ahead }
    }

    /// Reads into `buffer`; 0 means that the peer has closed its side.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.len());
            let rest = self.ahead.split_off(count);
            buffer[..count].copy_from_slice(&self.ahead);
            self.ahead = rest;
            return Poll::Ready(Ok(count));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(match &mut self.source {
            Source::Tcp(half) => Pin::new(half).poll_read(cx, &mut buffer),
            Source::Stream(stream) => stream.as_mut().poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Puts bytes back that were read but not decoded.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        let mut all = bytes.to_vec();
        all.append(&mut self.ahead);
        self.ahead = all;
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}

pub(crate) fn limits(config: &Config) -> Limits {
    Limits { max_message: config.max_payload, max_fragments: config.max_fragments }
}
