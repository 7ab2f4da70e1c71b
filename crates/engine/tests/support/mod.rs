//! A server on a free port, and the barest clients to talk to it: every byte is under the test's control.
// Each test file uses its part of this.
#![allow(dead_code)]
mod in_time;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use sockeye_engine::{Application, CloseReason, Config, Engine, Frame, Graceful, Message, Session, SessionHandler};
use sockeye_protocol::websocket::{Decoder, Event, Limits, Opcode, Role, encode_frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

// Not every test file uses both.
#[allow(unused_imports)]
pub(crate) use in_time::{PATIENCE, in_time};

pub(crate) struct Server<A = Echo> {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine<A>,
    /// The sessions in the order they opened, and why they closed.
    pub(crate) opened: mpsc::UnboundedReceiver<Arc<Session>>,
    pub(crate) closed: mpsc::UnboundedReceiver<CloseReason>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
    /// Whether clients connect without a network.
    pub(crate) in_memory: bool,
}

/// What a client talks over.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// Sends every message back, but `panic!`.
pub(crate) struct Echo {
    opened: mpsc::UnboundedSender<Arc<Session>>,
    closed: mpsc::UnboundedSender<CloseReason>,
}

pub(crate) struct EchoSession {
    session: Arc<Session>,
    closed: mpsc::UnboundedSender<CloseReason>,
}

impl Application for Echo {
    type Handler = EchoSession;

    fn open(&self, session: &Arc<Session>) -> EchoSession {
        assert!(session.handshake().query_value("panic").is_none(), "as asked for");
        let _nobody_asks = self.opened.send(session.clone());
        EchoSession { session: session.clone(), closed: self.closed.clone() }
    }
}

impl SessionHandler for EchoSession {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        let _gone = match message {
            Message::Text("panic!") => panic!("as asked for"),
            Message::Text(text) => self.session.send_text(format!("4{text}").as_bytes()),
            Message::Binary(data) => self.session.send(Frame::binary(data)),
        };
    }

    fn closed(&mut self, reason: CloseReason) {
        let _nobody_asks = self.closed.send(reason);
    }
}

/// The service beside the engine: it answers every path by 404, under its name.
#[derive(Clone)]
pub(crate) struct NotFound;

impl tower_service::Service<http::Request<hyper::body::Incoming>> for NotFound {
    type Response = http::Response<Empty<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<hyper::body::Incoming>) -> Self::Future {
        ready(Ok(http::Response::builder().status(404).header("server", "fallback").body(Empty::new()).unwrap()))
    }
}

pub(crate) async fn start(config: Config) -> Server {
    start_by(config, |engine, listener, stop| async move {
        engine.serve(vec![listener], NotFound, Graceful { stop, limit: PATIENCE }).await;
    })
    .await
}

/// Starts a server whose clients connect without a network. With a paused clock, time then passes only while everybody
/// waits for it: a network's bytes would be overtaken by it.
pub(crate) async fn start_in_memory(config: Config) -> Server {
    Server { in_memory: true, ..start(config).await }
}

/// Starts a server that serves its engine in a way of its own, until told to stop.
pub(crate) async fn start_by<F>(
    config: Config,
    serve: impl FnOnce(Engine<Echo>, TcpListener, Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (opened_sender, opened) = mpsc::unbounded_channel();
    let (closed_sender, closed) = mpsc::unbounded_channel();
    let engine = Engine::new(config, Echo { opened: opened_sender, closed: closed_sender });
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(engine.clone(), listener, Box::pin(async { drop(stopped.await) })));
    Server { address, engine, opened, closed, stop: Some(stop), task, in_memory: false }
}

/// Has clients connect to an application of the test's own, without a network.
pub(crate) fn start_application<A: Application>(application: A) -> Server<A> {
    let (_, opened) = mpsc::unbounded_channel();
    let (_, closed) = mpsc::unbounded_channel();
    let engine = Engine::new(Config::default(), application);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Server { address, engine, opened, closed, stop: None, task: tokio::spawn(async {}), in_memory: true }
}

impl<A: Application> Server<A> {
    pub(crate) async fn get(&self, query: &str) -> Answer {
        self.request("GET", query, "").await
    }

    pub(crate) async fn post(&self, query: &str, body: &str) -> Answer {
        self.request("POST", query, body).await
    }

    pub(crate) async fn request(&self, method: &str, query: &str, body: &str) -> Answer {
        self.request_with(method, query, &[], body.as_bytes()).await
    }

    /// A request with further headers.
    pub(crate) async fn request_with(
        &self,
        method: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = format!(
            "{method} /socket.io/?{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.raw(&request).await
    }

    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no answer in time").unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let bytes = answer[end + 4..].to_vec();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }

    /// Opens a polling session and returns its id.
    pub(crate) async fn open_polling(&self) -> String {
        let open = self.get("EIO=4&transport=polling").await;
        assert_eq!(open.status, 200, "{}", open.body);
        sid(&open.body)
    }

    pub(crate) async fn websocket(&self, query: &str) -> WebSocket {
        let (status, websocket) = self.try_websocket(query).await;
        assert_eq!(status, 101);
        websocket
    }

    pub(crate) async fn try_websocket(&self, query: &str) -> (u16, WebSocket) {
        websocket_over(self.connect().await, query).await
    }

    pub(crate) async fn connect(&self) -> Box<dyn Connection> {
        if !self.in_memory {
            return Box::new(TcpStream::connect(self.address).await.unwrap());
        }
        Box::new(connect_in_memory(&self.engine))
    }

    pub(crate) async fn next_session(&mut self) -> Arc<Session> {
        timeout(PATIENCE, self.opened.recv()).await.expect("no session opened in time").unwrap()
    }

    pub(crate) async fn next_close(&mut self) -> CloseReason {
        timeout(PATIENCE, self.closed.recv()).await.expect("no session closed in time").unwrap()
    }
}

/// Connects to an engine without a network.
pub(crate) fn connect_in_memory<A: Application>(engine: &Engine<A>) -> DuplexStream {
    connect_through(engine, 64 * 1024)
}

/// Connects without a network, through pipes that take so many bytes.
pub(crate) fn connect_through<A: Application>(engine: &Engine<A>, bytes: usize) -> DuplexStream {
    let (client, connection) = tokio::io::duplex(bytes);
    let http = hyper::server::conn::http1::Builder::new();
    tokio::spawn(http.serve_connection(TokioIo::new(connection), engine.service()).with_upgrades());
    client
}

/// Asks for a WebSocket on a connection, and returns the answer's status with it.
pub(crate) async fn websocket_over<S: AsyncRead + AsyncWrite + Unpin>(stream: S, query: &str) -> (u16, WebSocket<S>) {
    websocket_with(stream, query, &[]).await
}

/// Asks for a WebSocket with further headers.
pub(crate) async fn websocket_with<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    query: &str,
    headers: &[(&str, &str)],
) -> (u16, WebSocket<S>) {
    let mut head = format!(
        "GET /socket.io/?{query} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.expect("no answer in time").unwrap());
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let head = Answer { status, head, body: String::new(), bytes: Vec::new() };
    (
        status,
        WebSocket { head, stream, close_text: String::new(), decoder: Decoder::new(Role::Client), buffer: Vec::new() },
    )
}

pub(crate) fn sid(open: &str) -> String {
    open.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

pub(crate) struct WebSocket<S = Box<dyn Connection>> {
    /// The answer to the handshake.
    pub(crate) head: Answer,
    pub(crate) stream: S,
    /// The text of the close frame that was received.
    pub(crate) close_text: String,
    decoder: Decoder,
    buffer: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame and its code; the text is in [`WebSocket::close_text`].
    Close(Option<u16>),
    /// The end of the stream.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub(crate) async fn send(&mut self, text: &str) {
        self.frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, opcode, payload, Some([1, 2, 3, 4]));
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// A client that reads while it writes.
    pub(crate) fn split(self) -> (WebSocket<ReadHalf<S>>, WriteHalf<S>) {
        let Self { head, stream, close_text, decoder, buffer } = self;
        let (reader, writer) = tokio::io::split(stream);
        (WebSocket { head, stream: reader, close_text, decoder, buffer }, writer)
    }
}

impl<S: AsyncRead + Unpin> WebSocket<S> {
    pub(crate) async fn text(&mut self) -> String {
        match self.receive().await {
            Received::Text(text) => text,
            other => panic!("expected a text message, got {other:?}"),
        }
    }

    pub(crate) async fn receive(&mut self) -> Received {
        timeout(PATIENCE, self.receive_patiently()).await.expect("nothing received in time")
    }

    async fn receive_patiently(&mut self) -> Received {
        let limits = Limits { max_message: usize::MAX, max_fragments: usize::MAX };
        loop {
            let (consumed, event) = self.decoder.decode(&mut self.buffer, &limits).unwrap();
            let received = match event {
                Some(Event::Text(text)) => Some(Received::Text(text.into())),
                Some(Event::Binary(data)) => Some(Received::Binary(data.into())),
                Some(Event::Close(close)) => {
                    self.close_text = close.map_or_else(String::new, |(_, text)| text.to_owned());
                    Some(Received::Close(close.map(|(code, _)| code.into())))
                }
                Some(Event::Pong(payload)) => Some(Received::Pong(payload.into())),
                Some(Event::Ping(_)) | None => None,
            };
            self.buffer.drain(..consumed);
            if let Some(received) = received {
                return received;
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more).await {
                Ok(0) | Err(_) => return Received::End,
                Ok(count) => self.buffer.extend_from_slice(&more[..count]),
            }
        }
    }
}
