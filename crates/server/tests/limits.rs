//! What an outsider can grow is bounded, and what is held back is neither lost nor reordered.
mod support;

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use sockeye::{
    AckError, Auth, Binary, Config, Data, EmitError, EngineConfig, Graceful, Reason, RecoveryConfig, Revision, Server,
    Socket, TestClientError, matching,
};
use support::{Log, NotFound, Raw, WebSocket, settle};
use tokio::{sync::Semaphore, time::Instant};

fn server(config: Config) -> Server {
    Server::builder().config(config).build()
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_stops_reading_and_keeps_the_order() {
    let server = server(Config { backlog_bytes: 2_000, ..Config::default() });
    let (gate, handled) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (pass, seen) = (gate.clone(), handled.clone());
    server.of("/").on("number", move |Data((number, _)): Data<(usize, String)>| {
        let (pass, seen) = (pass.clone(), seen.clone());
        async move {
            pass.acquire().await.unwrap().forget();
            seen.lock().unwrap().push(number);
        }
    });
    let mut client = server.test_client().connect().await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let sending = tokio::spawn(async move {
        for number in 0..100 {
            client.emit("number", &(number, "x".repeat(100))).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
        client
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopped_after = sent.load(Ordering::SeqCst);
    assert!((5..25).contains(&stopped_after), "{stopped_after} events of 100 bytes passed into 2,000 bytes");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(sent.load(Ordering::SeqCst), stopped_after);
    gate.add_permits(100);
    let client = sending.await.unwrap();
    while handled.lock().unwrap().len() < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*handled.lock().unwrap(), (0..100).collect::<Vec<_>>());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_not_closed_by_the_heartbeat_while_its_backlog_is_full() {
    let server = server(Config { backlog_bytes: 2_000, ..Config::default() });
    let gate = Arc::new(Semaphore::new(0));
    let pass = gate.clone();
    server.of("/").on("wait", move |Data(_): Data<String>| {
        let pass = pass.clone();
        async move { pass.acquire().await.unwrap().forget() }
    });
    let mut client = server.test_client().connect().await.unwrap();
    let sending = tokio::spawn(async move {
        for _ in 0..100 {
            client.emit("wait", "x".repeat(100)).await.unwrap();
        }
        client
    });
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!sending.is_finished());
    gate.add_permits(101);
    let mut client = sending.await.unwrap();
    client.emit_with_ack::<()>("wait", "the last").await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        gate.add_permits(1);
        client.emit_with_ack::<()>("wait", "in the ordinary way").await.unwrap();
    }
    // When its backlog is not full, it is.
    let (sender, mut left) = tokio::sync::mpsc::unbounded_channel();
    server.of("/").on_disconnect(move |Reason(reason): Reason| {
        sender.send(reason.to_string()).unwrap();
        ready(())
    });
    assert_eq!(left.recv().await.unwrap(), "ping timeout");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_joins_no_namespace_is_closed() {
    let server = server(Config { connect_timeout: Duration::from_secs(5), ..Config::default() });
    let idle = Raw::open(&server, Revision::V4).await;
    let leaving = Raw::open(&server, Revision::V4).await;
    leaving.send(&["40"]).await;
    leaving.until("40").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(idle.is_closed().await);
    assert_eq!((server.metrics().connect_timeouts, leaving.send(&["3"]).await), (1, StatusCode::OK));
    leaving.send(&["41"]).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(leaving.is_closed().await);
    assert_eq!(server.metrics().connect_timeouts, 2);
}

#[tokio::test]
async fn a_connection_joins_a_limited_number_of_namespaces() {
    let server = server(Config { max_namespaces: 2, ..Config::default() });
    for name in ["/a", "/b", "/c"] {
        server.of(name);
    }
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40/a,", "40/b,", "40/c,"]).await;
    let answers = client.until("/c").await;
    assert!(
        answers[2].starts_with(r#"44/c,{"message":"the connection has already joined 2 namespaces"#),
        "{answers:?}"
    );
    assert_eq!((server.metrics().namespaces_limited, server.of("/c").local().len()), (1, 0));
    client.send(&["41/a,"]).await;
    client.send(&["40/c,"]).await;
    assert!(client.until("/c").await[0].starts_with("40/c,"));
}

#[tokio::test]
async fn a_timeout_can_be_as_long_as_a_duration_can_be() {
    let (forever, defaults) = (Duration::MAX, Config::default());
    let recovery = Some(RecoveryConfig { max_disconnection: forever, ..RecoveryConfig::default() });
    let server = server(Config { connect_timeout: forever, attachments_timeout: forever, recovery, ..defaults });
    let received = Arc::new(Semaphore::new(0));
    let count = received.clone();
    server.of("/").on("file", move |Binary(_): Binary| {
        count.add_permits(1);
        ready(())
    });
    let client = Raw::open(&server, Revision::V4).await;
    let header = r#"451-["file",{"_placeholder":true,"num":0}]"#;
    for _ in 0..2 {
        client.send(&["40"]).await;
        client.until("40").await;
        client.send(&[header]).await;
        assert_eq!(client.send(&["bAQ==", "41"]).await, StatusCode::OK);
        received.acquire().await.unwrap().forget();
    }
}

#[tokio::test(start_paused = true)]
async fn attachments_must_arrive_before_the_timeout() {
    let server = server(Config { attachments_timeout: Duration::from_secs(3), ..Config::default() });
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    server.of("/").on("file", move || {
        count.fetch_add(1, Ordering::SeqCst);
        ready(())
    });
    let header = r#"452-["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40", header, "bAQ=="]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.send(&["bAg=="]).await;
    assert_eq!(handled.load(Ordering::SeqCst), 1);
    client.send(&[header]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // An attachment that comes does not put the end off.
    client.send(&["bAQ=="]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(client.is_closed().await);
    assert_eq!(server.metrics().attachment_timeouts, 1);
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_rate_are_read_more_slowly_and_none_is_lost() {
    let server = server(Config { max_event_rate: 100, ..Config::default() });
    let handled = Arc::new(Mutex::new(Vec::new()));
    let seen = handled.clone();
    server.of("/").on("number", move |Data(number): Data<usize>| {
        seen.lock().unwrap().push(number);
        ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    let begun = Instant::now();
    for number in 0..100 {
        client.emit("number", number).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "a burst was held up for {:?}", begun.elapsed());
    for number in 100..200 {
        client.emit("number", number).await.unwrap();
    }
    assert!(begun.elapsed() > Duration::from_millis(700), "100 events more took {:?}", begun.elapsed());
    assert_eq!(*handled.lock().unwrap(), (0..200).collect::<Vec<_>>());
    assert!(server.metrics().rate_limited > 0);
}

#[tokio::test(start_paused = true)]
async fn requests_to_join_count_against_the_event_rate() {
    let server = server(Config { max_event_rate: 10, ..Config::default() });
    let client = Raw::open(&server, Revision::V4).await;
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(client.send(&["40/nowhere,"]).await, StatusCode::OK);
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "50 requests took {:?}", begun.elapsed());
    assert!(server.metrics().rate_limited > 0);
}

#[tokio::test]
async fn a_broadcast_does_not_ask_a_socket_with_too_many_unanswered_acknowledgements() {
    let server = server(Config { max_pending_acks: 1, ..Config::default() });
    let root = server.of("/");
    let (mut busy, mut idle) =
        (server.test_client().connect().await.unwrap(), server.test_client().connect().await.unwrap());
    let owed = root.to(busy.sid()).emit_with_ack::<u8>("owed", ()).unwrap();
    let one = root.socket(busy.sid()).unwrap().emit_with_ack::<u8>("one", ()).await;
    assert!(matches!(one, Err(AckError::Emit(EmitError::Limit(_)))), "{one:?}");
    let all = root.everyone().emit_with_ack::<u8>("all", ()).unwrap();
    let question = idle.receive().await.unwrap();
    idle.acknowledge(&question, 7).await.unwrap();
    let all = all.collect().await;
    assert_eq!(all.answers, [(Some(idle.sid().into()), 7)]);
    assert!(
        matches!(&all.missing[..], [(Some(sid), AckError::Emit(EmitError::Limit(_)))] if **sid == *busy.sid()),
        "{all:?}"
    );
    assert_eq!(server.metrics().acks_limited, 2);
    drop(owed);
    let _asked = root.to(busy.sid()).emit_with_ack::<u8>("again", ()).unwrap();
    let names: Vec<_> = busy.received().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["owed", "again"]);
}

#[tokio::test]
async fn a_client_with_a_larger_auth_than_max_auth_is_refused() {
    let server = server(Config { max_auth: 20, ..Config::default() });
    for (length, fits) in [(8, true), (9, false), (100_000, false)] {
        let auth = serde_json::json!({ "token": "x".repeat(length) });
        let joined = server.test_client().auth(auth).connect().await;
        match joined {
            Err(TestClientError::Refused { message, .. }) => {
                assert!(!fits && message.contains("max_auth") && message.contains("20 bytes"), "{length}: {message}");
            }
            joined => assert!(fits, "{length}: {joined:?}"),
        }
    }
    assert_eq!(server.metrics().auths_limited, 2);
}

#[tokio::test]
async fn the_auth_is_dropped_after_the_connect_handlers_unless_it_is_to_be_kept() {
    for keep_auth in [false, true] {
        let server = server(Config { keep_auth, ..Config::default() });
        let root = server.of("/");
        root.middleware(async |socket: Socket| assert!(socket.auth().is_some()));
        root.on_connect(async |socket: Socket, Auth(auth): Auth<serde_json::Value>| {
            tokio::task::yield_now().await;
            socket.insert((auth, socket.auth().map(|auth| auth.get().to_owned())));
        });
        let auth = serde_json::json!({ "token": 1 });
        let client = server.test_client().auth(auth.clone()).connect().await.unwrap();
        let socket = root.socket(client.sid()).unwrap();
        let seen = socket.extension::<(serde_json::Value, Option<String>)>().unwrap();
        assert_eq!(*seen, (auth.clone(), Some(auth.to_string())));
        assert_eq!(socket.auth().is_some(), keep_auth);
    }
}

#[tokio::test]
async fn empty_child_namespaces_are_removed_at_the_limit() {
    let server = server(Config { max_child_namespaces: 3, ..Config::default() });
    let (rooms, others) = (server.of_matching(matching("/room-*")), server.of_matching(matching("/other-*")));
    let join = |name: String| server.test_client().namespace(name).connect();
    let first = join("/room-0".to_owned()).await.unwrap();
    for number in 1..20 {
        join(format!("/{}-{number}", ["room", "other"][number % 2])).await.unwrap().disconnect().await.unwrap();
        assert!(rooms.children().len() + others.children().len() <= 3);
    }
    let _second = join("/room-a".to_owned()).await.unwrap();
    let third = join("/other-b".to_owned()).await.unwrap();
    let refused = join("/room-c".to_owned()).await;
    assert!(
        matches!(&refused, Err(TestClientError::Refused { message, .. }) if message.contains("max_child_namespaces")),
        "{refused:?}"
    );
    assert_eq!(server.metrics().child_namespaces_limited, 1);
    // Neither those that are there nor those of the server's own are concerned.
    let _fourth = join("/room-a".to_owned()).await.unwrap();
    server.of("/own");
    third.disconnect().await.unwrap();
    let _fifth = join("/room-c".to_owned()).await.unwrap();
    assert_eq!((rooms.children().len(), others.children().len()), (3, 0));
    assert!(server.of("/room-0").socket(first.sid()).is_some(), "a namespace with sockets has gone");
}

#[tokio::test]
async fn no_namespace_of_a_very_long_name_is_made() {
    let (log, _guard) = Log::listen();
    let server = server(Config::default());
    let rooms = server.of_matching(matching("/room-*"));
    for (length, fits) in [(256, true), (257, false), (100_000, false)] {
        let start = "/room-é";
        let name = format!("{start}{}", "x".repeat(length - start.len()));
        assert_eq!(server.test_client().namespace(&name).connect().await.is_ok(), fits, "{length}");
    }
    assert_eq!(rooms.children().len(), 1);
    assert!(log.text().lines().all(|line| line.len() < 1_000), "{}", log.text());
}

#[tokio::test]
async fn packets_beyond_the_limits_close_the_connection() {
    let config = || Config { max_attachments: 2, max_attachment_bytes: 10, max_depth: 4, ..Config::default() };
    let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    let fitting = format!(r#"452-["x",{placeholders}]"#);
    let too_many = format!(r#"453-["x",{placeholders},{{"_placeholder":true,"num":2}}]"#);
    for (packets, fits) in [
        (vec![fitting.as_str(), "bAQ==", "bAQ=="], true),
        (vec![too_many.as_str(), "bAQ==", "bAQ==", "bAQ=="], false),
        (vec![fitting.as_str(), "bAQIDBAUGBwg=", "bAQIDBAUGBwg="], false),
        (vec![r#"42["x",[[[1]]]]"#], true),
        (vec![r#"42["x",[[[[[1]]]]]]"#], false),
    ] {
        let server = server(config());
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40"]).await;
        client.until("40").await;
        for packet in &packets {
            client.send(&[packet]).await;
        }
        settle().await;
        assert_eq!(server.metrics().protocol_violations, u64::from(!fits), "{packets:?}");
        assert_eq!(client.send(&["3"]).await == StatusCode::OK, fits, "{packets:?}");
    }
}

#[tokio::test]
async fn events_emitted_before_admission_are_bounded() {
    let defaults = Config::default();
    let engine = EngineConfig { outbox_bytes: 10_000, ..defaults.engine.clone() };
    let server = server(Config { engine, ..defaults });
    server.of("/").on_connect(async |socket: Socket| {
        let other_task = async move {
            for _ in 0..1_000 {
                // A socket that is being closed refuses; that is what is tested.
                let _closed = socket.emit("much", "x".repeat(100));
            }
        };
        tokio::spawn(other_task);
        std::future::pending::<()>().await;
    });
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40"]).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_websocket_reads_in_the_close_frame_which_rule_its_client_broke() {
    let server = server(Config { max_depth: 3, max_attachments: 2, ..Config::default() });
    server.of("/");
    let listeners = sockeye::listen("127.0.0.1:0").await.unwrap();
    let address = listeners[0].local_addr().unwrap();
    let forever = Graceful { stop: std::future::pending(), limit: Duration::ZERO };
    let serving = tokio::spawn(async move { server.serve_with(listeners, NotFound, forever).await });
    for (packet, told) in [
        (r#"42["a",[[[[1]]]]]"#, "more than 3 levels deep"),
        (r#"453-["a",{"_placeholder":true,"num":0}]"#, "more than 2 attachments"),
        ("42{", "invalid payload"),
        ("49", "unknown Socket.IO packet type"),
    ] {
        let mut client = WebSocket::connect(address).await;
        client.send("40").await;
        client.send(packet).await;
        let (code, text) = tokio::time::timeout(support::PATIENCE, client.close_frame()).await.expect(packet);
        assert!(code == 1008 && text.contains(told), "{packet}: {code} {text}");
    }
    serving.abort();
}
