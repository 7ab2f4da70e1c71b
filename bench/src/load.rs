//! The client side: blocking sockets that ask for one operation after the other.

use std::{
    error::Error,
    io::{self, Read, Write},
    net::TcpStream,
};

/// How many sockets receive each broadcast.
const AUDIENCE: usize = 100;

pub(crate) fn run(operation: &str, port: u16, count: usize) -> Result<(), Box<dyn Error>> {
    match operation {
        "connect" => {
            for _ in 0..count {
                Connection::open(port)?;
            }
        }
        "echo" => {
            let mut connection = Connection::open(port)?;
            for _ in 0..count {
                connection.send(r#"421["echo","hello, this is a message of an ordinary length"]"#)?;
                connection.receive()?;
            }
        }
        "broadcast" => {
            let mut connections = (0..AUDIENCE).map(|_| Connection::open(port)).collect::<Result<Vec<_>, _>>()?;
            for _ in 0..count / AUDIENCE {
                connections[0].send(r#"42["broadcast","hello, this is a message of an ordinary length"]"#)?;
                for connection in &mut connections {
                    connection.receive()?;
                }
            }
        }
        _ => return Err("the operations are connect, echo and broadcast".into()),
    }
    Ok(())
}

/// A WebSocket whose socket has joined the namespace `/`.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let host = format!("127.0.0.1:{port}");
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        let mut connection = Self { stream };
        connection.receive()?;
        connection.send("40")?;
        connection.receive()?;
        Ok(connection)
    }

    /// Sends a text of at most 125 bytes, masked with zeros.
    fn send(&mut self, text: &str) -> io::Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).ok_or(io::ErrorKind::InvalidInput)?;
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame)
    }

    /// Reads one frame of at most 125 bytes.
    fn receive(&mut self) -> io::Result<()> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut payload = [0; 126];
        let payload = payload.get_mut(..usize::from(head[1])).ok_or(io::ErrorKind::InvalidData)?;
        self.stream.read_exact(payload)
    }
}
