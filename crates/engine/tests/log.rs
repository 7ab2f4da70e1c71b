//! What the log says at its default level. One test to a process, because the subscriber and the throttles are the
//! process's.
mod support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use sockeye_engine::{Config, Transports};
use sockeye_protocol::websocket::Opcode;
use support::{PATIENCE, Received, start};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// How many warnings contain all these texts.
    fn warnings(&self, parts: &[&str]) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("WARN") && parts.iter().all(|part| line.contains(part))).count()
    }
}

#[tokio::test]
async fn each_limit_and_refusal_is_logged_as_one_warning_with_setting_and_value() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let config =
        Config { max_payload: 100, max_fragments: 2, max_sessions: 11, max_head_bytes: 8 * 1024, ..Config::default() };
    let server = start(config).await;
    for _ in 0..2 {
        // Over a limit of the WebSocket.
        for frames in
            [&[0x81, 0x80 | 101, 1, 2, 3, 4][..], &[0x01, 0x80, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]]
        {
            let mut websocket = server.websocket(WEBSOCKET).await;
            websocket.text().await;
            websocket.stream.write_all(frames).await.unwrap();
            assert!(matches!(websocket.receive().await, Received::Close(Some(1009))));
        }
        // A packet that is none.
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        websocket.frame(Opcode::Text, b"x").await;
        assert_eq!(websocket.receive().await, Received::Close(None));
        let session = format!("{POLLING}&sid={}", server.open_polling().await);
        assert_eq!(server.post(&session, &"4".repeat(101)).await.status, 413);
        assert_eq!(server.post(&session, "4a\u{1e}bAQ*").await.status, 400);
        assert_eq!(server.get(&format!("{POLLING}&sid=nobody")).await.status, 400);
        assert_eq!(server.get("EIO=4").await.status, 400);
        assert_eq!(server.get("EIO=3&transport=polling").await.status, 400);
        assert_eq!(server.request_with("GET", POLLING, &[("Origin", "http://b")], b"").await.status, 403);
        let mut stream = server.connect().await;
        stream.write_all(format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(9_000)).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("no answer in time").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
        drop(stream);
    }
    let polling_only =
        start(Config { allow_upgrades: false, max_sessions: 1, transports: Transports::ALL, ..Config::default() })
            .await;
    let upgrade = format!("{WEBSOCKET}&sid={}", polling_only.open_polling().await);
    let (status, mut refused) = polling_only.try_websocket(&upgrade).await;
    assert_eq!(status, 400);
    let mut text = String::new();
    timeout(PATIENCE, refused.stream.read_to_string(&mut text)).await.expect("no end in time").unwrap();
    assert!(text.contains("allow_upgrades"), "the client is not told why: {text}");
    assert_eq!(polling_only.get(POLLING).await.status, 503);
    // Whoever is refused by the HTTP library learns it before the log does.
    timeout(PATIENCE, async {
        while log.warnings(&["max_head_bytes = 8192"]) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nothing is said of `max_head_bytes`");
    for parts in [
        &["closed a WebSocket", "max_payload = 100"][..],
        &["closed a WebSocket", "max_fragments = 2"],
        &["unknown Engine.IO packet type"],
        &["not valid base64"],
        &["refused a POST", "max_payload = 100"],
        &["Session ID unknown", "sticky sessions"],
        &["Transport unknown"],
        &["EIO=\"3\"", "allow_eio3"],
        &["origin=\"http://b\""],
        &["max_head_bytes = 8192"],
        &["allow_upgrades"],
        &["max_sessions = 1"],
    ] {
        let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        assert_eq!(log.warnings(parts), 1, "{parts:?} is not one warning:\n{text}");
    }
}
