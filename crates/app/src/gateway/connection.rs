//! One plain WebSocket whose handshake is over: reading, writing and the heartbeat, in one task.
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Sleep, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use super::config::Config;
use crate::chat::Outbox;

/// A plain WebSocket. The library answers pings and Close frames; this adds limits, the heartbeat and an end in which
/// nothing is lost.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: WebSocketStream<Metered<S>>,
    outbox: Outbox,
    /// Messages taken from the outbox.
    messages: VecDeque<Message>,
    /// The frames of the message before these, which the library has not taken yet.
    frames: VecDeque<Message>,
    /// The bytes given to the library since it last wrote everything.
    unwritten: usize,
    ping_interval: Duration,
    ping_timeout: Duration,
    close_timeout: Duration,
}

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has sent a Close frame.
    ClosedByClient,
    /// The network connection is lost.
    Lost,
    /// This side closes the connection, with this code and reason.
    Close(CloseCode, &'static str),
    /// The client has broken the protocol or a limit; the rest of what it sends is not understood.
    Violation(CloseCode, &'static str),
}

/// The bytes to read at a time. An idle connection keeps a buffer of this size; a larger message gets one of its own.
const READ_BUFFER: usize = 256;

/// How many messages are handled before others have their turn.
const TURN: u32 = 16;

/// The longest frame to send; a longer message is sent in several. The library keeps its buffer of this size.
const MAX_FRAME: usize = 16 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) async fn new(stream: S, outbox: Outbox, config: &Config) -> Self {
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(MAX_FRAME)
            // Two frames and many pongs: a client that sends pings and does not read is not answered without end.
            .max_write_buffer_size(4 * MAX_FRAME)
            .max_frame_size(Some(config.max_payload))
            .max_message_size(Some(config.max_payload));
        let stream = Metered { stream, read: 0, written: 0, outbox: outbox.clone(), starved: None };
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
        let &Config { ping_interval, ping_timeout, close_timeout, .. } = config;
        let (messages, frames) = (VecDeque::new(), VecDeque::new());
        Self { socket, outbox, messages, frames, unwritten: 0, ping_interval, ping_timeout, close_timeout }
    }

    /// Gives every message to `handle` and writes what is in the outbox, until the connection is to end.
    pub(super) async fn run(&mut self, stop: impl Future<Output = ()>, mut handle: impl FnMut(&Message)) -> End {
        let mut stop = pin!(stop);
        let mut is_pinged = false;
        let outbox = self.outbox.clone();
        let mut messages: u32 = 0;
        loop {
            messages = messages.wrapping_add(1);
            if messages.is_multiple_of(TURN) {
                // A client that sends without end must not keep others from their turn.
                tokio::task::yield_now().await;
            }
            let limit = if is_pinged { self.ping_timeout } else { self.ping_interval };
            tokio::select! {
                message = timeout(limit, poll_fn(|cx| self.poll_message(cx))) => match message {
                    Ok(Err(end)) => return end,
                    // Whatever the client sends proves that it is alive.
                    Ok(Ok(message)) => {
                        is_pinged = false;
                        match message {
                            Message::Close(_) => return End::ClosedByClient,
                            Message::Text(_) | Message::Binary(_) => handle(&message),
                            _ => {}
                        }
                    }
                    Err(_) if is_pinged => return SILENT,
                    Err(_) => {
                        is_pinged = true;
                        self.outbox.push(Message::Ping(Bytes::new()));
                    }
                },
                () = &mut stop => return STOPPING,
                () = outbox.evicted() => return OUT_OF_MEMORY,
            }
        }
    }

    /// Closes the connection within the close timeout. Sends what still waits first, unless the client has closed or
    /// memory is short.
    pub(super) async fn close(mut self, end: End) {
        if end == OUT_OF_MEMORY {
            (self.messages, self.frames) = (VecDeque::new(), VecDeque::new());
            self.outbox.close();
        }
        match timeout(self.close_timeout, self.say_goodbye(&end)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a plain WebSocket ended before its close was complete"),
            Err(_) => tracing::debug!("a plain WebSocket did not end in time and is dropped"),
        }
    }

    async fn say_goodbye(&mut self, end: &End) -> Result<(), tungstenite::Error> {
        if let End::Close(code, reason) | End::Violation(code, reason) = end {
            let rest = self.messages.drain(..).chain(self.outbox.take_rest()).flat_map(frames);
            for frame in self.frames.drain(..).chain(rest) {
                self.socket.send(frame).await?;
            }
            self.socket.send(Message::Close(Some(CloseFrame { code: *code, reason: (*reason).into() }))).await?;
        }
        // Sends the answer to a Close frame of the client, or waits for the client's.
        while let Some(Ok(_)) = self.socket.next().await {}
        let stream = self.socket.get_mut();
        stream.shutdown().await?;
        if matches!(end, End::Violation(..)) {
            // A connection that is dropped with bytes unread is reset, and the Close frame may be lost.
            tokio::io::copy(stream, &mut tokio::io::sink()).await?;
        }
        Ok(())
    }

    /// The next message of the client. Until there is one, writes what is in the outbox.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, End>> {
        if self.poll_write(cx)?.is_pending() {
            // The outbox still reports an overflow while the client does not read.
            let _pending = self.outbox.poll_take(cx, false)?;
        }
        let next = self.socket.poll_next_unpin(cx);
        if next.is_ready() {
            // The rest of what was read is less than the library's buffer.
            self.socket.get_mut().forget();
        }
        let message = match ready!(next) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(Err(error.into())),
            None => return Poll::Ready(Err(End::Lost)),
        };
        if matches!(message, Message::Ping(_)) {
            // The library's pong is written before any other frame, so that there is room for that.
            self.unwritten += MAX_FRAME;
        }
        Poll::Ready(Ok(message))
    }

    /// Writes what waits; ready when everything is written and the outbox is empty.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            let is_last = self.frames.is_empty() && self.messages.is_empty();
            if self.unwritten >= MAX_FRAME || (self.unwritten > 0 && is_last) {
                ready!(self.socket.poll_flush_unpin(cx))?;
                self.unwritten = 0;
            }
            if let Some(frame) = self.frames.pop_front() {
                self.unwritten += frame.len().max(1);
                self.socket.start_send_unpin(frame)?;
            } else if let Some(message) = self.messages.pop_front() {
                self.frames = frames(message).into();
            } else {
                match self.outbox.poll_take(cx, true)? {
                    Poll::Ready(messages) => self.messages = messages,
                    Poll::Pending => return Poll::Ready(Ok(())),
                }
            }
        }
    }
}

/// The stream of a connection, which counts what the library holds.
#[derive(Debug)]
struct Metered<S> {
    stream: S,
    /// How many bytes were read of a message that is incomplete.
    read: usize,
    /// The most bytes that were to be written at a time, for which the library keeps its buffer.
    written: usize,
    outbox: Outbox,
    /// Runs while nothing is read for want of memory.
    starved: Option<Pin<Box<Sleep>>>,
}

/// So often a client that is not read for want of memory looks whether there is some.
const RECHECK: Duration = Duration::from_millis(250);

impl<S> Metered<S> {
    /// What was read is no longer held.
    fn forget(&mut self) {
        self.read = 0;
        self.outbox.note_held(self.held());
    }

    fn held(&self) -> usize {
        READ_BUFFER + self.read + 2 * self.written
    }

    /// Ready unless memory is short and much of it is held for this connection.
    fn poll_memory(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.outbox.note_held(self.held()) {
            let starved = self.starved.get_or_insert_with(|| Box::pin(sleep(RECHECK)));
            ready!(starved.as_mut().poll(cx));
            self.starved = None;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_memory(cx));
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.read += buffer.filled().len() - before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.written = this.written.max(bytes.len());
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

const OUT_OF_MEMORY: End =
    End::Close(CloseCode::Again, "the server is short of memory, and holds most of it for this connection");
const SILENT: End = End::Close(CloseCode::Away, "no answer to a ping");
const STOPPING: End = End::Close(CloseCode::Away, "the server is stopping; connect again");
const TOO_SLOW: End = End::Close(CloseCode::Again, "messages were not read fast enough");

impl From<crate::chat::Overflowed> for End {
    fn from(_: crate::chat::Overflowed) -> Self {
        TOO_SLOW
    }
}

impl From<tungstenite::Error> for End {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::{Error, error::ProtocolError};
        let end = match &error {
            Error::Capacity(_) => Self::Violation(CloseCode::Size, "the message is too large"),
            Error::Utf8(_) => Self::Violation(CloseCode::Invalid, "the text is not UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            Error::Protocol(_) => Self::Violation(CloseCode::Protocol, ""),
            _ => Self::Lost,
        };
        tracing::debug!(%error, "a plain WebSocket ends");
        end
    }
}

/// The frames in which a message is sent.
fn frames(message: Message) -> Vec<Message> {
    let (payload, kind) = match message {
        Message::Text(text) if text.len() > MAX_FRAME => (Bytes::from(text), Data::Text),
        Message::Binary(data) if data.len() > MAX_FRAME => (data, Data::Binary),
        message => return vec![message],
    };
    let last = payload.len().div_ceil(MAX_FRAME) - 1;
    (0..=last)
        .map(|index| {
            let part = payload.slice(index * MAX_FRAME..payload.len().min((index + 1) * MAX_FRAME));
            let kind = if index == 0 { kind } else { Data::Continue };
            Message::Frame(Frame::message(part, OpCode::Data(kind), index == last))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use sockeye::{EngineConfig, OriginPolicy, PermitLimits, Server};
    use tokio::{
        io::{AsyncReadExt as _, DuplexStream},
        sync::oneshot,
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

    fn config() -> Config {
        Config {
            origins: OriginPolicy::Any,
            trust_forwarded: false,
            permits: PermitLimits { max: 1, max_per_address: 1, rate: 0, rate_per_address: 0 },
            max_payload: 100_000,
            outbox_bytes: 200_000,
            close_timeout: CLOSE_TIMEOUT,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        }
    }

    /// The other side of a connection whose messages go to `handle`. The task returns after the close.
    fn start(
        stop: impl Future<Output = ()> + Send + 'static,
        handle: impl FnMut(&Message, &Outbox) + Send + 'static,
    ) -> (DuplexStream, Outbox, JoinHandle<()>) {
        start_on(&Server::new(), stop, handle)
    }

    fn start_on(
        memory: &Server,
        stop: impl Future<Output = ()> + Send + 'static,
        mut handle: impl FnMut(&Message, &Outbox) + Send + 'static,
    ) -> (DuplexStream, Outbox, JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(1024);
        let outbox = Outbox::new(config().outbox_bytes, memory.charge_memory().unwrap());
        let given = outbox.clone();
        let task = tokio::spawn(async move {
            let mut connection = Connection::new(server, outbox.clone(), &config()).await;
            let end = connection.run(stop, |message| handle(message, &outbox)).await;
            connection.close(end).await;
        });
        (client, given, task)
    }

    fn echo(message: &Message, outbox: &Outbox) {
        outbox.push(message.clone());
    }

    async fn client(stream: DuplexStream) -> WebSocketStream<DuplexStream> {
        WebSocketStream::from_raw_socket(stream, Role::Client, None).await
    }

    fn closes(message: Message) -> (CloseCode, String) {
        let Message::Close(Some(close)) = message else { panic!("{message:?} is no Close frame with a code") };
        (close.code, close.reason.to_string())
    }

    #[tokio::test]
    async fn messages_are_handled_and_pings_and_closes_answered() {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let collected = texts.clone();
        let (stream, _, task) = start(std::future::pending(), move |message, _| collected.lock().push(message.clone()));
        let mut client = client(stream).await;
        let sent = [Message::text("hello"), Message::binary(vec![1, 2])];
        for message in sent.clone() {
            client.send(message).await.unwrap();
        }
        client.send(Message::Ping("x".into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("x".into()));
        client.send(Message::Close(Some(CloseFrame { code: 3001.into(), reason: "".into() }))).await.unwrap();
        assert_eq!(closes(client.next().await.unwrap().unwrap()).0, 3001.into());
        task.await.unwrap();
        assert_eq!(*texts.lock(), sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_closed_is_not_waited_for() {
        let (mut stream, _, task) = start(std::future::pending(), echo);
        let begun = Instant::now();
        // A masked Close frame with code 1000; the client keeps its side of the stream open.
        stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"\x88\x02\x03\xe8");
        task.await.unwrap();
        assert!(begun.elapsed() < CLOSE_TIMEOUT, "it took {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_together_with_a_close_is_answered_before_it() {
        let (mut stream, _, task) = start(std::future::pending(), echo);
        stream.write_all(b"\x81\x85\0\0\0\0hello\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"\x81\x05hello\x88\x02\x03\xe8");
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_wait_are_delivered_before_a_stop_closes_the_connection() {
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut stream, outbox, task) = start(async { stopped.await.unwrap() }, echo);
        // More than the stream holds: once a byte of it has come, the connection is writing it, and the next one waits.
        let large = Message::binary(vec![1; 50_000]);
        outbox.push(large.clone());
        let mut first = [0];
        stream.read_exact(&mut first).await.unwrap();
        outbox.push(Message::text("it waited"));
        stop.send(()).unwrap();
        let mut client = WebSocketStream::from_partially_read(stream, first.to_vec(), Role::Client, None).await;
        for expected in [large, Message::text("it waited")] {
            assert!(client.next().await.unwrap().unwrap() == expected);
        }
        let (code, reason) = closes(client.next().await.unwrap().unwrap());
        assert_eq!((code, reason.as_str()), (CloseCode::Away, "the server is stopping; connect again"));
        assert!(client.next().await.is_none());
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_violation_closes_with_its_code() {
        let frame = |kind, last, length| Message::Frame(Frame::message(vec![b'a'; length], OpCode::Data(kind), last));
        let cases = [
            (vec![Message::text("a".repeat(100_001))], CloseCode::Size),
            (vec![frame(Data::Text, false, 60_000), frame(Data::Continue, true, 60_000)], CloseCode::Size),
            (vec![frame(Data::Continue, true, 1)], CloseCode::Protocol),
            (vec![Message::Frame(Frame::message(vec![0xff], OpCode::Data(Data::Text), true))], CloseCode::Invalid),
        ];
        for (messages, expected) in cases {
            let (stream, _, task) = start(std::future::pending(), echo);
            let (mut sink, mut stream) = client(stream).await.split();
            let sending = tokio::spawn(async move {
                for message in messages {
                    sink.send(message).await.unwrap();
                }
            });
            assert_eq!(closes(stream.next().await.unwrap().unwrap()).0, expected);
            sending.await.unwrap();
            drop(stream);
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_closed() {
        let (stream, outbox, task) = start(std::future::pending(), echo);
        // More than the stream, the library and the outbox hold together.
        for _ in 0..5 {
            outbox.push(Message::binary(vec![0; 60_000]));
            tokio::task::yield_now().await;
        }
        let mut client = client(stream).await;
        let end = loop {
            match client.next().await.expect("a Close frame") {
                Ok(Message::Close(close)) => break close.unwrap(),
                other => drop(other.unwrap()),
            }
        };
        assert_eq!((end.code, end.reason.as_str()), (CloseCode::Again, "messages were not read fast enough"));
        drop(client);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_for_which_most_memory_is_held_is_closed() {
        const MAX_MEMORY: usize = 64 << 20;
        let engine = EngineConfig { max_memory: MAX_MEMORY, ..EngineConfig::default() };
        let server = Server::builder().config(sockeye::Config { engine, ..sockeye::Config::default() }).build();
        let (mut stream, _outbox, task) = start_on(&server, std::future::pending(), echo);
        let others: Vec<_> = (0..2_000).map(|_| server.charge_memory().unwrap()).collect();
        // An unfinished message, which is more than an equal share.
        let mut unfinished = b"\x82\xff\0\0\0\0\0\x01\x80\0\0\0\0\0".to_vec();
        unfinished.resize(90_000, 0);
        stream.write_all(&unfinished).await.unwrap();
        let rest = sockeye::Frame::binary(&vec![0; MAX_MEMORY / 9 * 8 - others.len() * 4096]);
        let mut client = client(stream).await;
        let (code, reason) = closes(client.next().await.unwrap().unwrap());
        assert_eq!(code, CloseCode::Again, "{reason}");
        assert!(reason.contains("short of memory"), "{reason}");
        drop((client, others, rest));
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pings_and_does_not_read_is_served_again_once_it_reads() {
        let (mut stream, _, _task) = start(std::future::pending(), echo);
        let mut pings = Vec::new();
        for _ in 0..30_000 {
            pings.extend_from_slice(b"\x89\x84\0\0\0\0ping");
        }
        pings.extend_from_slice(b"\x81\x85\0\0\0\0hello");
        stream.write_all(&pings).await.unwrap();
        let mut received = 0;
        let mut client = client(stream).await;
        loop {
            match client.next().await.unwrap().unwrap() {
                Message::Pong(_) => received += 1,
                message => break assert_eq!(message, Message::text("hello")),
            }
        }
        // RFC 6455 section 5.5.3 lets an endpoint answer the latest of several pings only.
        assert!((1..30_000).contains(&received), "{received} pongs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_pinged_and_then_given_up() {
        let begun = Instant::now();
        let (mut stream, _, task) = start(std::future::pending(), echo);
        let mut ping = [0; 2];
        stream.read_exact(&mut ping).await.unwrap();
        assert_eq!((ping, begun.elapsed().as_secs()), ([0x89, 0], 25));
        stream.write_all(b"\x8a\x80\0\0\0\0").await.unwrap();
        stream.read_exact(&mut ping).await.unwrap();
        assert_eq!((ping, begun.elapsed().as_secs()), ([0x89, 0], 50));
        let mut close = Vec::new();
        stream.read_to_end(&mut close).await.unwrap();
        assert!(close.ends_with(b"no answer to a ping"));
        task.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(70) + CLOSE_TIMEOUT);
    }
}
