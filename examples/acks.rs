//! Acknowledgements, both ways: a handler's result is sent to the client, and the server asks one client or all of them.
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sockeye::{AckError, Args, ServeError, Server, Socket, State};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    acks().serve("localhost:3000").await
}

pub(crate) fn acks() -> Server {
    let server = Server::builder().state(Readers::default()).build();
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
    // The handler does not wait for the acknowledgement, so that the client's later events are handled meanwhile.
    root.on("send me news", async |socket: Socket, State(readers): State<Readers>| {
        socket.emit_with_callback("news", "nothing happened", async move |read: Result<bool, AckError>| {
            if matches!(read, Ok(true)) {
                readers.0.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    root.on("how many have read it?", async |State(readers): State<Readers>| readers.0.load(Ordering::Relaxed));
    server
}

/// How many clients have read the news: state that all handlers share.
#[derive(Default)]
struct Readers(AtomicUsize);
