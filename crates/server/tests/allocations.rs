//! How often the allocator is asked for memory while a client is served.
use std::{future::pending, io, net::SocketAddr, time::Duration};

use sockeye::{Data, Graceful, NotFound, RawArgs, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
};

/// A WebSocket client that itself allocates nothing.
struct Client {
    stream: TcpStream,
    buffer: [u8; 256],
}

impl Client {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut last = [0; 4];
        while last != *b"\r\n\r\n" {
            last.rotate_left(1);
            stream.read_exact(&mut last[3..]).await?;
        }
        let mut client = Self { stream, buffer: [0; 256] };
        assert!(client.receive().await?.starts_with(b"0{"));
        client.send(b"40").await?;
        assert!(client.receive().await?.starts_with(b"40{"));
        Ok(client)
    }

    /// Sends a text frame, masked with zeros.
    async fn send(&mut self, text: &[u8]) -> io::Result<()> {
        assert!(text.len() < 126);
        self.buffer[..6].copy_from_slice(&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0]);
        self.buffer[6..][..text.len()].copy_from_slice(text);
        self.stream.write_all(&self.buffer[..6 + text.len()]).await
    }

    /// Receives a frame of at most 125 bytes.
    async fn receive(&mut self) -> io::Result<&[u8]> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await?;
        let payload = &mut self.buffer[..usize::from(head[1])];
        self.stream.read_exact(payload).await?;
        Ok(payload)
    }
}

const ECHOES: u64 = 200;

/// How many allocations an event with an acknowledgement takes, in hundredths.
fn allocations_of_an_echo(register: impl FnOnce(&Server)) -> u64 {
    let server = Server::new();
    register(&server);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let forever = Graceful { stop: pending(), limit: Duration::ZERO };
        tokio::spawn(async move { server.serve_with(vec![listener], NotFound, forever).await });
        Client::connect(address).await.unwrap()
    });
    let mut echo = |count| {
        runtime.block_on(async {
            for _ in 0..count {
                client.send(br#"421["echo","a message of an ordinary length"]"#).await.unwrap();
                assert_eq!(client.receive().await.unwrap(), br#"431["a message of an ordinary length"]"#);
            }
        });
    };
    echo(ECHOES);
    let taken = allocation_counter::measure(|| echo(ECHOES));
    assert_eq!(taken.bytes_current, 0, "{taken:?}");
    taken.count_total * 100 / ECHOES
}

#[test]
fn an_echo_allocates_its_arguments_and_its_handlers_future() {
    let taken = allocations_of_an_echo(|server| {
        server.of("/").on("echo", async |args: RawArgs| args);
    });
    assert!(taken < 205, "{taken} hundredths");
}

#[test]
fn an_echo_by_value_allocates_the_value_too() {
    let taken = allocations_of_an_echo(|server| {
        server.of("/").on("echo", async |Data(text): Data<String>| text);
    });
    assert!(taken < 305, "{taken} hundredths");
}
