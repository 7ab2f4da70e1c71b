use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use sockeye_protocol::websocket::{CloseCode, Decoder, Event, Limits, Opcode, Role, encode_close};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Config,
    plain::{Outbox, frame},
};

/// One WebSocket whose handshake is over. Reading, writing and the heartbeat share one task.
#[derive(Debug)]
pub(super) struct Connection<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    decoder: Decoder,
    outbox: Outbox,
    limits: Limits,
    close_timeout: Duration,
    /// What is being written.
    pending: Bytes,
}

/// A message of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Message<'_> {
    /// The frame by which the message is passed on.
    pub(super) fn to_frame(self) -> Bytes {
        match self {
            Self::Text(text) => frame(Opcode::Text, text.as_bytes()),
            Self::Binary(data) => frame(Opcode::Binary, data),
        }
    }
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    pub(super) fn new(stream: S, outbox: Outbox, config: &Config) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            decoder: Decoder::new(Role::Server),
            outbox,
            limits: config.limits,
            close_timeout: config.close_timeout,
            pending: Bytes::new(),
        }
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Gives every message to `handle` and writes what is in the outbox, until the connection is to end; says why.
    pub(super) async fn run(
        &mut self,
        mut heartbeat: Heartbeat,
        stop: impl Future<Output = ()>,
        mut handle: impl FnMut(Message<'_>),
    ) -> End {
        let mut stop = pin!(stop);
        loop {
            let Self { reader, writer, decoder, outbox, limits, pending, .. } = self;
            let receiving = poll_fn(|cx| poll_receive(cx, reader, decoder, limits, outbox, &mut handle));
            tokio::select! {
                received = receiving => match received {
                    Ok(()) => heartbeat.heard(Instant::now()),
                    Err(end) => return end,
                },
                frames = outbox.next(), if pending.is_empty() => match frames {
                    Ok(frames) => *pending = frames,
                    Err(_) => return TOO_SLOW,
                },
                written = writer.write(pending), if !pending.is_empty() => match written {
                    Ok(count) if count > 0 => {
                        pending.advance(count);
                        if pending.is_empty() {
                            *pending = Bytes::new();
                            outbox.written();
                        }
                    }
                    Ok(_) | Err(_) => return GONE,
                },
                () = outbox.overflowed(), if !pending.is_empty() => return TOO_SLOW,
                () = sleep_until(heartbeat.deadline()) => {
                    if heartbeat.is_dead(Instant::now()) {
                        return SILENT;
                    }
                    outbox.push(frame(Opcode::Ping, &[]));
                }
                () = &mut stop => return STOPPING,
            }
        }
    }

    /// Sends what waits, says goodbye and waits, not for long, for the peer to end the connection, because ending it here
    /// at once could keep the Close frame from arriving.
    pub(super) async fn close(&mut self, code: CloseCode, reason: &str) {
        let mut rest = std::mem::take(&mut self.pending).to_vec();
        // An outbox that has overflowed has nothing left.
        if let Ok(Some(frames)) = self.outbox.take() {
            rest.extend_from_slice(&frames);
        }
        encode_close(&mut rest, Some((code, reason)), None);
        let goodbye = async {
            self.writer.write_all(&rest).await?;
            self.writer.shutdown().await?;
            poll_fn(|cx| poll_discard(cx, &mut self.reader)).await
        };
        match timeout(self.close_timeout, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a plain WebSocket ended before its close was complete"),
            Err(_) => tracing::debug!("a plain WebSocket did not end in time and is dropped"),
        }
    }
}

/// The code and the reason of the Close frame by which a connection ends.
pub(super) type End = (CloseCode, &'static str);

const ANSWERED: End = (CloseCode::NORMAL, "");
const GONE: End = (CloseCode::AWAY, "");
const SILENT: End = (CloseCode::AWAY, "no answer to a ping");
const STOPPING: End = (CloseCode::AWAY, "the server is stopping; connect again");
const TOO_SLOW: End = (CloseCode::TRY_AGAIN_LATER, "messages were not read fast enough");

/// Reads once and handles what has come.
fn poll_receive<S: AsyncRead>(
    cx: &mut Context<'_>,
    reader: &mut ReadHalf<S>,
    decoder: &mut Decoder,
    limits: &Limits,
    outbox: &Outbox,
    handle: &mut impl FnMut(Message<'_>),
) -> Poll<Result<(), End>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        if ready!(Pin::new(reader).poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
            return Poll::Ready(Err(GONE));
        }
        let mut input = buffer.filled_mut();
        while !input.is_empty() {
            let (consumed, event) = match decoder.decode(input, limits) {
                Ok((consumed, event)) => (consumed, event),
                Err(error) => {
                    tracing::debug!(%error, "closing a plain WebSocket that broke the protocol");
                    return Poll::Ready(Err((error.close_code(), "")));
                }
            };
            match event {
                Some(Event::Text(text)) => handle(Message::Text(text)),
                Some(Event::Binary(data)) => handle(Message::Binary(data)),
                Some(Event::Ping(payload)) => outbox.push(frame(Opcode::Pong, payload)),
                Some(Event::Pong(_)) | None => {}
                Some(Event::Close(close)) => {
                    return Poll::Ready(Err(close.map_or(ANSWERED, |(code, _)| (code, ""))));
                }
            }
            input = input.get_mut(consumed..).unwrap_or_default();
        }
        decoder.release();
        Poll::Ready(Ok(()))
    })
}

/// Reads to the end and forgets what it reads.
fn poll_discard<S: AsyncRead>(cx: &mut Context<'_>, reader: &mut ReadHalf<S>) -> Poll<io::Result<()>> {
    SCRATCH.with_borrow_mut(|scratch| {
        loop {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    })
}

thread_local! {
    /// Connections own no read buffer, because most of them are idle most of the time.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

/// When to ping, and when a silent peer counts as gone.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    heard: Instant,
    pinged: bool,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, heard: Instant::now(), pinged: false }
    }

    /// When [`is_dead`](Self::is_dead) is to be asked next.
    fn deadline(&self) -> Instant {
        self.heard + self.interval + if self.pinged { self.timeout } else { Duration::ZERO }
    }

    /// Whatever the peer sends proves that it lives.
    fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = false;
    }

    /// Called at the deadline: whether the peer is gone. If not, it is to be pinged.
    fn is_dead(&mut self, now: Instant) -> bool {
        let is_dead = self.pinged && now >= self.deadline();
        self.pinged = true;
        is_dead
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use sockeye::OriginPolicy;
    use sockeye_protocol::websocket::encode_frame;
    use tokio::{
        io::{AsyncReadExt as _, DuplexStream},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;

    fn config() -> Config {
        Config {
            origins: OriginPolicy::Any,
            limits: Limits { max_message: 1000, max_fragments: 4 },
            outbox_bytes: 10_000,
            close_timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        }
    }

    /// Runs a connection as its own task; it collects messages and says in the end why it ended.
    fn start(outbox: &Outbox) -> (DuplexStream, Arc<Mutex<Vec<String>>>, JoinHandle<End>) {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let collected = messages.clone();
        let handle = move |message: Message<'_>| collected.lock().push(format!("{message:?}"));
        let (client, task) = start_with(outbox, std::future::pending(), handle);
        (client, messages, task)
    }

    /// Runs a connection as its own task, until it is to stop.
    fn start_with(
        outbox: &Outbox,
        stop: impl Future<Output = ()> + Send + 'static,
        handle: impl FnMut(Message<'_>) + Send + 'static,
    ) -> (DuplexStream, JoinHandle<End>) {
        let (client, server) = tokio::io::duplex(1024);
        let outbox = outbox.clone();
        let task = tokio::spawn(async move {
            let mut connection = Connection::new(server, outbox, &config());
            let heartbeat = Heartbeat::new(config().ping_interval, config().ping_timeout);
            let end = connection.run(heartbeat, stop, handle).await;
            connection.close(end.0, end.1).await;
            end
        });
        (client, task)
    }

    fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, opcode, payload, Some([1, 2, 3, 4]));
        bytes
    }

    #[tokio::test]
    async fn messages_are_handled_pings_and_closes_answered() {
        let (mut client, messages, task) = start(&Outbox::new(10_000));
        client.write_all(&masked(Opcode::Text, b"hello")).await.unwrap();
        client.write_all(&masked(Opcode::Ping, b"x")).await.unwrap();
        client.write_all(&masked(Opcode::Binary, &[1, 2])).await.unwrap();
        let mut pong = [0; 3];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0x8a, 1, b'x']);
        client.write_all(&masked(Opcode::Close, &3001_u16.to_be_bytes())).await.unwrap();
        let mut close = [0; 4];
        client.read_exact(&mut close).await.unwrap();
        assert_eq!(close, [0x88, 2, 0x0b, 0xb9]);
        drop(client);
        assert_eq!(u16::from(task.await.unwrap().0), 3001);
        assert_eq!(*messages.lock(), [r#"Text("hello")"#, "Binary([1, 2])"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_when_a_connection_is_stopped_is_delivered_before_the_close() {
        let outbox = Outbox::new(10_000);
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut client, task) = start_with(&outbox, async { stopped.await.unwrap() }, |_| {});
        // More than the stream holds: once a byte of it has come, all of it was taken, and what follows has to wait.
        let taken = frame(Opcode::Binary, &[1; 4000]);
        outbox.push(taken.clone());
        let mut received = vec![0];
        client.read_exact(&mut received).await.unwrap();
        let waiting = frame(Opcode::Text, b"it waited");
        outbox.push(waiting.clone());
        stop.send(()).unwrap();
        client.read_to_end(&mut received).await.unwrap();
        let mut expected = [&taken[..], &waiting].concat();
        encode_close(&mut expected, Some(STOPPING), None);
        assert!(received == expected, "{} bytes instead of {}", received.len(), expected.len());
        drop(client);
        assert_eq!(task.await.unwrap(), STOPPING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_together_with_a_close_is_answered_before_it() {
        let outbox = Outbox::new(10_000);
        let answers = outbox.clone();
        let (mut client, task) =
            start_with(&outbox, std::future::pending(), move |message| answers.push(message.to_frame()));
        let mut both = masked(Opcode::Text, b"hello");
        both.extend(masked(Opcode::Close, &1000_u16.to_be_bytes()));
        client.write_all(&both).await.unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"\x81\x05hello\x88\x02\x03\xe8");
        drop(client);
        assert_eq!(task.await.unwrap().0, CloseCode::NORMAL);
    }

    #[tokio::test]
    async fn a_broken_rule_closes_with_its_code() {
        let (mut client, _, task) = start(&Outbox::new(10_000));
        client.write_all(&masked(Opcode::Text, &[b'a'; 1001])).await.unwrap();
        let mut close = [0; 4];
        client.read_exact(&mut close).await.unwrap();
        assert_eq!(close, [0x88, 2, 0x03, 0xf1]);
        drop(client);
        assert_eq!(task.await.unwrap().0, CloseCode::TOO_BIG);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_closed() {
        let outbox = Outbox::new(10_000);
        let (client, _, task) = start(&outbox);
        // More than the stream and the outbox hold together.
        for _ in 0..20 {
            outbox.push(frame(Opcode::Binary, &[0; 900]));
            tokio::task::yield_now().await;
        }
        assert_eq!(task.await.unwrap(), TOO_SLOW);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_pinged_and_then_given_up() {
        let start_of_test = Instant::now();
        let (mut client, _, task) = start(&Outbox::new(10_000));
        let mut ping = [0; 2];
        client.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping, [0x89, 0]);
        assert_eq!(start_of_test.elapsed().as_secs(), 25);
        client.write_all(&masked(Opcode::Pong, &[])).await.unwrap();
        client.read_exact(&mut ping).await.unwrap();
        assert_eq!(start_of_test.elapsed().as_secs(), 50);
        let mut close = Vec::new();
        client.read_to_end(&mut close).await.unwrap();
        assert_eq!(start_of_test.elapsed().as_secs(), 70);
        drop(client);
        assert_eq!(task.await.unwrap(), SILENT);
    }
}
