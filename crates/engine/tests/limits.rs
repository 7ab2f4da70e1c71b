//! The limits that are on by default, and the numbers an operator can read.
mod support;

use std::time::Duration;

use sockeye_engine::{CloseReason, Config, Frame, Metrics, SendError};
use sockeye_protocol::websocket::Opcode;
use support::{Answer, PATIENCE, Received, Server, sid, start};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// Waits until the engine's numbers are as wanted.
async fn until(server: &Server, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
    timeout(PATIENCE, async {
        loop {
            let metrics = server.engine.metrics();
            if wanted(&metrics) {
                return metrics;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the numbers never became as wanted: {:?}", server.engine.metrics()))
}

#[tokio::test]
async fn sessions_are_limited_in_total_and_a_closed_session_returns_its_permit() {
    let server = start(Config { max_sessions: 2, ..Config::default() }).await;
    let sid = server.open_polling().await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let refused = server.get(POLLING).await;
    assert_eq!((refused.status, &*refused.body), (503, r#"{"code":4,"message":"Too many connections"}"#));
    assert_eq!(server.try_websocket(WEBSOCKET).await.0, 503);
    let upgrade = server.try_websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    assert_eq!(upgrade.0, 101, "an upgrade opens no session");
    drop(upgrade);
    websocket.send("1").await;
    assert_eq!(websocket.receive().await, Received::Close(None));
    assert_eq!(websocket.receive().await, Received::End);
    drop(websocket);
    timeout(PATIENCE, async {
        while server.get(POLLING).await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the place was not given back");
    let metrics = server.engine.metrics();
    assert!(metrics.over_max_sessions >= 2);
    assert_eq!(metrics.over_max_sessions, metrics.refused[4]);
}

#[tokio::test]
async fn sessions_are_limited_by_address_and_a_trusted_proxy_names_the_address() {
    let limited = Config { max_sessions_per_address: 1, trust_forwarded: true, ..Config::default() };
    let server = start(limited).await;
    for (forwarded, status) in [("1.1.1.1", 200), ("1.1.1.1", 429), ("9.9.9.9, 1.1.1.1", 429), ("2.2.2.2", 200)] {
        let answer = server.request_with("GET", POLLING, &[("X-Forwarded-For", forwarded)], b"").await;
        assert_eq!(answer.status, status, "{forwarded}");
    }
    assert_eq!(server.get(POLLING).await.status, 200, "the proxy itself");
    assert_eq!(server.try_websocket(WEBSOCKET).await.0, 429);
    assert_eq!(server.engine.metrics().over_max_sessions_per_address, 3);

    let server = start(Config { max_sessions_per_address: 1, ..Config::default() }).await;
    for (forwarded, status) in [("1.1.1.1", 200), ("2.2.2.2", 429)] {
        let answer = server.request_with("GET", POLLING, &[("X-Forwarded-For", forwarded)], b"").await;
        assert_eq!(answer.status, status, "nobody is trusted by default");
    }
}

#[tokio::test]
async fn a_connection_that_never_becomes_a_websocket_returns_its_permit() {
    let server = start(Config { max_sessions: 1, ..Config::default() }).await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "GET /socket.io/?{WEBSOCKET} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Gone before the answer is out; a reset rather than a close.
        socket_reset(stream);
    }
    timeout(PATIENCE, async {
        while server.get(POLLING).await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a place was lost");
}

fn socket_reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_request_whose_head_or_body_never_ends_is_given_up() {
    let server = start(Config { head_timeout: Duration::from_millis(50), ..Config::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /socket.io/ HTTP/1.1\r\nHost").await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the head was waited for").unwrap();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("a first byte was waited for").unwrap();

    let half = Duration::from_millis(500);
    let server = start(Config { ping_interval: half, ping_timeout: half, ..Config::default() }).await;
    let sid = server.open_polling().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /socket.io/?{POLLING}&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n4");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("the body was waited for").unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");
}

#[tokio::test]
async fn thousands_of_packets_in_one_post_are_handled_in_order() {
    let count = 3_000;
    let server = start(Config { allow_eio3: true, ..Config::default() }).await;
    let octets = [("Content-Type", "application/octet-stream")];
    // As each client writes a payload of its revision.
    let v4: Vec<_> = (0..count).map(|number| format!("4{number}")).collect();
    let v3_text: String = v4.iter().map(|packet| format!("{}:{packet}", packet.len())).collect();
    let mut v3_binary = Vec::new();
    for packet in &v4 {
        let digits = packet.len().to_string().into_bytes();
        v3_binary.extend([&[0][..], &digits.iter().map(|digit| digit - b'0').collect::<Vec<_>>(), &[0xff]].concat());
        v3_binary.extend(packet.bytes());
    }
    for (eio, headers, body) in [
        (4, &[][..], v4.join("\u{1e}").as_bytes()),
        (3, &[][..], v3_text.as_bytes()),
        (3, &octets[..], v3_binary.as_slice()),
    ] {
        let open = server.get(&format!("EIO={eio}&transport=polling&t=Pxyz")).await;
        let query = format!("EIO={eio}&transport=polling&sid={}", sid(&open.body));
        let answer = server.request_with("POST", &query, headers, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "EIO={eio} {headers:?}");
        let mut echoed = String::new();
        let whole = if eio == 4 { v4.join("\u{1e}") } else { v3_text.clone() };
        while echoed.len() < whole.len() {
            if eio == 4 && !echoed.is_empty() {
                echoed.push('\u{1e}');
            }
            echoed.push_str(&server.get(&query).await.body);
        }
        assert_eq!(echoed, whole, "EIO={eio} {headers:?}");
    }
}

#[tokio::test]
async fn the_outbox_limit_applies_to_several_frames_together() {
    let mut server = start(Config { outbox_bytes: 100_000, ..Config::default() }).await;
    server.open_polling().await;
    let session = server.next_session().await;
    let frames = |count| std::iter::repeat_n(Frame::text(&[b'4'; 30_000]), count);
    session.send_all(frames(1)).unwrap();
    session.send_all(frames(2)).unwrap();
    assert_eq!(session.send_all(frames(2)), Err(SendError::SlowConsumer));
    assert!(session.buffered_bytes() <= 100_000, "all or nothing");
    assert_eq!(server.next_close().await, CloseReason::SlowConsumer);
    assert_eq!(server.engine.metrics().slow_consumers, 1);
}

#[tokio::test]
async fn packets_and_bytes_are_counted_while_a_session_is_open_and_after_it_has_ended() {
    let server = start(Config::default()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    let open = websocket.text().await.len() as u64 + 2;
    for _ in 0..3 {
        websocket.send("4hello").await;
        assert_eq!(websocket.text().await, "4hello");
    }
    websocket.frame(Opcode::Ping, b"").await;
    assert_eq!(websocket.receive().await, Received::Pong(Vec::new()));
    websocket.send("4x").await;
    assert_eq!(websocket.text().await, "4x");
    let living = until(&server, |metrics| metrics.packets_out == 6).await;
    assert_eq!((living.websocket_sessions, living.polling_sessions, living.opened), (1, 0, 1));
    // Three messages of 6 bytes, one of 2, a ping of none, each behind a head of 6 with its mask, of 2 without.
    assert_eq!((living.packets_in, living.bytes_in), (5, 3 * 12 + 8 + 6));
    assert_eq!(living.bytes_out, open + if open > 127 { 2 } else { 0 } + 3 * 8 + 4 + 2);
    websocket.frame(Opcode::Close, b"").await;
    let ended = until(&server, |metrics| metrics.websocket_sessions == 0).await;
    assert_eq!((ended.packets_in, ended.bytes_in), (6, living.bytes_in + 6));
    assert_eq!((ended.packets_out, ended.bytes_out), (living.packets_out, living.bytes_out));
    assert_eq!(ended.transport_closes, 1);
}

#[tokio::test]
async fn each_metric_counts_the_event_that_it_names() {
    let mut server = start(Config { max_payload: 100, ..Config::default() }).await;
    let sid = server.open_polling().await;
    let session = format!("{POLLING}&sid={sid}");
    assert_eq!(server.engine.metrics().polling_sessions, 1);
    assert_eq!(server.post(&session, &"4".repeat(101)).await.status, 413);
    let mut failed = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    failed.send("4not a probe").await;
    assert_eq!(failed.receive().await, Received::Close(None));
    until(&server, |metrics| metrics.failed_upgrades == 1).await;
    let mut upgraded = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    upgraded.send("2probe").await;
    upgraded.text().await;
    upgraded.send("5").await;
    until(&server, |metrics| (metrics.upgrades, metrics.websocket_sessions) == (1, 1)).await;
    upgraded.frame(Opcode::Text, &[b'4'; 101]).await;
    assert_eq!(upgraded.receive().await, Received::Close(Some(1009)));
    assert_eq!(server.next_close().await, CloseReason::TransportError);
    let session = {
        server.open_polling().await;
        server.next_session().await;
        server.next_session().await
    };
    session.close();
    assert_eq!(server.get("EIO=4").await.status, 400);
    let metrics = until(&server, |metrics| metrics.forced_closes == 1).await;
    assert_eq!((metrics.too_large, metrics.protocol_errors, metrics.transport_errors), (2, 1, 0));
    assert_eq!(metrics.refused, [1, 0, 0, 1, 0, 0]);
    assert_eq!(metrics.opened, 2);
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_read_so_that_the_client_receives_the_answer() {
    // More than lies in the buffers of a connection.
    let server = start(Config { max_payload: 4_000_000, close_timeout: PATIENCE, ..Config::default() }).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for (query, chunks, status) in [(session.as_str(), 110, 413), (&format!("{POLLING}&sid=nobody"), 55, 400)] {
        let head = format!("POST /socket.io/?{query} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // A reset would fail what is written, or lose the answer that is read afterwards.
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..chunks {
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("no answer in time").unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
    assert_eq!(server.post(&session, "4hello").await.status, 200, "the session stays");
}

#[tokio::test]
async fn a_client_reads_in_the_close_frame_which_websocket_limit_it_exceeded() {
    let server = start(Config { max_payload: 100, max_fragments: 2, ..Config::default() }).await;
    for (bytes, text) in [
        (&[0x81, 0x80 | 101, 1, 2, 3, 4][..], "a message of at least 101 bytes exceeds the limit of 100"),
        (
            &[[0x01, 0x80, 0, 0, 0, 0], [0x00, 0x80, 0, 0, 0, 0], [0x00, 0x80, 0, 0, 0, 0]].concat(),
            "more than 2 fragments",
        ),
        (&[0x81, 0x01, b'2'], "isn't masked"),
    ] {
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        websocket.stream.write_all(bytes).await.unwrap();
        assert!(matches!(websocket.receive().await, Received::Close(Some(_))));
        assert!(websocket.close_text.contains(text), "{}", websocket.close_text);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_dropped() {
    // Larger than what the kernel keeps for both sides after some answers.
    let initial_packet = Some(Frame::text(&[b'4'; 900_000]));
    let write_timeout = Duration::from_millis(100);
    let server = start(Config { initial_packet, write_timeout, ..Config::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /socket.io/?{POLLING} HTTP/1.1\r\nHost: a\r\n\r\n");
    let dropped = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, dropped).await.expect("the connection was not dropped");
}

#[tokio::test]
async fn a_session_keeps_headers_up_to_a_limit_and_a_longer_target_is_refused() {
    let mut server = start(Config { handshake_bytes: 200, ..Config::default() }).await;
    let huge = "x".repeat(300);
    let headers = [("First", "kept"), ("Huge", &*huge), ("Last", "kept")];
    assert_eq!(server.request_with("GET", POLLING, &headers, b"").await.status, 200);
    let session = server.next_session().await;
    let handshake = session.handshake();
    assert_eq!((handshake.header("first"), handshake.header("last")), (Some("kept"), Some("kept")));
    assert_eq!(handshake.header("huge"), None);
    assert_eq!(server.engine.metrics().shortened_handshakes, 1);
    assert_eq!(server.get(&format!("{POLLING}&x={huge}")).await.status, 400);
    assert_eq!(server.try_websocket(&format!("{WEBSOCKET}&x={huge}")).await.0, 400);
}

#[tokio::test]
async fn sessions_per_second_are_limited_and_a_refused_client_is_told_when_to_come_again() {
    let server = start(Config { max_session_rate: 1, trust_forwarded: true, ..Config::default() }).await;
    let (opened, refused) = open_until_refused(&server, "10.0.0.1").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert!(opened >= 10, "those of ten seconds may open at once, not {opened}");
    while server.try_websocket(WEBSOCKET).await.0 != 503 {}
    assert!(server.engine.metrics().over_max_session_rate >= 2);

    let config = Config { max_session_rate_per_address: 1, trust_forwarded: true, ..Config::default() };
    let server = start(config).await;
    let (opened, refused) = open_until_refused(&server, "2001:db8::1").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")));
    assert!(opened >= 10, "those of ten seconds may open at once, not {opened}");
    let (opened, _) = open_until_refused(&server, "2001:db8::2").await;
    assert!(opened < 10, "a /64 is one address");
    let (opened, _) = open_until_refused(&server, "2001:db8:0:1::1").await;
    assert!(opened >= 10, "another address has a rate of its own");
    assert_eq!(server.engine.metrics().over_max_session_rate_per_address, 3);
}

/// Opens sessions for the client of a proxy until one is refused, and returns how many were opened.
async fn open_until_refused(server: &Server, address: &str) -> (usize, Answer) {
    for opened in 0..1_000 {
        let answer = server.request_with("GET", POLLING, &[("X-Forwarded-For", address)], b"").await;
        if answer.status != 200 {
            return (opened, answer);
        }
    }
    panic!("nobody is refused");
}

#[tokio::test]
async fn connections_without_a_session_are_limited_and_websockets_do_not_count() {
    for (limits, status) in [
        (Config { max_connections: 2, ..Config::default() }, "503 Service Unavailable"),
        (Config { max_connections_per_address: 2, ..Config::default() }, "429 Too Many Requests"),
    ] {
        let server = start(limits).await;
        let connect = async || TcpStream::connect(server.address).await.unwrap();
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        let silent = [connect().await, connect().await];
        let mut answer = String::new();
        connect().await.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains("Retry-After: 10"),
            "{answer}"
        );
        let metrics = server.engine.metrics();
        assert_eq!(metrics.over_max_connections + metrics.over_max_connections_per_address, 1);
        drop(silent);
        timeout(PATIENCE, async {
            while server.engine.metrics().opened == 1 {
                // While the places are taken, the connection is reset or answered.
                let mut stream = connect().await;
                let request = format!("GET /socket.io/?{POLLING} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                let _reset = stream.write_all(request.as_bytes()).await;
                let _reset = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
        .expect("the places were not given back");
        drop(websocket);
    }
}
