//! A task in the background: it runs once for all for as long as somebody watches, and no longer.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sockeye::{Namespace, ServeError, Server};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    background_task().serve("localhost:3000").await
}

pub(crate) fn background_task() -> Server {
    let server = Server::new();
    server.of("/clock").every(Duration::from_secs(1), async |clock: Namespace| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Who is not ready to receive does without this second.
        if let Err(error) = clock.volatile().emit("time", now) {
            eprintln!("the time could not be told: {error}");
        }
    });
    server
}
