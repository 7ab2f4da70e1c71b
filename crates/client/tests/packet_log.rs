//! What the packet log says, and that it is silent unless it is asked for. One test to a process, because who listens to
//! the log is known to all threads.
mod support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use sockeye::{Data, Server};
use sockeye_client::{Manager, Transport};
use support::Local;

const SECRET: &str = "hunter2-swordfish";

#[tokio::test]
async fn packets_are_logged_only_with_log_packets() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::new();
    server.of("/").on("echo", async |Data(text): Data<String>| text);
    let local = Local::serve(server).await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let (sid, text) = talk(&local, transport, false, &log).await;
        assert!(!text.contains("sockeye::packets") && !text.contains(SECRET), "{transport}:\n{text}");
        let is_ours = |line: &&str| line.contains("sockeye_client");
        assert!(text.lines().any(|line| is_ours(&line) && line.contains(&sid[..6])), "{transport}:\n{text}");
        assert!(!text.lines().filter(is_ours).any(|line| line.contains(&sid)), "{transport}:\n{text}");
        let (_, text) = talk(&local, transport, true, &log).await;
        let transport = format!("transport={transport}");
        for (direction, parts) in [
            ("received", [&transport, "kind=\"open\"", "\"upgrades\""]),
            ("sent", [&transport, "socketio=\"connect\"", SECRET]),
            ("received", [&transport, "socketio=\"connect\"", "data=0{\"sid\""]),
            ("sent", [&transport, "socketio=\"event\"", "data=20[\"echo\",\"hello\"]"]),
            ("received", [&transport, "socketio=\"ack\"", "data=30[\"hello\"]"]),
            ("sent", [&transport, "socketio=\"disconnect\"", "data=1"]),
        ] {
            let is_said = |line: &str| {
                line.contains(&format!("sockeye::packets: {direction} "))
                    && parts.iter().all(|part| line.contains(part))
            };
            assert!(text.lines().any(is_said), "{direction} {parts:?} in\n{text}");
        }
    }
}

/// Connects with a secret, sends one event, and returns the session's identifier and what was logged.
async fn talk(local: &Local, transport: Transport, log_packets: bool, log: &Log) -> (String, String) {
    log.0.lock().unwrap().clear();
    let auth = serde_json::json!({ "token": SECRET });
    let builder = Manager::builder(&local.url()).transports(transport).auth(auth);
    // Without being told anything, it is silent.
    let builder = if log_packets { builder.log_packets(true) } else { builder };
    let socket = builder.connect().await.unwrap();
    assert_eq!(socket.emit_with_ack::<String>("echo", &"hello").await.unwrap(), "hello");
    let sid = socket.manager().sid().expect("an open session").to_string();
    socket.manager().disconnect().await;
    (sid, String::from_utf8(log.0.lock().unwrap().clone()).unwrap())
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
