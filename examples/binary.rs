//! Binary data: anywhere among the arguments, on its own or within what is deserialised.
use bytes::Bytes;
use sockeye::{Binary, Data, ServeError, Server, Socket, Value};

#[derive(serde::Deserialize)]
struct Upload {
    name: String,
    content: Bytes,
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    binary().serve("localhost:3000").await
}

pub(crate) fn binary() -> Server {
    let server = Server::new();
    let root = server.of("/");
    root.on("reverse", async |Binary(data): Binary| data.iter().rev().copied().collect::<Bytes>());
    root.on("upload", async |socket: Socket, Data(Upload { name, content }): Data<Upload>| {
        let size = content.len();
        socket.broadcast().emit("uploaded", (name, Value::Binary(content)))?;
        Ok(size)
    });
    server
}
