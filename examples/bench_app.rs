//! What load generators expect: `echo` acknowledges with the same data, `bcast` emits `msg` to every socket.
use sockeye::{RawArgs, ServeError, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let server = Server::new();
    let root = server.of("/");
    root.on("echo", async |args: RawArgs| args);
    root.on("bcast", async |socket: Socket, RawArgs(args): RawArgs| Ok(socket.namespace().emit("msg", args)?));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    server.serve(format!("127.0.0.1:{port}")).await
}
