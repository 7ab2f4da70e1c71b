//! Connection state recovery: a client that was cut off comes back to its rooms and values, and misses nothing.
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sockeye::{Config, RecoveryConfig, ServeError, Server, Socket};

/// How many events this client has sent, kept with its socket.
#[derive(Default)]
struct Sent(AtomicU64);

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    recovery().serve("localhost:3000").await
}

pub(crate) fn recovery() -> Server {
    let recovery = RecoveryConfig { max_disconnection: Duration::from_secs(60), ..RecoveryConfig::default() };
    let server = Server::builder().config(Config { recovery: Some(recovery), ..Config::default() }).build();
    let root = server.of("/");
    root.on_connect(async |socket: Socket| {
        // A recovered socket is in its rooms already, and has its values.
        if socket.is_recovered() {
            return Ok(());
        }
        socket.insert(Sent::default());
        socket.join("lobby")?;
        Ok(())
    });
    root.on("count", async |socket: Socket| {
        socket.extension::<Sent>().map(|sent| sent.0.fetch_add(1, Ordering::Relaxed) + 1)
    });
    server
}
