//! Behind a proxy, which ends TLS and says in `X-Forwarded-For` who the client is.
use std::time::Duration;

use sockeye::{Config, EngineConfig, HandshakeRef, RawArgs, Reply, ServeError, Server};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let mut engine = EngineConfig { trust_forwarded: true, ..EngineConfig::default() };
    // The tests use a shorter heartbeat.
    if let Some(milliseconds) = std::env::var("PING_INTERVAL_MS").ok().and_then(|text| text.parse().ok()) {
        engine.ping_interval = Duration::from_millis(milliseconds);
    }
    behind_proxy(engine).serve(format!("127.0.0.1:{port}")).await
}

pub(crate) fn behind_proxy(engine: EngineConfig) -> Server {
    let server = Server::builder().config(Config { engine, ..Config::default() }).build();
    let root = server.of("/");
    root.on("echo", async |RawArgs(args): RawArgs| Reply::of(args));
    root.on("forwarded for", async |handshake: HandshakeRef| handshake.header("x-forwarded-for").map(str::to_owned));
    server
}
