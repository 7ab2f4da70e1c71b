//! A server that says what the test has it say, packet by packet.
// Each test file uses its part of this.
#![allow(dead_code)]
use std::{net::SocketAddr, time::Duration};

use sockeye_client::{Manager, ManagerBuilder, Transport};
use sockeye_protocol::websocket::{Decoder, Event, Limits, Opcode, Role, accept_key, encode_frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::quick;

const LIMITS: Limits = Limits { max_message: 1 << 20, max_fragments: 1 };

pub(crate) struct Script {
    listener: TcpListener,
    address: SocketAddr,
}

/// One connection to it, by WebSocket.
pub(crate) struct Line {
    stream: TcpStream,
    decoder: Decoder,
    input: Vec<u8>,
}

impl Script {
    pub(crate) async fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// A client of it that is quick to come back.
    pub(crate) fn client(&self) -> ManagerBuilder {
        quick(Manager::builder(&format!("http://{}", self.address))).transports(Transport::WebSocket)
    }

    /// The next connection, which is open.
    pub(crate) async fn accept(&self) -> Line {
        let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let (_, key) = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {}\r\n\r\n",
            accept_key(key)
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut line = Line { stream, decoder: Decoder::new(Role::Server), input: Vec::new() };
        line.write(r#"0{"sid":"session","upgrades":[],"pingInterval":60000,"pingTimeout":60000,"maxPayload":100000}"#)
            .await;
        line
    }

    /// The next connection, whose client asks to be let into the namespace `/` with nothing but that and gets this
    /// answer.
    pub(crate) async fn let_in(&self, answer: &str) -> Line {
        let mut line = self.accept().await;
        assert_eq!(line.next().await, "0");
        line.send(&format!("0{answer}")).await;
        line
    }
}

impl Line {
    /// Sends a packet of Socket.IO.
    pub(crate) async fn send(&mut self, packet: &str) {
        self.write(&format!("4{packet}")).await;
    }

    /// The client's next packet of Socket.IO.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let (consumed, text) = match self.decoder.decode(&mut self.input, &LIMITS).unwrap() {
                (consumed, Some(Event::Text(text))) => (consumed, Some(text.to_owned())),
                (_, Some(Event::Close(_))) => panic!("the client has closed the connection"),
                (consumed, _) => (consumed, None),
            };
            self.input.drain(..consumed);
            match text.as_deref().map(|text| text.split_at(1)) {
                Some(("4", packet)) => return packet.to_owned(),
                Some(("3", "")) => {}
                Some(other) => panic!("{other:?} is no message"),
                None if consumed > 0 => {}
                None => {
                    let count = soon(self.stream.read_buf(&mut self.input)).await.unwrap();
                    assert!(count > 0, "the client has closed the connection");
                }
            }
        }
    }

    /// Sends this packet of Socket.IO again and again, so many bytes in all, and reads no answer.
    pub(crate) async fn flood(mut self, packet: &str, bytes: usize) {
        let mut packets = Vec::new();
        while packets.len() < 64 * 1024 {
            encode_frame(&mut packets, Opcode::Text, format!("4{packet}").as_bytes(), None);
        }
        for _ in 0..bytes / packets.len() {
            self.stream.write_all(&packets).await.unwrap();
        }
    }

    /// Sends so many pings of the WebSocket at once. Returns how many pongs come until the last one is answered.
    pub(crate) async fn ping(&mut self, count: usize) -> usize {
        let mut pings = Vec::new();
        (1..=count).for_each(|number| encode_frame(&mut pings, Opcode::Ping, number.to_string().as_bytes(), None));
        self.stream.write_all(&pings).await.unwrap();
        let last = count.to_string();
        let mut pongs = 0;
        loop {
            let (consumed, is_last) = match self.decoder.decode(&mut self.input, &LIMITS).unwrap() {
                (consumed, Some(Event::Pong(payload))) => (consumed, Some(*payload == *last.as_bytes())),
                (_, Some(other)) => panic!("{other:?} is no pong"),
                (consumed, None) => (consumed, None),
            };
            self.input.drain(..consumed);
            pongs += usize::from(is_last.is_some());
            if is_last == Some(true) {
                return pongs;
            }
            if consumed == 0 {
                let count = soon(self.stream.read_buf(&mut self.input)).await.unwrap();
                assert!(count > 0, "the client has closed the connection");
            }
        }
    }

    /// Ends the connection. The client gets everything that was sent before.
    pub(crate) async fn end(mut self) {
        self.stream.shutdown().await.unwrap();
        soon(self.stream.read_to_end(&mut Vec::new())).await.unwrap();
    }

    async fn write(&mut self, text: &str) {
        let mut frame = Vec::new();
        encode_frame(&mut frame, Opcode::Text, text.as_bytes(), None);
        self.stream.write_all(&frame).await.unwrap();
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}
