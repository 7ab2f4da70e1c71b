//! The server that the official protocol suites expect: Engine.IO echoing at `/engine.io/`, Socket.IO at `/socket.io/`.
//! Tests that are not about its limits have others: `PING_INTERVAL_MS`, `PING_TIMEOUT_MS`, `CONNECT_TIMEOUT_MS`, and
//! `MAX_PAYLOAD` in bytes.
use std::{
    future::{pending, ready},
    num::ParseIntError,
    str::FromStr,
    sync::Arc,
    task::Context,
    time::Duration,
};

use sockeye::{
    Args, Auth, Config, EngineConfig, Graceful, Hooks, Namespace, OriginPolicy, RawArgs, ServeError, Server, Sid,
    Socket, Value, listen,
};
use sockeye_engine::{Application, CloseReason, Engine, Frame, Message, Session, SessionHandler};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let engine = EngineConfig {
        ping_interval: milliseconds("PING_INTERVAL_MS", 300),
        ping_timeout: milliseconds("PING_TIMEOUT_MS", 200),
        max_payload: number("MAX_PAYLOAD", 1_000_000),
        allow_eio3: true,
        origins: OriginPolicy::Any,
        hooks: Hooks::default().generate_id(|request| {
            // The suites expect that a client names its revision; the reference takes it for an old one if it does not.
            let query = request.uri.query().unwrap_or_default();
            let is_named = query.split('&').any(|parameter| matches!(parameter, "EIO=3" | "EIO=4"));
            ready(if is_named { Ok(Sid::random()) } else { Err("the request names no revision of Engine.IO".into()) })
        }),
        ..EngineConfig::default()
    };
    let echo = Engine::new(EngineConfig { path: "/engine.io/".into(), ..engine.clone() }, Echo);
    let config = Config {
        engine: EngineConfig { path: "/socket.io/".into(), ..engine },
        connect_timeout: milliseconds("CONNECT_TIMEOUT_MS", 1000),
        ..Config::default()
    };
    let server = Server::builder().config(config).build();
    let (root, custom) = (server.of("/"), server.of("/custom"));
    greet(&root);
    greet(&custom);
    root.on("message", async |socket: Socket, RawArgs(args): RawArgs| Ok(socket.emit("message-back", args)?));
    root.on("message-with-ack", async |args: RawArgs| args);
    root.on("burst", async |socket: Socket, Args((count, bytes)): Args<(u32, usize)>| {
        let text = "x".repeat(bytes);
        for number in 0..count {
            socket.emit("part", (number, &text))?;
        }
        Ok(())
    });

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let mut listeners = listen(format!("127.0.0.1:{port}")).await?;
    listeners.extend(listen(format!("[::1]:{port}")).await?);
    let forever = Graceful { stop: pending(), limit: Duration::ZERO };
    server.serve_with(listeners, echo.service(), forever).await;
    Ok(())
}

/// What the environment says, or else what the suites expect.
fn number<T: FromStr<Err = ParseIntError>>(name: &str, expected: T) -> T {
    std::env::var(name).map_or(expected, |text| text.parse().expect("a number"))
}

fn milliseconds(name: &str, expected: u64) -> Duration {
    Duration::from_millis(number(name, expected))
}

/// Tells every client what it sent along with CONNECT.
fn greet(namespace: &Namespace) {
    namespace.on_connect(async |socket: Socket, Auth(auth): Auth<Option<Value>>| {
        let auth = auth.unwrap_or_else(|| Value::Object(Default::default()));
        Ok(socket.emit("auth", auth)?)
    });
}

struct Echo;

impl Application for Echo {
    type Handler = EchoSession;

    fn open(&self, session: &Arc<Session>) -> EchoSession {
        EchoSession(session.clone())
    }
}

/// Sends every message back.
struct EchoSession(Arc<Session>);

impl SessionHandler for EchoSession {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        // A client that has gone away needs no echo.
        let _gone = match message {
            Message::Text(text) => self.0.send_text(format!("4{text}").as_bytes()),
            Message::Binary(data) => self.0.send(Frame::binary(data)),
        };
    }

    fn closed(&mut self, _: CloseReason) {}
}
