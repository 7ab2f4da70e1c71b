//! Acknowledgements, both ways: what a handler returns is the client's, and a client can be asked, or all of them.
use std::time::Duration;

use sockeye::{Args, ServeError, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    acks().serve("localhost:3000").await
}

pub(crate) fn acks() -> Server {
    let server = Server::new();
    let root = server.of("/");
    // An error becomes `{"error": "nothing can be divided by zero"}`.
    root.on("divide", async |Args((a, b)): Args<(i64, i64)>| {
        a.checked_div(b).ok_or("nothing can be divided by zero".into())
    });
    root.on("greet me", async |socket: Socket| {
        let name: String = socket.emit_with_ack("your name?", ()).await?;
        Ok(format!("hello, {name}"))
    });
    // Whoever does not answer within a second has not voted.
    root.on("hold a vote", async |socket: Socket| {
        let everyone = socket.namespace().timeout(Duration::from_secs(1));
        let asked = everyone.emit_with_ack::<bool>("yes or no?", ())?;
        let votes = asked.collect().await;
        Ok(votes.answers.iter().filter(|(_, yes)| *yes).count())
    });
    server
}
