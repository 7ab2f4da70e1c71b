//! The server that is measured: `echo` acknowledges with its arguments, `broadcast` emits `message` to every socket.

use std::{error::Error, io};

use sockeye::{RawArgs, Server, Socket};
use tokio::io::AsyncReadExt;

/// Serves until standard input ends. One thread does all the work, so that the count of instructions repeats.
pub(crate) fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let server = Server::new();
    let root = server.of("/");
    root.on("echo", async |args: RawArgs| args);
    root.on("broadcast", async |socket: Socket, RawArgs(args): RawArgs| {
        Ok(socket.namespace().emit("message", args)?)
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        tokio::select! {
            served = server.serve(("127.0.0.1", port)) => Ok(served?),
            ended = end_of_input() => Ok(ended?),
        }
    })
}

async fn end_of_input() -> io::Result<()> {
    let mut input = tokio::io::stdin();
    while input.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
