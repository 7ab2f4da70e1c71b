//! One test for each advisory and each fixed fault of Socket.IO servers and parsers that could have happened here too.
//! What concerns sessions and WebSockets is in the engine's tests of the same name.
mod support;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use sockeye::{Config, EngineConfig, Parser, RecoveryConfig, Revision, Server, Socket, Value, adapter::RoomEvent};
use support::{PATIENCE, Raw, in_time, settle};

/// A server that counts what reaches its handlers.
struct Counting {
    server: Server,
    connects: Arc<AtomicUsize>,
    events: Arc<AtomicUsize>,
}

impl Counting {
    fn with(config: Config) -> Self {
        let engine = EngineConfig { allow_eio3: true, ..config.engine.clone() };
        let server = Server::builder().config(Config { engine, ..config }).build();
        let (connects, events) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (connected, received) = (connects.clone(), events.clone());
        server
            .of("/")
            .on_connect(move || {
                connected.fetch_add(1, Ordering::SeqCst);
                ready(())
            })
            .on_any(move || {
                received.fetch_add(1, Ordering::SeqCst);
                ready(())
            });
        Self { server, connects, events }
    }

    async fn joined(&self) -> Raw {
        let client = Raw::open(&self.server, Revision::V4).await;
        client.send(&["40"]).await;
        client.until("40").await;
        client
    }

    /// Whether packets close the connection; the server must go on serving others in any case.
    async fn closes_upon(&self, packets: &[&str]) -> bool {
        let before = self.server.metrics().protocol_violations;
        let client = self.joined().await;
        for packet in packets {
            client.send(&[packet]).await;
        }
        let closed = client.send(&["3"]).await != StatusCode::OK;
        // A panic would close the connection too, but not be counted as a fault of the client's.
        assert_eq!(self.server.metrics().protocol_violations - before, u64::from(closed), "{packets:?}");
        self.joined().await;
        closed
    }

    fn events(&self) -> usize {
        self.events.load(Ordering::SeqCst)
    }
}

fn counting() -> Counting {
    Counting::with(Config::default())
}

/// CVE-2020-36049 (socket.io-parser): long packets were put together character by character.
#[test]
fn cve_2020_36049_a_long_packet_is_read_in_one_go() {
    in_time(long_packets());
}

async fn long_packets() {
    let server = counting();
    let long = format!(r#"42["x","{}"]"#, "1".repeat(900_000));
    let begun = Instant::now();
    assert!(!server.closes_upon(&[&long]).await);
    let digits = format!("42{}", "1".repeat(900_000));
    assert!(server.closes_upon(&[&digits]).await);
    // What is quadratic takes minutes.
    assert!(begun.elapsed() < PATIENCE, "two long packets took {:?}", begun.elapsed());
    assert_eq!(server.events(), 1);
}

/// CVE-2022-2421 (socket.io-parser): a placeholder's number was taken for a key, whatever it was.
#[tokio::test]
async fn cve_2022_2421_a_placeholder_has_a_number_within_range() {
    let server = counting();
    for number in [r#""splice""#, "-1", "1", "null", "{}", "18446744073709551616"] {
        let header = format!(r#"451-["x",{{"_placeholder":true,"num":{number}}}]"#);
        assert!(server.closes_upon(&[&header, "bAQ=="]).await, "{number}");
    }
    assert_eq!(server.events(), 0);
    assert!(!server.closes_upon(&[r#"451-["x",{"_placeholder":true,"num":0}]"#, "bAQ=="]).await);
    assert_eq!(server.events(), 1);
}

/// CVE-2023-32695 (socket.io-parser): an event's name could be an object, and crashed whoever used it.
#[tokio::test]
async fn cve_2023_32695_an_event_s_name_is_a_string_or_a_number() {
    let server = counting();
    for name in [r#"{"toString":"x"}"#, "[]", "true", "null", r#"{"_placeholder":true,"num":0}"#] {
        assert!(server.closes_upon(&[&format!("42[{name},1]")]).await, "{name}");
    }
    assert_eq!(server.events(), 0);
    assert!(!server.closes_upon(&["42[7,1]"]).await);
    assert_eq!(server.events(), 1);
}

/// CVE-2024-38355 (socket.io): an event `error` that nobody handled ended the process.
#[tokio::test]
async fn cve_2024_38355_an_event_named_error_is_an_event() {
    let server = Server::new();
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40"]).await;
    client.until("40").await;
    assert_eq!(client.send(&[r#"42["error","crash"]"#]).await, StatusCode::OK);
    server.of("/").on("error", async || "an event like others");
    client.send(&[r#"420["error","crash"]"#]).await;
    assert_eq!(client.until("430").await, [r#"430["an event like others"]"#]);
    let reserving = counting();
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert!(reserving.closes_upon(&[&format!(r#"42["{name}"]"#)]).await, "{name} is the server's to say");
    }
}

/// CVE-2026-33151 (socket.io-parser): any number of attachments was waited for.
#[tokio::test]
async fn cve_2026_33151_attachments_are_bounded_in_number() {
    let server = counting();
    let no_binary_event = r#"411-["x",{"_placeholder":true,"num":0}]"#;
    assert!(server.closes_upon(&[no_binary_event, "bAQ=="]).await, "no binary event, but attachments");
    let of = |count: usize| {
        let placeholders = (0..count).map(|number| format!(r#",{{"_placeholder":true,"num":{number}}}"#));
        format!(r#"45{count}-["x"{}]"#, placeholders.collect::<String>())
    };
    assert!(!server.closes_upon(&[&of(10)]).await);
    assert!(server.closes_upon(&[&of(11)]).await);
    assert!(server.closes_upon(&[r#"4599999999999999999999-["x",{"_placeholder":true,"num":0}]"#]).await);
    assert_eq!(server.events(), 0);
}

/// CVE-2026-69185 (socket.io-parser): a count of no attachments got round the limit.
#[tokio::test]
async fn cve_2026_69185_a_binary_packet_has_attachments() {
    let server = counting();
    for count in ["0-", "-", "", "-1-", "1"] {
        assert!(
            server.closes_upon(&[&format!(r#"45{count}["x",{{"_placeholder":true,"num":0}}]"#), "bAQ=="]).await,
            "{count}"
        );
    }
    assert_eq!(server.events(), 0);
}

/// GHSA-55mf-67qm-4wpg (socketioxide): attachments were bounded neither in bytes nor in time.
#[tokio::test(start_paused = true)]
async fn ghsa_55mf_67qm_4wpg_attachments_are_bounded_in_bytes_and_time() {
    let server = Counting::with(Config { max_attachment_bytes: 10, ..Config::default() });
    let two = r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert!(server.closes_upon(&[two, "bAQIDBAUG", "bAQIDBAUG"]).await);
    let waiting = server.joined().await;
    waiting.send(&[two]).await;
    // Neither heartbeats, which the client answers, nor the first attachment put the end off.
    for second in 0..70 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        waiting.send(&[if second == 50 { "bAQ==" } else { "3" }]).await;
    }
    assert!(waiting.is_closed().await);
    assert_eq!((server.server.metrics().attachment_timeouts, server.events()), (1, 0));
}

/// GHSA-c6g7-r2mf-pf5g (socketioxide): deeply nested MessagePack overflowed the stack.
#[tokio::test]
async fn ghsa_c6g7_r2mf_pf5g_deep_nesting_is_refused() {
    let server = Counting::with(Config { parser: Parser::MessagePack, ..Config::default() });
    let mut client = server.server.test_client().connect().await.unwrap();
    let fitting = (0..60).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    client.emit("x", fitting).await.unwrap();
    assert_eq!(server.events(), 1);
    let deep = (0..70).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let refused = client.emit("x", deep).await.is_err() || !client.is_connected();
    assert!(refused && server.events() == 1);
    let raw = Raw::open(&server.server, Revision::V4).await;
    let mut packet = b"\x82\xa4type\x02\xa4data".to_vec();
    packet.resize(500_000, 0x91);
    let packet = format!("b{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, packet));
    raw.send(&[&packet]).await;
    assert!(raw.is_closed().await);
    assert!(server.server.test_client().connect().await.is_ok());
}

/// GHSA-7xpx-rcqc-8qjh (socketioxide #796, #797): truncated MessagePack, and lengths beyond its end, panicked.
#[tokio::test]
async fn ghsa_7xpx_rcqc_8qjh_truncated_message_pack_closes_its_connection_alone() {
    let server = Counting::with(Config { parser: Parser::MessagePack, ..Config::default() });
    for packet in [
        &b""[..],
        b"\x83",
        b"\x83\xa4type",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xdb\xff\xff\xff\xffx",
        b"\x81\xa4type\xd9",
        b"\xc1",
    ] {
        let raw = Raw::open(&server.server, Revision::V4).await;
        let text = format!("b{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, packet));
        raw.send(&[&text]).await;
        assert!(raw.is_closed().await, "{packet:x?}");
    }
    assert!(server.server.test_client().connect().await.is_ok());
    // A panic would close the connection too, but not be counted as a fault of the client's.
    assert_eq!(server.server.metrics().protocol_violations, 7);
}

/// socketioxide #794: truncated packets, and such with characters of several bytes, panicked.
#[tokio::test]
async fn socketioxide_794_truncated_and_multibyte_packets_are_harmless() {
    let server = counting();
    for packet in ["4", "4é", "42é", "42/é", "42/é,", "451", "45é-[]", "42[\"é", "43é[]", "4é1[]", "41/é"] {
        assert!(server.closes_upon(&[packet]).await, "{packet}");
    }
}

/// socketioxide #801: a second CONNECT ran the handlers again.
#[tokio::test]
async fn socketioxide_801_a_second_connect_runs_no_handler_again() {
    let server = counting();
    let client = server.joined().await;
    client.send(&["40"]).await;
    assert!(client.is_closed().await);
    assert_eq!(server.connects.load(Ordering::SeqCst), 1);
    for packet in [r#"42/nowhere,["x"]"#, "41/nowhere,", "44", "40[]", r#"40"x""#, "41{}", "42[]", "42{}", "431{}"] {
        assert!(server.closes_upon(&[packet]).await, "{packet}");
    }
}

/// socketioxide #811: a text packet within a binary packet was taken for the next one.
#[tokio::test]
async fn socketioxide_811_nothing_comes_between_a_packet_and_its_attachments() {
    let server = counting();
    let header = r#"451-["x",{"_placeholder":true,"num":0}]"#;
    assert!(server.closes_upon(&[header, r#"42["y"]"#, "bAQ=="]).await);
    assert!(server.closes_upon(&["bAQ=="]).await, "an attachment of nothing");
    assert_eq!(server.events(), 0);
}

/// socketioxide #813: a broadcast to several rooms reached a socket as often as it was in them.
#[tokio::test]
async fn socketioxide_813_a_broadcast_to_several_rooms_arrives_once() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    root.socket(client.sid()).unwrap().join(["a", "b", "c"]).unwrap();
    root.to(["a", "b"]).to("c").to(client.sid()).emit("once", ()).unwrap();
    assert_eq!(client.received().len(), 1);
}

/// socketioxide #820: acknowledgements that timed out were kept.
#[tokio::test(start_paused = true)]
async fn socketioxide_820_acknowledgements_that_timed_out_are_forgotten() {
    let server = Server::builder().config(Config { max_pending_acks: 1, ..Config::default() }).build();
    let root = server.of("/");
    let client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    for _ in 0..10 {
        let late = socket.timeout(Duration::from_secs(1)).emit_with_ack::<()>("q", ()).await;
        assert!(matches!(late, Err(sockeye::AckError::TimedOut)), "{late:?}");
        let gathered = root.timeout(Duration::from_secs(1)).emit_with_ack::<()>("q", ()).unwrap().collect().await;
        assert_eq!(gathered.missing.len(), 1);
    }
    assert_eq!(server.metrics().acks_limited, 0);
}

/// socketioxide #312: removing a namespace within a disconnect handler locked the server up.
#[test]
fn socketioxide_312_handlers_may_use_the_server_as_they_like() {
    in_time(meddling());
}

/// Has every place where code of the user's runs use whatever a server has locks for.
async fn meddling() {
    let config =
        Config { cleanup_empty_child_namespaces: true, recovery: Some(RecoveryConfig::default()), ..Config::default() };
    let server = Server::builder().config(config).build();
    let (happened, mut happenings) = tokio::sync::mpsc::unbounded_channel();
    let meddle = {
        let (server, made) = (server.clone(), Arc::new(AtomicUsize::new(0)));
        move |place: &'static str| {
            server.of(&format!("/made-{}", made.fetch_add(1, Ordering::SeqCst))).on("x", async || ());
            server.of_matching(sockeye::matching("/more-*"));
            server.on_new_namespace(|_| ());
            for namespace in [server.of("/"), server.of("/room-1")] {
                namespace.emit("news", ()).unwrap();
                for socket in namespace.everyone().sockets() {
                    socket.join("meddlers").unwrap();
                    socket.to("meddlers").emit("news", ()).unwrap();
                    // One that is leaving takes nothing more.
                    let _leaving = socket.emit("news", ());
                }
            }
            happened.send(place).unwrap();
        }
    };
    let place = |name: &'static str| {
        let meddle = meddle.clone();
        move || {
            meddle(name);
            ready(())
        }
    };
    let made = meddle.clone();
    server.on_new_namespace(move |namespace| {
        if namespace.name() == "/room-1" {
            made("new namespace");
        }
    });
    let rooms = server.of_matching(sockeye::matching("/room-*"));
    rooms.middleware(place("middleware")).on_connect(place("connect")).on("event", place("event"));
    rooms.on_disconnect(place("disconnect"));
    let (observed, failed) = (meddle.clone(), meddle.clone());
    rooms.on("fails", async || Err::<(), _>("as asked for".into()));
    rooms.on_error(move |_| failed("error"));
    server.on_new_namespace(move |namespace| {
        let (observed, room_changed) = (observed.clone(), observed.clone());
        namespace.on_any_outgoing(move |_, name, _| {
            if name == "observed" {
                observed("outgoing");
            }
        });
        namespace.on_room_event(move |event| match event {
            RoomEvent::Joined(room, _) if **room == *"watched" => room_changed("room joined"),
            RoomEvent::Left(room, _) if **room == *"watched" => room_changed("room left"),
            _ => {}
        });
    });
    let mut client = server.test_client().namespace("/room-1").connect().await.unwrap();
    client.emit("event", ()).await.unwrap();
    client.emit("fails", ()).await.unwrap();
    let room = server.of("/room-1");
    room.emit("observed", ()).unwrap();
    room.socket(client.sid()).unwrap().join("watched").unwrap();
    // It is cut off, comes back, and is put into its rooms again; somebody else keeps the namespace.
    let _other = server.test_client().namespace("/room-1").connect().await.unwrap();
    let claim = serde_json::json!({ "pid": client.pid() });
    drop(client);
    settle().await;
    let mut client = server.test_client().namespace("/room-1").auth(claim).connect().await.unwrap();
    assert!(server.of("/room-1").socket(client.sid()).unwrap().is_recovered());
    client.emit("event", ()).await.unwrap();
    server.of("/room-1").everyone().close_sockets();
    settle().await;
    let mut places = Vec::new();
    while let Ok(place) = happenings.try_recv() {
        places.push(place);
    }
    for (place, times) in [
        ("new namespace", 1),
        ("middleware", 2),
        ("connect", 3),
        ("event", 2),
        ("error", 1),
        ("outgoing", 1),
        ("room joined", 2),
        ("room left", 2),
        ("disconnect", 3),
    ] {
        assert!(places.iter().filter(|happened| **happened == place).count() >= times, "{place}: {places:?}");
    }
}

/// socketioxide #627: a client that was refused stayed in the adapter.
#[tokio::test]
async fn socketioxide_627_a_refused_client_leaves_no_trace() {
    let server = Server::new();
    let root = server.of("/");
    root.on_connect(async |socket: Socket| {
        socket.join("room")?;
        Err("no entry".into())
    });
    assert!(server.test_client().connect().await.is_err());
    settle().await;
    assert!(root.local().is_empty() && root.local().rooms().is_empty());
}

/// socketioxide #232: under load, attachments of one packet were cut apart by other packets.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn socketioxide_232_attachments_stay_together_whoever_emits_meanwhile() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let emitting = (0..4u8).map(|task| {
        let root = root.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                root.emit("e", (task, bytes::Bytes::from(vec![task; 50]), bytes::Bytes::from(vec![task; 5]))).unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    for task in emitting.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let received = client.received();
    assert_eq!(received.len(), 800);
    for event in received {
        let (task, long, short) = event.args.as_args().all::<(u8, bytes::Bytes, bytes::Bytes)>().unwrap();
        assert_eq!((long, short), (vec![task; 50].into(), vec![task; 5].into()));
    }
}
