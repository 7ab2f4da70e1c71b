//! Sessions over both transports, at the level of bytes.
mod support;

use std::time::Duration;

use sockeye_engine::{CloseReason, Config, Frame, OriginPolicy, SendError, TransportKind};
use sockeye_protocol::websocket::Opcode;
use support::{PATIENCE, Received, sid, start, start_in_memory};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

fn quick() -> Config {
    Config { ping_interval: Duration::from_millis(300), ping_timeout: Duration::from_millis(200), ..Config::default() }
}

#[tokio::test]
async fn the_open_packet_has_exactly_the_documented_keys() {
    let server = start(Config::default()).await;
    let open = server.get(POLLING).await;
    let sid = sid(&open.body);
    let tail = r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(open.body, format!(r#"0{{"sid":"{sid}","upgrades":["websocket"],{tail}"#));
    assert_eq!(open.header("content-type"), Some("text/plain; charset=UTF-8"));
    let mut websocket = server.websocket(WEBSOCKET).await;
    let open = websocket.text().await;
    assert_eq!(open, format!(r#"0{{"sid":"{}","upgrades":[],{tail}"#, support::sid(&open)));
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_reference() {
    let server = start(Config::default()).await;
    for (method, query, code, message) in [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=__proto__", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("POST", POLLING, 2, "Bad handshake method"),
        ("PUT", POLLING, 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=abc&transport=polling", 5, "Unsupported protocol version"),
    ] {
        let answer = server.request(method, query, "").await;
        assert_eq!(answer.status, 400, "{method} {query}");
        assert_eq!(answer.body, format!(r#"{{"code":{code},"message":"{message}"}}"#), "{method} {query}");
    }
    let foreign = server
        .raw(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(foreign.status, 403);
    assert_eq!(server.engine.session_count(), 0, "a refused request opened a session");
}

#[tokio::test]
async fn polling_keeps_the_order_of_packets() {
    let server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    assert_eq!(server.post(&session, "4a\x1ebAQIDBA==\x1e4b").await.body, "ok");
    assert_eq!(server.get(&session).await.body, "4a\x1ebAQIDBA==\x1e4b");
}

#[tokio::test]
async fn an_answer_has_at_most_16_packets_unless_the_client_cannot_be_python_engineio() {
    for (headers, parameters, most) in [
        // python-engineio, whose users set any header: its time stamp, or none.
        (&[("User-Agent", "python-requests/2.34.2")][..], "&t=1732770000.1234567", 16),
        (&[("User-Agent", "MyApp/1.0"), ("Origin", "http://a"), ("Sec-Fetch-Mode", "cors")], "&t=1732770000.5", 16),
        (&[("User-Agent", "MyApp/1.0")], "&t=Pxyz&t=1732770000.5", 16),
        (&[("User-Agent", "MyApp/1.0")], "", 16),
        // engine.io-client 6, 5 and 3; Java.
        (&[("User-Agent", "Mozilla/5.0")], "&t=m412u6n5", 40),
        (&[], "&t=PDYoz_U", 40),
        (&[("User-Agent", "python/3")], "&t=PDYoz_U.0&b64=1", 40),
    ] {
        let origins = OriginPolicy::Any;
        let mut server = start(Config { origins, ..Config::default() }).await;
        let open = server.request_with("GET", &format!("{POLLING}{parameters}"), headers, b"").await;
        let query = format!("{POLLING}&sid={}", sid(&open.body));
        let session = server.next_session().await;
        let sent: Vec<_> = (0..40).map(|number| format!("4{number}")).collect();
        for packet in &sent {
            session.send_text(packet.as_bytes()).unwrap();
        }
        let mut received = Vec::new();
        while received.len() < sent.len() {
            // The handshake decides; what later polls look like does not matter.
            let answer = server.get(&query).await.body;
            let packets: Vec<_> = answer.split('\u{1e}').map(str::to_owned).collect();
            assert_eq!(packets.len(), most.min(sent.len() - received.len()), "{headers:?} {parameters}: {answer}");
            received.extend(packets);
        }
        assert_eq!(received, sent, "{headers:?} {parameters}");
    }
}

#[tokio::test]
async fn a_second_poll_closes_the_session() {
    let mut server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let opened = server.next_session().await;
    let (first, second) = tokio::join!(server.get(&session), async {
        while !opened.is_writable() {
            tokio::task::yield_now().await;
        }
        server.get(&session).await
    });
    let mut statuses = [(first.status, first.body), (second.status, second.body)];
    statuses.sort();
    assert_eq!(statuses[0], (200, "1".into()));
    assert_eq!(statuses[1].0, 400);
    assert_eq!(server.next_close().await, CloseReason::TransportError);
    assert_eq!(server.get(&session).await.status, 400);
}

#[tokio::test]
async fn a_second_post_closes_the_session() {
    let mut server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let head =
        format!("POST /socket.io/?{session} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    first.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is under way.
    let mut go_on = [0; 25];
    timeout(PATIENCE, first.read_exact(&mut go_on)).await.expect("no answer in time").unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(server.post(&session, "4b").await.status, 400);
    assert_eq!(server.next_close().await, CloseReason::TransportError);
    assert_eq!(server.get(&session).await.status, 400);
}

#[tokio::test]
async fn an_abandoned_poll_closes_the_session() {
    let mut server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("GET /socket.io/?{session} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let opened = server.next_session().await;
    timeout(PATIENCE, async {
        while !opened.is_writable() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the poll never came to wait");
    drop(stream);
    assert_eq!(server.next_close().await, CloseReason::TransportClose);
    assert_eq!(server.get(&session).await.status, 400);
}

#[tokio::test]
async fn an_invalid_payload_is_refused_and_closes_the_session() {
    let mut server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    assert_eq!(server.post(&session, "abc").await.status, 400);
    assert_eq!(server.next_close().await, CloseReason::ParseError);
    assert_eq!(server.get(&session).await.status, 400);
}

#[tokio::test]
async fn a_body_beyond_max_payload_is_refused_and_the_session_stays_open() {
    let server = start(Config { max_payload: 10, ..Config::default() }).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let refused = server.post(&session, "4hello hello hello").await;
    assert_eq!((refused.status, refused.body.as_str(), refused.header("content-type")), (413, "", None));
    let chunked = format!(
        "POST /socket.io/?{session} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         14\r\n4hello hello hello h\r\n0\r\n\r\n"
    );
    assert_eq!(server.raw(chunked.as_bytes()).await.status, 413);
    assert_eq!(server.post(&session, "4hello").await.status, 200);
    assert_eq!(server.get(&session).await.body, "4hello");
}

#[tokio::test]
async fn a_close_packet_in_a_post_ends_the_poll_with_a_noop() {
    let mut server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let opened = server.next_session().await;
    let (poll, post) = tokio::join!(server.get(&session), async {
        while !opened.is_writable() {
            tokio::task::yield_now().await;
        }
        server.post(&session, "1").await
    });
    assert_eq!((poll.status, poll.body.as_str()), (200, "6"));
    assert_eq!(post.status, 200);
    assert_eq!(server.next_close().await, CloseReason::TransportClose);
}

#[tokio::test(start_paused = true)]
async fn a_poll_right_after_the_client_has_closed_the_session_is_answered_once() {
    let mut server = start_in_memory(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    assert_eq!(server.post(&session, "1").await.status, 200);
    assert_eq!(server.next_close().await, CloseReason::TransportClose);
    let last = server.get(&session).await;
    assert_eq!((last.status, last.body.as_str()), (200, "6"));
    assert_eq!(server.get(&session).await.status, 400);
}

#[tokio::test]
async fn a_websocket_echoes_text_and_binary_messages_and_joins_fragments() {
    let server = start(Config::default()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello");
    websocket.frame(Opcode::Binary, &[1, 2, 3, 4]).await;
    assert_eq!(websocket.receive().await, Received::Binary(vec![1, 2, 3, 4]));
    // `4frag` in two frames, byte by byte.
    for byte in [0x01, 0x83, 0, 0, 0, 0, b'4', b'f', b'r', 0x80, 0x82, 0, 0, 0, 0, b'a', b'g'] {
        websocket.stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(websocket.text().await, "4frag");
}

#[tokio::test]
async fn a_fault_on_a_websocket_is_answered_with_a_close_frame() {
    let mut server = start(Config { max_payload: 100, ..Config::default() }).await;
    for (bytes, code, reason) in [
        // A frame that announces 101 bytes, and one that announces 2^62.
        (&[0x81, 0x80 | 101, 1, 2, 3, 4][..], Some(1009), CloseReason::TransportError),
        (&[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], Some(1009), CloseReason::TransportError),
        // An unmasked frame, a reserved bit, invalid UTF-8.
        (&[0x81, 0x01, b'2'], Some(1002), CloseReason::TransportError),
        (&[0xc1, 0x81, 0, 0, 0, 0, b'3'], Some(1002), CloseReason::TransportError),
        (&[0x81, 0x82, 0, 0, 0, 0, b'4', 0xff], Some(1007), CloseReason::TransportError),
        // A ping, which only servers send; an unknown packet type; an empty message.
        (&[0x81, 0x81, 0, 0, 0, 0, b'2'], None, CloseReason::TransportError),
        (&[0x81, 0x81, 0, 0, 0, 0, b'x'], None, CloseReason::ParseError),
        (&[0x81, 0x80, 0, 0, 0, 0], None, CloseReason::ParseError),
    ] {
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        websocket.stream.write_all(bytes).await.unwrap();
        assert_eq!(websocket.receive().await, Received::Close(code), "{bytes:x?}");
        assert_eq!(websocket.receive().await, Received::End);
        assert_eq!(server.next_close().await, reason, "{bytes:x?}");
    }
}

#[tokio::test]
async fn an_upgrade_loses_and_reorders_no_packet() {
    let mut server = start(Config::default()).await;
    let sid = server.open_polling().await;
    let session = format!("{POLLING}&sid={sid}");
    let opened = server.next_session().await;
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(server.get(&session).await.body, "6", "the waiting poll must end so that the client can pause");
    assert_eq!(opened.transport(), TransportKind::Polling);
    // These wait: the client polls no more, and has not upgraded yet.
    for number in 0..100 {
        opened.send_text(format!("4{number}").as_bytes()).unwrap();
    }
    opened.send(Frame::binary(&[7])).unwrap();
    // The upgrade, and messages in the same segment behind it.
    websocket.stream.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'5', 0x81, 0x82, 0, 0, 0, 0, b'4', b'x']).await.unwrap();
    for number in 0..100 {
        assert_eq!(websocket.text().await, format!("4{number}"));
    }
    assert_eq!(websocket.receive().await, Received::Binary(vec![7]));
    assert_eq!(websocket.text().await, "4x");
    assert_eq!(opened.transport(), TransportKind::WebSocket);
    assert_eq!(server.get(&session).await.status, 400, "polling is over");
    let mut second = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    assert_eq!(second.receive().await, Received::Close(None), "a second WebSocket is turned away");
    websocket.send("4still here").await;
    assert_eq!(websocket.text().await, "4still here");
}

#[tokio::test]
async fn polls_end_100_ms_after_the_probe_as_in_the_reference() {
    let mut server = start(Config::default()).await;
    let sid = server.open_polling().await;
    let session = format!("{POLLING}&sid={sid}");
    let opened = server.next_session().await;
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    let begun = Instant::now();
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    let noop = server.get(&session).await;
    assert_eq!(noop.body, "6");
    assert!(begun.elapsed() >= Duration::from_millis(100), "the poll ended after {:?}", begun.elapsed());
    // In between, packets still travel by polling.
    opened.send_text(b"4by polling").unwrap();
    assert_eq!(server.get(&session).await.body, "4by polling");
}

#[tokio::test]
async fn packets_sent_before_a_close_reach_a_client_that_is_upgrading() {
    let mut server = start(Config { close_timeout: PATIENCE, ..Config::default() }).await;
    let sid = server.open_polling().await;
    let opened = server.next_session().await;
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(server.get(&format!("{POLLING}&sid={sid}")).await.body, "6");
    // From now on the client polls no more.
    opened.send_text(b"4farewell").unwrap();
    opened.close();
    assert_eq!(server.next_close().await, CloseReason::ForcedClose);
    websocket.send("5").await;
    assert_eq!(websocket.text().await, "4farewell");
    assert_eq!(websocket.text().await, "1");
    assert_eq!(websocket.receive().await, Received::Close(None));
    assert_eq!(websocket.receive().await, Received::End);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_leaves_the_session_on_polling() {
    let server = start_in_memory(Config { upgrade_timeout: Duration::from_millis(50), ..Config::default() }).await;
    let sid = server.open_polling().await;
    for message in ["4hello", "2probe"] {
        let mut websocket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
        websocket.send(message).await;
        let answer = websocket.receive().await;
        if message == "2probe" {
            assert_eq!(answer, Received::Text("3probe".into()));
            let begun = Instant::now();
            assert_eq!(websocket.receive().await, Received::Close(None), "the upgrade was not completed in time");
            assert!(begun.elapsed() < Duration::from_secs(1), "50 ms took {:?}", begun.elapsed());
        } else {
            assert_eq!(answer, Received::Close(None));
        }
    }
    let session = format!("{POLLING}&sid={sid}");
    assert_eq!(server.post(&session, "4hello").await.status, 200);
    assert_eq!(server.get(&session).await.body, "4hello");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_and_then_dropped() {
    let mut server = start_in_memory(quick()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let begun = Instant::now();
    for _ in 0..2 {
        assert_eq!(websocket.text().await, "2");
        websocket.send("3").await;
    }
    assert_eq!(websocket.text().await, "2");
    assert_eq!(websocket.receive().await, Received::Close(None));
    assert_eq!(server.next_close().await, CloseReason::PingTimeout);
    // Three pings after 300 ms each, the last of which goes unanswered for 200 ms.
    let took = begun.elapsed();
    assert!((Duration::from_millis(1_090)..Duration::from_millis(1_200)).contains(&took), "it took {took:?}");
    let sid = server.open_polling().await;
    assert_eq!(server.next_close().await, CloseReason::PingTimeout, "a client that never polls is dropped too");
    assert_eq!(server.get(&format!("{POLLING}&sid={sid}")).await.status, 400);
}

#[tokio::test]
async fn only_the_slow_consumer_is_disconnected() {
    let mut server = start(Config { outbox_bytes: 100_000, ..Config::default() }).await;
    let mut slow = server.websocket(WEBSOCKET).await;
    let mut other = server.websocket(WEBSOCKET).await;
    slow.text().await;
    other.text().await;
    let session = server.next_session().await;
    let frame = Frame::text(&[b'4'; 50_000]);
    let mut sent = 0;
    while session.send(frame.clone()).is_ok() {
        sent += 1;
        assert!(sent < 10_000, "the outbox grows without a limit");
    }
    assert_eq!(server.next_close().await, CloseReason::SlowConsumer);
    assert_eq!(session.send(frame), Err(SendError::Closed));
    assert!(session.buffered_bytes() <= 200_000);
    other.send("4hello").await;
    assert_eq!(other.text().await, "4hello");
}

#[tokio::test]
async fn packets_sent_before_a_close_arrive() {
    let mut server = start(Config { close_timeout: PATIENCE, ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let session = server.next_session().await;
    session.send_text(b"4last").unwrap();
    session.close();
    assert_eq!(websocket.text().await, "4last");
    assert_eq!(websocket.receive().await, Received::Close(None));

    let polling = format!("{POLLING}&sid={}", server.open_polling().await);
    let session = server.next_session().await;
    session.send_text(b"4last").unwrap();
    session.close();
    assert_eq!(server.get(&polling).await.body, "4last\x1e1");
    assert_eq!(server.get(&polling).await.status, 400);
}
