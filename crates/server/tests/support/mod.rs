//! A client that polls the server's service in this process, with every packet under the test's control.
// Each test file uses its part of this.
#![allow(dead_code)]
#[path = "../../../engine/tests/support/in_time.rs"]
mod in_time;

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use sockeye::{Revision, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::UnboundedReceiver,
};
use tower_service::Service;

// Not every test file uses both.
#[allow(unused_imports)]
pub(crate) use in_time::{PATIENCE, in_time};

/// One session that polls.
pub(crate) struct Raw {
    server: Server,
    revision: Revision,
    sid: String,
}

impl Raw {
    /// The session's identifier.
    pub(crate) fn sid(&self) -> &str {
        &self.sid
    }

    /// Opens a session, and takes its open packet.
    pub(crate) async fn open(server: &Server, revision: Revision) -> Self {
        let mut raw = Self { server: server.clone(), revision, sid: String::new() };
        let (status, body) = raw.request(Method::GET, "").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let packets = raw.split(&body);
        let open: serde_json::Value = serde_json::from_str(&packets[0][1..]).expect("an open packet");
        raw.sid = open["sid"].as_str().expect("a sid").to_owned();
        raw
    }

    /// Sends packets, each with its Engine.IO type, in one payload.
    pub(crate) async fn send(&self, packets: &[&str]) -> StatusCode {
        let body = match self.revision {
            Revision::V4 => packets.join("\u{1e}"),
            Revision::V3 => packets.iter().map(|one| format!("{}:{one}", one.encode_utf16().count())).collect(),
        };
        self.request(Method::POST, &body).await.0
    }

    /// The next payload's packets, or none once the session is closed.
    pub(crate) async fn poll(&self) -> Option<Vec<String>> {
        let (status, body) = self.request(Method::GET, "").await;
        (status == StatusCode::OK).then(|| self.split(&body))
    }

    /// Packets until one contains `what`; heartbeats are answered and left out.
    pub(crate) async fn until(&self, what: &str) -> Vec<String> {
        let mut packets = Vec::new();
        while !packets.iter().any(|packet: &String| packet.contains(what)) {
            for packet in self.poll().await.expect("an open session") {
                match packet.as_str() {
                    "2" => assert_eq!(self.send(&["3"]).await, StatusCode::OK),
                    _ => packets.push(packet),
                }
            }
        }
        packets
    }

    /// Packets up to the end of the session, which the server must bring about; heartbeats are left out.
    pub(crate) async fn to_the_end(&self) -> Vec<String> {
        let mut packets = Vec::new();
        let ended = async {
            while let Some(payload) = self.poll().await {
                packets.extend(payload.into_iter().filter(|packet| packet != "2"));
                if packets.last().is_some_and(|packet| packet == "1") {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the session does not end");
        packets
    }

    /// Whether the server has closed the session.
    pub(crate) async fn is_closed(&self) -> bool {
        while let Some(packets) = self.poll().await {
            if packets.iter().any(|packet| packet == "1") {
                return true;
            }
            if packets.iter().all(|packet| packet == "2") {
                return false;
            }
        }
        true
    }

    async fn request(&self, method: Method, body: &str) -> (StatusCode, String) {
        let number = match self.revision {
            Revision::V3 => 3,
            Revision::V4 => 4,
        };
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        let request = Request::builder()
            .method(method)
            .uri(format!("/socket.io/?EIO={number}&transport=polling&b64=1{sid}"))
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .expect("a request");
        let response = Service::call(&mut self.server.service(), request).await.expect("no error is possible");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn split(&self, body: &str) -> Vec<String> {
        if self.revision == Revision::V4 {
            return body.split('\u{1e}').map(str::to_owned).collect();
        }
        let (mut packets, mut rest) = (Vec::new(), body);
        while let Some((length, packet)) = rest.split_once(':') {
            let length: usize = length.parse().expect("a length");
            let mut units = 0;
            let end = packet.char_indices().find_map(|(at, character)| {
                let reached = units >= length;
                units += character.len_utf16();
                reached.then_some(at)
            });
            let (packet, after) = packet.split_at(end.unwrap_or(packet.len()));
            packets.push(packet.to_owned());
            rest = after;
        }
        packets
    }
}

/// A WebSocket over TCP, with short messages only.
pub(crate) struct WebSocket(tokio::net::TcpStream);

impl WebSocket {
    /// Opens a session and takes its open packet.
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a server");
        let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("a connection");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer to the handshake"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        let mut socket = Self(stream);
        assert!(socket.receive().await.expect("an open packet").starts_with('0'));
        socket
    }

    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &str) {
        self.send_frame(0x81, packet.as_bytes()).await;
    }

    /// Sends a binary message.
    pub(crate) async fn send_binary(&mut self, data: &[u8]) {
        self.send_frame(0x82, data).await;
    }

    async fn send_frame(&mut self, head: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).expect("a short message");
        assert!(length < 126, "a short message");
        // A mask of zeros leaves the payload as it is.
        let frame = [&[head, 0x80 | length, 0, 0, 0, 0], payload].concat();
        self.0.write_all(&frame).await.expect("an open connection");
    }

    /// The next packet, or none once the connection is closed; pings are left out.
    pub(crate) async fn receive(&mut self) -> Option<String> {
        loop {
            let (opcode, payload) = self.frame().await?;
            let packet = String::from_utf8_lossy(&payload).into_owned();
            match opcode {
                8 => return None,
                1 if packet != "2" => return Some(packet),
                _ => {}
            }
        }
    }

    /// The code and the text of the Close frame, once it comes.
    pub(crate) async fn close_frame(&mut self) -> (u16, String) {
        loop {
            let (opcode, payload) = self.frame().await.expect("a Close frame");
            if let (8, Some((code, text))) = (opcode, payload.split_first_chunk()) {
                return (u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned());
            }
        }
    }

    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let opcode = self.0.read_u8().await.ok()? & 0x0f;
        let length = match self.0.read_u8().await.ok()? {
            126 => self.0.read_u16().await.ok()?.into(),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((opcode, payload))
    }
}

/// Answers what is not the server's path.
#[derive(Clone)]
pub(crate) struct NotFound;

impl Service<Request<hyper::body::Incoming>> for NotFound {
    type Response = http::Response<http_body_util::Empty<Bytes>>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<hyper::body::Incoming>) -> Self::Future {
        std::future::ready(Ok(http::Response::new(http_body_util::Empty::new())))
    }
}

/// The next thing that is told, for which a test does not wait for ever.
pub(crate) async fn next<T>(told: &mut UnboundedReceiver<T>) -> T {
    let next = tokio::time::timeout(PATIENCE, told.recv()).await;
    next.expect("nothing was told in time").expect("nobody is left to tell anything")
}

/// What is logged, at every level.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to this thread until the guard is dropped.
    pub(crate) fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::level_filters::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets what is under way in other tasks of this thread happen.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
