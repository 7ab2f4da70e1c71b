//! The smallest server: whoever sends `chat` is heard by everyone else.
use sockeye::{Data, ServeError, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let server = Server::new();
    server.of("/").on("chat", async |socket: Socket, Data(text): Data<String>| {
        socket.broadcast().emit("chat", text)?;
        Ok(())
    });
    server.serve("localhost:3000").await
}
