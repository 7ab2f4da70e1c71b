use std::{io, sync::Arc};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sockeye_protocol::websocket::{self, Event, Limits, Opcode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Frame, Session,
    http_service::switching::Switching,
    session::state::{Channel, Delivery, Stage},
    transport::{
        polling::Polling,
        websocket::{Ahead, ByteStream, Source, WebSocket},
    },
};

/// A connection whose WebSocket handshake is done, with what was read beyond it.
pub(crate) struct Connection {
    stream: Stream,
    ahead: Ahead,
    answer: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Other(std::pin::Pin<Box<dyn ByteStream>>),
}

impl Connection {
    /// Takes the connection out of the HTTP library's hands, down to the bare TCP stream where it is one.
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        let upgraded = match upgraded.downcast::<TokioIo<Switching>>() {
            Ok(parts) => {
                let (stream, answer) = parts.io.into_inner().into_parts();
                return Self { answer, ..Self::tcp(stream, &parts.read_buf) };
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

    fn tcp(stream: TcpStream, ahead: &[u8]) -> Self {
        Self { stream: Stream::Tcp(stream), ahead: Ahead::new(ahead), answer: Vec::new() }
    }

    /// The answer to the WebSocket handshake, if it was held back: it must be written before anything else.
    pub(crate) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    /// Parts the connection into what is read by the session's task and what is written by its senders.
    pub(crate) fn into_parts(self) -> (Channel, WebSocket) {
        match self.stream {
            Stream::Tcp(stream) => {
                // A socket that refuses the option is merely slower, or broken, which the next read will tell.
                let _slower = stream.set_nodelay(true);
                let (read, half) = stream.into_split();
                (Channel::Tcp { half, blocked: false }, WebSocket::new(Source::Tcp(read), self.ahead))
            }
            Stream::Other(stream) => (Channel::Stream, WebSocket::new(Source::Stream(stream), self.ahead)),
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.ahead.read(buffer) {
            return Ok(count);
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer).await,
            Stream::Other(stream) => stream.read(buffer).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Other(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

/// Why a probing WebSocket did not take over.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the client closed the connection")]
    Closed,
    #[error("the client broke the WebSocket protocol: {0}")]
    Protocol(#[from] websocket::DecodeError),
    #[error("the client sent something else than a probe and an upgrade")]
    Unexpected,
    #[error("the client did not complete the upgrade in time; `upgrade_timeout` sets how long it may take")]
    TimedOut,
    #[error("the session is closed or has another WebSocket already")]
    SessionGone,
}

/// Lets a WebSocket take over a polling session: answers its probe, has the waiting poll return, and waits for the
/// client's word. A WebSocket that fails is closed; the session polls on.
pub(crate) async fn probe(session: Arc<Session>, mut connection: Connection) {
    if with_polling(&session, Polling::begin_probe) != Some(true) {
        return turn_away(connection, &session).await;
    }
    let limit = session.engine().config.upgrade_timeout;
    let result = match timeout(limit, await_upgrade(&session, &mut connection)).await {
        Ok(result) => result,
        Err(_) => Err(ProbeError::TimedOut),
    };
    let result = match result {
        Ok(ahead) => hand_over(&session, connection, &ahead),
        Err(error) => {
            turn_away(connection, &session).await;
            Err(error)
        }
    };
    if let Err(error) = result {
        session.engine().counters.failed_upgrades.increment();
        with_polling(&session, Polling::end_probe);
        tracing::debug!(sid = session.id().short(), %error, "an upgrade failed, the session goes on polling");
    }
}

/// Closes a WebSocket that has no business here.
async fn turn_away(mut connection: Connection, session: &Session) {
    // A peer that is gone or takes nothing is owed nothing more.
    let _gone = timeout(session.engine().config.close_timeout, connection.write(CLOSE)).await;
}

/// What a client may send before it upgrades is no longer than this.
const MAX_PROBE: usize = 125;

/// The answer to a probe.
const PROBED: &[u8] = b"3probe";

/// A close frame without a status.
const CLOSE: &[u8] = &[0x88, 0x00];

/// Runs the dialogue up to the client's upgrade packet, and returns what it sent behind that.
async fn await_upgrade(session: &Arc<Session>, connection: &mut Connection) -> Result<Vec<u8>, ProbeError> {
    let limits = Limits { max_message: MAX_PROBE, max_fragments: MAX_PROBE };
    let mut decoder = websocket::Decoder::new(websocket::Role::Server);
    let mut buffer = [0u8; 1024];
    loop {
        let count = connection.read(&mut buffer).await?;
        if count == 0 {
            return Err(ProbeError::Closed);
        }
        let mut at = 0;
        while at < count {
            let (consumed, event) = decoder.decode(&mut buffer[at..count], &limits)?;
            at += consumed;
            if let Some(Event::Text(text)) = &event {
                session.log_packet("received", false, text.as_bytes());
            }
            match event {
                Some(Event::Text("2probe")) => {
                    session.log_packet("sent", false, PROBED);
                    connection.write(Frame::text(PROBED).websocket()).await?;
                    with_polling(session, Polling::probe_answered);
                }
                Some(Event::Text("5")) => return Ok(buffer[at..count].to_vec()),
                Some(Event::Ping(payload)) => {
                    let pong = Frame::control(Opcode::Pong, payload);
                    connection.write(pong.websocket()).await?;
                }
                Some(Event::Close(_)) => return Err(ProbeError::Closed),
                Some(Event::Text(_) | Event::Binary(_)) => return Err(ProbeError::Unexpected),
                Some(Event::Pong(_)) | None => {}
            }
        }
    }
}

fn hand_over(session: &Session, mut connection: Connection, ahead: &[u8]) -> Result<(), ProbeError> {
    connection.ahead.put_back(ahead);
    let mut core = session.core().lock();
    // The client has ended its polls by now: a session that takes its leave says its last words here, or nowhere.
    let farewell = match core.stage {
        Stage::Open => false,
        Stage::Closing(reason) if reason.is_graceful() => false,
        Stage::Farewell(reason) if reason.is_graceful() => true,
        _ => return Err(ProbeError::SessionGone),
    };
    let Channel::Polling(polling) = &mut core.channel else { return Err(ProbeError::SessionGone) };
    // A client that polls on while it upgrades finds its poll ended.
    polling.wake();
    let (channel, websocket) = connection.into_parts();
    session.engine().counters.upgrades.increment();
    core.adopt(channel, session.revision());
    if farewell {
        core.close_websocket(None);
    }
    core.inbox.push_back(Delivery::Upgrade(Box::new(websocket)));
    core.wake_driver();
    Ok(())
}

fn with_polling<R>(session: &Session, act: impl FnOnce(&mut Polling) -> R) -> Option<R> {
    match &mut session.core().lock().channel {
        Channel::Polling(polling) => Some(act(polling)),
        _ => None,
    }
}
