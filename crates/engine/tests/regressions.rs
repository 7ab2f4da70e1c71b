//! One test for each advisory and each fixed fault of Engine.IO servers, and of the WebSocket libraries below them,
//! that could have happened here too. What concerns packets alone is tested where they are decoded.
mod support;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use sockeye_engine::{CloseReason, Config, Sid, TransportKind};
use sockeye_protocol::websocket::Opcode;
use support::{PATIENCE, Received, Server, in_time, start, start_in_memory};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// Whether the server still serves, over both transports.
async fn assert_alive(server: &Server) {
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    websocket.send("4alive").await;
    assert_eq!(websocket.text().await, "4alive");
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    assert_eq!(server.post(&session, "4alive").await.status, 200);
    assert_eq!(server.get(&session).await.body, "4alive");
}

/// The head of a WebSocket handshake with further header lines.
fn handshake(query: &str, extra: &str) -> String {
    format!(
        "GET /socket.io/?{query} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

/// Sends a request and returns the status line's code.
async fn status(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("no answer in time").unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

async fn waits(session: &sockeye_engine::Session) {
    timeout(PATIENCE, async {
        while !session.is_writable() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("no poll came to wait");
}

/// Waits until so many upgrades have failed in order; one whose task panics is not counted.
async fn until_failed_upgrades(server: &Server, count: u64) {
    timeout(PATIENCE, async {
        while server.engine.metrics().failed_upgrades < count {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("upgrade {count} has not failed as it should"));
}

/// CVE-2017-16031 (socket.io): identifiers came from a predictable source.
#[tokio::test]
async fn cve_2017_16031_identifiers_are_random_in_every_character() {
    let ids: Vec<Sid> = (0..500).map(|_| Sid::random()).collect();
    for at in 0..20 {
        let seen: HashSet<u8> = ids.iter().map(|id| id.as_bytes()[at]).collect();
        assert!(seen.len() > 40, "character {at} takes {} values only", seen.len());
    }
}

/// CVE-2020-28481 (socket.io): every page of the web could connect by default.
#[tokio::test]
async fn cve_2020_28481_no_foreign_page_connects_by_default() {
    let server = start(Config::default()).await;
    let refused = server.request_with("GET", POLLING, &[("Origin", "https://evil.example")], b"").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    assert_eq!(status(&server, &handshake(WEBSOCKET, "Origin: https://evil.example\r\n")).await, "403");
}

/// CVE-2020-36048 (engine.io): a huge POST was buffered and decoded.
#[tokio::test]
async fn cve_2020_36048_a_huge_body_is_refused_by_its_content_length() {
    let server = start(Config::default()).await;
    let sid = server.open_polling().await;
    let head =
        format!("POST /socket.io/?{POLLING}&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000000\r\n\r\n");
    assert_eq!(status(&server, &head).await, "413");
    assert_alive(&server).await;
}

/// CVE-2022-21676 (engine.io): a crafted frame raised an exception nobody caught, above all one that came before
/// anybody listened.
#[tokio::test]
async fn cve_2022_21676_crafted_frames_close_only_their_own_connection() {
    let mut server = start(Config::default()).await;
    let sid = server.open_polling().await;
    let mut failed_upgrades = 0;
    for (bytes, reason) in [
        (&[0x81, 0x80][..], CloseReason::TransportClose),
        (&[0xff; 40], CloseReason::TransportError),
        (&[0x00; 40], CloseReason::TransportError),
        (&[0x88, 0x81, 0, 0, 0, 0, 1], CloseReason::TransportError),
        (&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], CloseReason::TransportError),
    ] {
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        websocket.stream.write_all(bytes).await.unwrap();
        websocket.stream.shutdown().await.unwrap();
        while !matches!(websocket.receive().await, Received::End) {}
        // A panic would end the connection too, but the application would not hear of it in this way.
        assert_eq!(server.next_close().await, reason, "{bytes:x?}");

        assert_eq!(together(&server, WEBSOCKET, bytes).await, "101");
        assert_eq!(server.next_close().await, reason, "{bytes:x?} along with the handshake");

        assert_eq!(together(&server, &format!("{WEBSOCKET}&sid={sid}"), bytes).await, "101");
        failed_upgrades += 1;
        until_failed_upgrades(&server, failed_upgrades).await;
    }
    assert_alive(&server).await;
    let session = format!("{POLLING}&sid={sid}");
    assert_eq!(server.post(&session, "4hello").await.status, 200);
    assert_eq!(server.get(&session).await.body, "4hello");
}

/// Sends a WebSocket handshake and what follows it in one segment, and reads to the end of the connection.
async fn together(server: &Server, query: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[handshake(query, "").as_bytes(), bytes].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no end in time").unwrap();
    String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned()
}

/// CVE-2022-41940 (engine.io): a reset during the upgrade raised an exception nobody caught.
#[tokio::test]
async fn cve_2022_41940_a_reset_during_the_upgrade_leaves_the_session_on_polling() {
    let server = start(Config::default()).await;
    let sid = server.open_polling().await;
    for stage in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = handshake(&format!("{WEBSOCKET}&sid={sid}"), "");
        stream.write_all(&head.as_bytes()[..head.len() - if stage == 0 { 10 } else { 0 }]).await.unwrap();
        if stage == 2 {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            stream.write_all(&[0x81, 0x86, 0, 0, 0, 0, b'2', b'p', b'r']).await.unwrap();
        }
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    let session = format!("{POLLING}&sid={sid}");
    assert_eq!(server.post(&session, "4hello").await.status, 200);
    assert_eq!(server.get(&session).await.body, "4hello");
    // The failed attempts do not stand in the way of a good one.
    timeout(PATIENCE, async {
        loop {
            let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
            websocket.send("2probe").await;
            match websocket.receive().await {
                Received::Text(text) => break assert_eq!(text, "3probe"),
                other => assert_eq!(other, Received::Close(None), "the earlier attempt is not over yet"),
            }
        }
    })
    .await
    .expect("no further upgrade is possible");
}

/// CVE-2023-31125 (engine.io): a transport named like a property of every object raised an exception.
#[tokio::test]
async fn cve_2023_31125_transports_named_like_object_members_are_unknown() {
    let server = start(Config::default()).await;
    for name in ["__proto__", "constructor", "toString", "", "Polling", "polling%00", "webtransport"] {
        let answer = server.get(&format!("EIO=4&transport={name}")).await;
        assert_eq!(answer.body, r#"{"code":0,"message":"Transport unknown"}"#, "{name}");
        assert_eq!(status(&server, &handshake(&format!("EIO=4&transport={name}"), "")).await, "400", "{name}");
    }
    assert_alive(&server).await;
}

/// CVE-2026-59725, GHSA-r635-g3xr-vw7x (engine.io): a binary POST of revision 4 was never answered.
#[tokio::test]
async fn cve_2026_59725_a_binary_post_is_answered_and_closes_the_session() {
    let mut server = start(Config { allow_eio3: true, ..Config::default() }).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    for content_type in ["application/octet-stream", "Application/Octet-Stream; charset=x"] {
        let session = match content_type {
            "application/octet-stream" => session.clone(),
            _ => format!("{POLLING}&sid={}", server.open_polling().await),
        };
        let answer =
            server.request_with("POST", &session, &[("Content-Type", content_type)], &[0, 1, 0xff, b'2']).await;
        assert_eq!(answer.status, 400, "{content_type}");
        assert_eq!(server.next_close().await, CloseReason::TransportClose, "{content_type}");
        assert_eq!(server.get(&session).await.status, 400);
    }
}

/// CVE-2026-102599, GHSA-2gc4-cqfq-p2gv (engine.io): an upgrade by another revision than the session's broke the server.
#[tokio::test]
async fn cve_2026_102599_a_session_keeps_its_revision() {
    let server = start(Config { allow_eio3: true, ..Config::default() }).await;
    let sid = server.open_polling().await;
    for query in ["EIO=3&transport=polling", "EIO=5&transport=polling", "transport=polling"] {
        assert_eq!(server.get(&format!("{query}&sid={sid}")).await.status, 400, "{query}");
        assert_eq!(server.post(&format!("{query}&sid={sid}"), "1:2").await.status, 400, "{query}");
    }
    assert_eq!(server.try_websocket(&format!("EIO=3&transport=websocket&sid={sid}")).await.0, 400);
    let session = format!("{POLLING}&sid={sid}");
    assert_eq!(server.post(&session, "4fine").await.status, 200, "the session is unharmed");
    assert_alive(&server).await;
}

/// CVE-2016-10518 and CVE-2026-45736 (ws): answers contained memory that had not been written.
#[tokio::test]
async fn cve_2016_10518_pongs_and_close_frames_contain_only_what_the_client_sent() {
    let server = start(Config::default()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    for length in [0, 1, 5, 125] {
        let payload = vec![b'p'; length];
        websocket.frame(Opcode::Ping, &payload).await;
        assert_eq!(websocket.receive().await, Received::Pong(payload));
    }
    websocket.frame(Opcode::Close, b"\x0f\xa0a reason").await;
    let mut answer = Vec::new();
    timeout(PATIENCE, websocket.stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [0x88, 2, 0x0f, 0xa0]);
}

/// CVE-2016-10542 (ws): the size of a message was not limited; GHSA-55mf-67qm-4wpg (socketioxide): nor was it here.
#[tokio::test]
async fn cve_2016_10542_the_message_limit_applies_to_each_head_and_to_the_sum_of_fragments() {
    let mut server = start(Config { max_payload: 1_000, ..Config::default() }).await;
    for frames in [
        &[0x82, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..],
        &[0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0],
        &[&[0x02, 0xfe, 0x02, 0x58, 0, 0, 0, 0][..], &[7; 600], &[0x80, 0xfe, 0x02, 0x58, 0, 0, 0, 0]].concat(),
    ] {
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        websocket.stream.write_all(frames).await.unwrap();
        assert_eq!(websocket.receive().await, Received::Close(Some(1009)));
        assert_eq!(server.next_close().await, CloseReason::TransportError);
    }
}

/// ws, 2017: `constructor` among the extensions raised an exception. CVE-2021-32640 (ws): a long list of protocols
/// took quadratic time.
#[test]
fn cve_2021_32640_malformed_and_long_handshake_headers_take_little_time() {
    in_time(odd_and_long_headers());
}

async fn odd_and_long_headers() {
    let protocols = |length: usize| {
        let spaces = format!("Sec-WebSocket-Protocol: b{}x\r\n", " ".repeat(length));
        [spaces, format!("Sec-WebSocket-Protocol: {}\r\n", "a,".repeat(length / 2))]
    };
    let server = start(Config::default()).await;
    for line in [
        "Sec-WebSocket-Extensions: constructor; __proto__; toString\r\n".to_owned(),
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99;;,,=\r\n".to_owned(),
    ] {
        assert_eq!(status(&server, &handshake(WEBSOCKET, &line)).await, "101", "{line}");
    }
    for line in protocols(30_000) {
        assert_eq!(status(&server, &handshake(WEBSOCKET, &line)).await, "101");
    }
    for line in protocols(200_000) {
        assert_eq!(status(&server, &handshake(WEBSOCKET, &line)).await, "431", "a head beyond the limit");
    }
    assert_alive(&server).await;
    // Where the limit is raised, what is quadratic takes minutes.
    let server = start(Config { max_head_bytes: 400_000, ..Config::default() }).await;
    let begun = Instant::now();
    for line in protocols(390_000) {
        assert_eq!(status(&server, &handshake(WEBSOCKET, &line)).await, "101");
    }
    assert!(begun.elapsed() < PATIENCE, "long headers took {:?}", begun.elapsed());
}

/// CVE-2024-37890 (ws): more headers than allowed crashed the server.
#[tokio::test]
async fn cve_2024_37890_too_many_headers_are_refused() {
    let server = start(Config::default()).await;
    let lines: String = (0..2_000).map(|number| format!("x-{number}: y\r\n")).collect();
    assert_eq!(status(&server, &handshake(WEBSOCKET, &lines)).await, "431");
    assert_alive(&server).await;
}

/// CVE-2026-48779 and CVE-2026-62389 (ws): many tiny fragments, empty ones too, took memory without a limit.
#[tokio::test]
async fn cve_2026_48779_empty_fragments_count_against_the_limit() {
    let server = start(Config { max_fragments: 100, ..Config::default() }).await;
    for fragment in [&[0x00, 0x80, 0, 0, 0, 0][..], &[0x00, 0x81, 0, 0, 0, 0, b'x']] {
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        let mut stream = vec![0x01, 0x81, 0, 0, 0, 0, b'4'];
        stream.extend(fragment.repeat(100));
        websocket.stream.write_all(&stream).await.unwrap();
        assert_eq!(websocket.receive().await, Received::Close(Some(1009)));
    }
}

/// socketioxide #815: an identifier nobody knows opened a new session.
#[tokio::test]
async fn socketioxide_815_an_unknown_identifier_opens_no_session() {
    let server = start(Config::default()).await;
    for sid in ["sid=garbage", "sid=%ff%fe", "sid=..%2f", &format!("sid={}", "a".repeat(10_000))] {
        let answer = server.get(&format!("{POLLING}&{sid}")).await;
        assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#, "{sid}");
        assert_eq!(status(&server, &handshake(&format!("{WEBSOCKET}&{sid}"), "")).await, "400", "{sid}");
    }
    assert_eq!(server.engine.session_count(), 0);
}

/// socketioxide #816: a path that only began like the server's was the server's.
#[tokio::test]
async fn socketioxide_816_a_path_that_only_begins_like_the_engines_is_not_found() {
    let server = start(Config::default()).await;
    for path in ["/socket.io-admin/", "/socket.io/more/", "//socket.io/", "/socket.i", "/"] {
        let request = format!("GET {path}?{POLLING} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(server.raw(request.as_bytes()).await.status, 404, "{path}");
    }
}

/// socketioxide #817: a pong that nobody had asked for counted as a missed heartbeat.
#[tokio::test]
async fn socketioxide_817_an_extra_pong_does_no_harm() {
    let mut server = start(Config { ping_interval: Duration::from_millis(100), ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    for _ in 0..3 {
        websocket.send("3").await;
        websocket.send("3").await;
        assert_eq!(websocket.text().await, "2");
        websocket.send("3").await;
    }
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello");
    server.closed.try_recv().expect_err("the session was closed");
}

/// socketioxide #731: a session whose upgrade was begun and never finished stayed for ever.
#[tokio::test(start_paused = true)]
async fn socketioxide_731_an_abandoned_upgrade_keeps_no_session_alive() {
    let quick = Config {
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(50),
        upgrade_timeout: Duration::from_millis(200),
        ..Config::default()
    };
    let mut server = start_in_memory(quick).await;
    let sid = server.open_polling().await;
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(server.next_close().await, CloseReason::PingTimeout);
    assert_eq!(websocket.receive().await, Received::Close(None), "the WebSocket is given up too");
    timeout(PATIENCE, async {
        while server.engine.session_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the session is still there");
}

/// socketioxide #809: a session that was closed while it moved to a WebSocket brought its writer down.
#[tokio::test]
async fn socketioxide_809_a_close_during_the_upgrade_closes_both_transports() {
    let mut server = start(Config { close_timeout: PATIENCE, ..Config::default() }).await;
    for (after_probe, failed) in [(false, 1), (true, 2)] {
        let sid = server.open_polling().await;
        let session = server.next_session().await;
        let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
        if after_probe {
            websocket.send("2probe").await;
            assert_eq!(websocket.text().await, "3probe");
        }
        session.close();
        let poll = server.get(&format!("{POLLING}&sid={sid}")).await;
        assert!(poll.body == "1" || poll.body == "6\u{1e}1", "{}", poll.body);
        websocket.send("5").await;
        while !matches!(websocket.receive().await, Received::End) {}
        assert_eq!(server.next_close().await, CloseReason::ForcedClose);
        until_failed_upgrades(&server, failed).await;
    }
    assert_alive(&server).await;
}

/// socketioxide #497, #554, #560: polls during the upgrade made it time out or go round in circles.
#[tokio::test]
async fn socketioxide_497_polls_during_the_upgrade_are_answered_and_the_upgrade_succeeds() {
    let mut server = start(Config::default()).await;
    let sid = server.open_polling().await;
    let session = server.next_session().await;
    let polling = format!("{POLLING}&sid={sid}");
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    for _ in 0..5 {
        assert_eq!(server.get(&polling).await.body, "6");
    }
    assert_eq!(server.post(&polling, "4posted").await.status, 200);
    assert_eq!(server.get(&polling).await.body, "4posted");
    websocket.send("5").await;
    websocket.send("4sent").await;
    assert_eq!(websocket.text().await, "4sent");
    assert_eq!(session.transport(), TransportKind::WebSocket);
}

/// A poll or a POST that ends only after the session has moved to a WebSocket says nothing about the session.
#[tokio::test]
async fn requests_that_end_after_the_upgrade_do_not_close_the_session() {
    let mut server = start(Config::default()).await;
    let sid = server.open_polling().await;
    let session = server.next_session().await;
    let mut poll = TcpStream::connect(server.address).await.unwrap();
    poll.write_all(format!("GET /socket.io/?{POLLING}&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .await
        .unwrap();
    waits(&session).await;
    let mut post = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /socket.io/?{POLLING}&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n4");
    post.write_all(head.as_bytes()).await.unwrap();
    // The POST has begun once a second one is refused; that would close the session, so only time's order is left:
    // the upgrade takes two more round trips than the head of the POST.
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket.send("5").await;
    websocket.send("4moved").await;
    assert_eq!(websocket.text().await, "4moved");
    drop(post);
    drop(poll);
    for number in 0..20 {
        websocket.send(&format!("4{number}")).await;
        assert_eq!(websocket.text().await, format!("4{number}"));
    }
    server.closed.try_recv().expect_err("the session was closed");
}

/// socketioxide #390: the first ping came at once, and twice.
#[tokio::test(start_paused = true)]
async fn socketioxide_390_the_first_ping_is_sent_once_and_after_the_interval() {
    let interval = Duration::from_millis(150);
    let server = start_in_memory(Config { ping_interval: interval, ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let opened = tokio::time::Instant::now();
    assert_eq!(websocket.text().await, "2");
    assert!(opened.elapsed() >= interval, "{:?}", opened.elapsed());
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello", "a second ping");
}

/// socketioxide #357 and 0.17.4 to 0.17.5: payloads of revision 3 sent its decoder round in circles.
#[test]
fn socketioxide_357_decoding_malformed_payloads_of_revision_3_ends() {
    in_time(malformed_payloads_of_revision_3());
}

async fn malformed_payloads_of_revision_3() {
    let mut server = start(Config { allow_eio3: true, ..Config::default() }).await;
    let octets = [("Content-Type", "application/octet-stream")];
    for (headers, body) in [
        (&[][..], &b"0:"[..]),
        (&[], b"99999999999999999999:4"),
        (&[], b"-1:4"),
        (&[], b":::::"),
        (&[], b"9:4hi"),
        (&[], b"2:4\xf0\x9f\x98\x80"),
        (&[], b"5:4\xff\xfe"),
        (&octets, &[0xff]),
        (&octets, &[1, 0xff]),
        (&octets, &[0; 64]),
        (&octets, &[0, 9, 0xff, b'4', b'h']),
        (&octets, &[1, 9, 9, 9, 9, 0xff, 4]),
    ] {
        let sid = support::sid(&server.get("EIO=3&transport=polling").await.body);
        let session = format!("EIO=3&transport=polling&sid={sid}");
        let answer = server.request_with("POST", &session, headers, body).await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert_eq!(server.next_close().await, CloseReason::ParseError, "{body:?}");
    }
}

/// socketioxide #794: packets that ended within a character, or before they had begun, brought the server down.
#[tokio::test]
async fn socketioxide_794_truncated_packets_close_only_their_own_session() {
    let mut server = start(Config::default()).await;
    for body in [&b"\xe2\x82"[..], b"4\xf0\x9f", "€".as_bytes(), b"\x1e", b"b", b"b=", b"4a\x1e", b"\x1e4a"] {
        let session = format!("{POLLING}&sid={}", server.open_polling().await);
        let answer = server.request_with("POST", &session, &[], body).await;
        assert_eq!(answer.status, if body == b"b" { 200 } else { 400 }, "{body:?}");
        if body != b"b" {
            // A panic would be answered so too, but the application would not hear of it in this way.
            assert_eq!(server.next_close().await, CloseReason::ParseError, "{body:?}");
        }
    }
    assert_alive(&server).await;
}

/// A client that offers HTTP/2 along with its request, as Java's does, is no WebSocket.
#[tokio::test]
async fn an_upgrade_to_another_protocol_is_ignored() {
    let server = start(Config::default()).await;
    let offer = [("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")];
    assert_eq!(server.request_with("GET", POLLING, &offer, b"").await.status, 200);
    // A WebSocket of another path is not the engine's, which leaves it to the service beside it.
    let elsewhere = handshake(WEBSOCKET, "").replace("/socket.io/", "/elsewhere/");
    let answer = server.raw(elsewhere.replace("Connection: Upgrade", "Connection: Upgrade, close").as_bytes()).await;
    assert_eq!((answer.status, answer.header("server")), (404, Some("fallback")));
}
