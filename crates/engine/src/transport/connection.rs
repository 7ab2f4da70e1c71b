use std::{io, pin::Pin};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[cfg(feature = "tls")]
use crate::options::TlsStream;
use crate::transport::{
    channel::Channel,
    switching::Switching,
    websocket::{Ahead, ByteStream, Source, WebSocket},
};

/// A connection after its WebSocket handshake, with the bytes that were read after the handshake.
pub(crate) struct Connection {
    stream: Stream,
    ahead: Ahead,
    answer: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Other(Pin<Box<dyn ByteStream>>),
}

impl Connection {
    /// Takes the connection from the HTTP library, as a plain TCP stream if it is one.
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        let upgraded = match upgraded.downcast::<TokioIo<Switching<TcpStream>>>() {
            Ok(parts) => {
                let (stream, answer) = parts.io.into_inner().into_parts();
                return Self { stream: Stream::Tcp(stream), ahead: Ahead::new(&parts.read_buf), answer };
            }
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "tls")]
        let upgraded = match upgraded.downcast::<TokioIo<Switching<TlsStream>>>() {
            Ok(parts) => {
                let (stream, answer) = parts.io.into_inner().into_parts();
                return Self { stream: Stream::Other(Box::pin(stream)), ahead: Ahead::new(&parts.read_buf), answer };
            }
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return Self::tcp(parts.io.into_inner(), &parts.read_buf),
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "axum")]
        let upgraded = match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return Self::tcp(parts.io.into_inner(), &parts.read_buf),
            Err(upgraded) => upgraded,
        };
        let stream = Stream::Other(Box::pin(TokioIo::new(upgraded)));
        Self { stream, ahead: Ahead::default(), answer: Vec::new() }
    }

    /// A connection that a listener of the application has accepted.
    fn tcp(stream: TcpStream, ahead: &[u8]) -> Self {
        // A socket that refuses the option is merely slower, or it is broken, and then the next read fails.
        let _slower = stream.set_nodelay(true);
        Self { stream: Stream::Tcp(stream), ahead: Ahead::new(ahead), answer: Vec::new() }
    }

    /// Takes the answer to the WebSocket handshake, if it was held back. It must be written before anything else.
    pub(crate) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    /// Splits the connection into the side that senders write and the side that the session's task reads.
    pub(crate) fn into_parts(self) -> (Channel, WebSocket) {
        match self.stream {
            Stream::Tcp(stream) => {
                let (read, half) = stream.into_split();
                (Channel::Tcp { half, blocked: false }, WebSocket::new(Source::Tcp(read), self.ahead))
            }
            Stream::Other(stream) => (Channel::Stream, WebSocket::new(Source::Stream(stream), self.ahead)),
        }
    }

    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.ahead.read(buffer) {
            return Ok(count);
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer).await,
            Stream::Other(stream) => stream.read(buffer).await,
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Other(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Puts back bytes that were read and belong to the session.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.ahead.put_back(bytes);
    }
}
