//! What clients of every version are tested against: a server for Socket.IO 2 too, with JSON or, if `SOCKEYE_PARSER` is
//! `msgpack`, MessagePack. If `SOCKEYE_RECOVERY` is set, it recovers clients that were cut off.
use std::time::Duration;

use sockeye::{
    Auth, Config, EngineConfig, Namespace, OriginPolicy, Parser, RawArgs, RecoveryConfig, ServeError, Server, Socket,
    Value,
};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let parser = match std::env::var("SOCKEYE_PARSER").as_deref() {
        Ok("msgpack") => Parser::MessagePack,
        _ => Parser::Json,
    };
    let recovery = std::env::var_os("SOCKEYE_RECOVERY").map(|_| RecoveryConfig::default());
    let defaults = Config::default();
    // A client that comes back before its former connection is seen to break is recovered too, so that recovery is tested
    // with a heartbeat that takes long to see it.
    let (ping_interval, ping_timeout) = match recovery {
        Some(_) => (defaults.engine.ping_interval, defaults.engine.ping_timeout),
        None => (Duration::from_millis(300), Duration::from_millis(1000)),
    };
    let engine = EngineConfig {
        ping_interval,
        ping_timeout,
        allow_eio3: true,
        origins: OriginPolicy::Any,
        ..defaults.engine.clone()
    };
    let server = Server::builder().config(Config { engine, parser, recovery, ..defaults }).build();
    serve_events(&server.of("/"));
    serve_events(&server.of("/custom"));
    server.of("/closed").on_connect(async || Err("members only".into()));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    server.serve(format!("127.0.0.1:{port}")).await
}

fn serve_events(namespace: &Namespace) {
    namespace.on_connect(async |socket: Socket, Auth(auth): Auth<Option<Value>>| {
        Ok(socket.emit("auth", auth.unwrap_or(Value::Null))?)
    });
    namespace.on("message", async |socket: Socket, RawArgs(args): RawArgs| Ok(socket.emit("message-back", args)?));
    namespace.on("message-with-ack", async |args: RawArgs| args);
    // Asks the client in turn, and tells it what it has answered.
    namespace.on("ask-me", async |socket: Socket, RawArgs(args): RawArgs| {
        let answer = socket.emit_with_ack::<Value>("question", args).await?;
        Ok(socket.emit("you-answered", answer)?)
    });
    namespace.on("join", async |socket: Socket, RawArgs(args): RawArgs| {
        let room = args.as_args().get::<String>(0)?;
        Ok(socket.join(room)?)
    });
    namespace.on("to-room", async |socket: Socket, RawArgs(args): RawArgs| {
        let room = args.as_args().get::<String>(0)?;
        Ok(socket.namespace().to(room).emit("room-message", args)?)
    });
    namespace.on("volatile-to-room", async |socket: Socket, RawArgs(args): RawArgs| {
        let room = args.as_args().get::<String>(0)?;
        Ok(socket.namespace().to(room).volatile().emit("volatile-message", args)?)
    });
    namespace.on("kick-me", async |socket: Socket| socket.disconnect());
}
