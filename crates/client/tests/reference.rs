//! The client against the servers of others: the reference implementation in Node.js, and python-socketio.
#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use process::{Process, SERVERS, Start, node, python, side_by_side};
use serde_json::{json, value::RawValue};
use sockeye_client::{
    Ack, AckErrorKind, Args, BufferLimits, ConnectErrorKind, Data, DisconnectReason, EmitErrorKind, EngineVersion,
    EventName, Events, Manager, ManagerBuilder, ManagerEvent, OverflowPolicy, Parser, Reconnection, Socket, Transport,
    Value,
};
use support::{Proxy, TRANSPORTS, disconnects, eventually, quick};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

/// The data of the next event `back`.
async fn next_data<T: serde::de::DeserializeOwned>(events: &mut Events) -> T {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        if event.name() == "back" {
            return event.data().unwrap();
        }
    }
}

/// What differs between the servers, none of which is wrong.
struct Ways {
    /// How many bytes of text an event may have.
    longest: usize,
    /// Whether the sockets of a connection are one to it: they have one id, and all leave with that of the root namespace.
    one_for_all: bool,
}

const REFERENCE: Ways = Ways { longest: 200_000, one_for_all: false };

/// It reads no more of a polling request than has come when it looks.
const PYTHON: Ways = Ways { longest: 10_000, one_for_all: false };

const PYTHON_4: Ways = Ways { one_for_all: true, ..PYTHON };

/// What every server and every combination of settings must do.
async fn exercise(server: &Process, ways: Ways, build: impl Fn(ManagerBuilder) -> ManagerBuilder) {
    for transports in TRANSPORTS {
        let manager = build(Manager::builder(&server.url()).transports(transports)).build().unwrap();
        let (root, custom) = (manager.socket("/"), manager.socket("/custom"));
        root.on("question", async |Data(question): Data<String>| format!("{question} so"));
        custom.on("question", async |socket: Socket, Data(question): Data<String>, answer: Ack| {
            assert!(socket.namespace() == "/custom" && answer.is_wanted());
            answer.send(format!("{question} so")).unwrap();
        });
        timeout(LIMIT, manager.connect()).await.unwrap().unwrap();
        assert!(root.id().is_some() && root.id() != custom.id(), "{transports:?}");
        for socket in [&root, &custom] {
            let mut events = socket.events();
            for number in 0..100 {
                socket.emit("back", number).unwrap();
            }
            for number in 0..100 {
                assert_eq!(next_data::<u32>(&mut events).await, number, "{transports:?}");
            }
            let value: Value =
                [Value::from("ä"), Bytes::from_static(b"\x01\xff").into(), Value::from(1.5)].into_iter().collect();
            assert_eq!(socket.emit_with_ack::<Value>("echo", &value).await.unwrap(), value, "{transports:?}");
            let args = socket.emit_with_ack::<()>("echo", (1, "b")).raw().await.unwrap();
            assert_eq!(args.as_args().all::<(u8, String)>().unwrap(), (1, "b".to_owned()));
            assert_eq!(socket.emit_with_ack::<String>("ask", ()).await.unwrap(), "how? so");
            let long = "x".repeat(ways.longest);
            assert_eq!(socket.emit_with_ack::<String>("echo", &long).await.unwrap(), long);
        }
        let request: serde_json::Value = root.emit_with_ack("request", ()).await.unwrap();
        assert!(request["query"].to_string().contains(transports[0].as_str()), "{transports:?}: {request}");
        match transports {
            [only] => assert_eq!(manager.transport(), Some(*only)),
            _ => eventually("it moves to WebSocket", || manager.transport() == Some(Transport::WebSocket)).await,
        }
        for socket in [&root, &custom] {
            let id: String = socket.emit_with_ack("id", ()).await.unwrap();
            let own = socket.id().unwrap();
            assert!(*own == *id || ways.one_for_all && *own == format!("/custom#{id}"), "{transports:?}: {own}, {id}");
        }
        let (leaving, staying) = if ways.one_for_all { (&custom, &root) } else { (&root, &custom) };
        leaving.disconnect();
        assert_eq!(staying.emit_with_ack::<u8>("echo", &2).await.unwrap(), 2);
        manager.disconnect().await;
    }
}

#[tokio::test]
async fn everything_works_with_the_reference() {
    let server = node(json!({}));
    exercise(&server, REFERENCE, |builder| builder).await;

    // Nobody asks for a WebSocket where the upgrade is off.
    let proxy = Proxy::to(server.address).await;
    proxy.cut_at("transport=websocket");
    let socket = Manager::builder(&proxy.url()).upgrade(false).connect().await.unwrap();
    for number in 0..20 {
        assert_eq!(socket.emit_with_ack::<u8>("echo", number).await.unwrap(), number);
    }
    assert!(!proxy.has_cut());

    // What the server takes in one request is less than what is to be sent at once.
    let server = node(json!({ "options": { "maxHttpBufferSize": 20_000 } }));
    let socket = Manager::builder(&server.url()).transports(Transport::Polling).connect().await.unwrap();
    let long = "x".repeat(9_000);
    let answers: Vec<_> = (0..10).map(|_| socket.emit_with_ack::<String>("echo", &long)).collect();
    for answer in answers {
        assert_eq!(answer.await.unwrap(), long);
    }
}

#[tokio::test]
async fn everything_works_with_python() {
    let server = python(json!({}));
    exercise(&server, PYTHON, |builder| builder).await;
    refusals_are_told(&server).await;
}

#[tokio::test]
async fn everything_works_with_message_pack() {
    for (start, ways) in [(node as Start, REFERENCE), (python, PYTHON)] {
        let server = start(json!({ "msgpack": true }));
        exercise(&server, ways, |builder| builder.parser(Parser::MessagePack)).await;
    }
}

#[tokio::test]
async fn everything_works_over_engine_io_3() {
    for (start, settings, ways) in [
        (node as Start, json!({ "version": 2 }), REFERENCE),
        (node, json!({ "options": { "allowEIO3": true } }), REFERENCE),
        (python, json!({ "version": 2 }), PYTHON_4),
    ] {
        let server = start(settings);
        exercise(&server, ways, |builder| builder.engine_version(EngineVersion::V3)).await;
    }
}

#[tokio::test]
async fn a_server_of_socket_io_2_reached_by_version_4_is_named_and_not_tried_again() {
    let server = node(json!({ "version": 2 }));
    let builder = Manager::builder(&server.url()).transports(Transport::WebSocket).retry_first(true);
    let error = timeout(LIMIT, builder.connect()).await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::NoId { .. }), "{error:?}");
}

async fn refusals_are_told(server: &Process) {
    let manager = Manager::builder(&server.url()).build().unwrap();
    let socket = manager.socket("/refused");
    let error = socket.connect().await.unwrap_err();
    let ConnectErrorKind::Refused(refusal) = error.kind() else { panic!("{error:?}") };
    assert_eq!((refusal.namespace.as_str(), refusal.message.as_str()), ("/refused", "who are you?"));
    assert_eq!(refusal.data::<serde_json::Value>(), Some(json!({ "retry": false })));
    socket.set_auth(json!({ "token": "right" })).unwrap();
    socket.connect().await.unwrap();
    assert_eq!(socket.emit_with_ack::<u8>("echo", &1).await.unwrap(), 1);
}

#[tokio::test]
async fn who_leaves_before_it_is_let_in_leaves_the_other_namespaces_alone() {
    let server = node(json!({}));
    for (round, transports) in TRANSPORTS.into_iter().enumerate() {
        let manager = Manager::builder(&server.url()).transports(transports).build().unwrap();
        let (root, slow) = (manager.socket("/"), manager.socket("/slow"));
        timeout(LIMIT, root.connect()).await.unwrap().unwrap();
        let session = manager.sid();
        let connecting = tokio::spawn({
            let slow = slow.clone();
            async move { slow.connect().await }
        });
        while root.emit_with_ack::<usize>("held", ()).await.unwrap() == 0 {}
        slow.disconnect();
        timeout(LIMIT, connecting).await.unwrap().unwrap().unwrap_err();
        root.emit("let-in", ()).unwrap();
        while root.emit_with_ack::<usize>("left", ()).await.unwrap() == round {}
        assert_eq!(manager.sid(), session, "{transports:?}");
        manager.disconnect().await;
    }
}

#[tokio::test]
async fn refusals_of_the_reference_are_told() {
    let server = node(json!({}));
    refusals_are_told(&server).await;
}

#[tokio::test]
async fn hints_tell_what_is_wrong() {
    for (name, start) in SERVERS {
        let [present, old, without_polling, without_websocket] = side_by_side(
            start,
            [
                json!({}),
                json!({ "version": 2 }),
                json!({ "options": { "transports": ["websocket"] } }),
                json!({ "options": { "transports": ["polling"] } }),
            ],
        );
        for (server, build, words) in [
            (
                &without_polling,
                (|builder| builder) as fn(ManagerBuilder) -> ManagerBuilder,
                ["status 400", "try `transports(Transport::WebSocket)`"],
            ),
            (
                &without_websocket,
                |builder| builder.transports(Transport::WebSocket),
                ["status 400", "try `transports(Transport::Polling)`"],
            ),
            (&old, |builder| builder, ["polling", "`engine_version`"]),
            (&present, |builder| builder.engine_version(EngineVersion::V3), ["status 400", "try `engine_version`"]),
            (
                &present,
                |builder| builder.engine_version(EngineVersion::V3).transports(Transport::WebSocket),
                ["status 400", "try `engine_version`"],
            ),
            (&present, |builder| builder.path("/elsewhere"), ["status 404", "check `path`"]),
        ] {
            let error = build(Manager::builder(&server.url())).connect().await.unwrap_err();
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{name}: {words:?} in {text}");
        }
        let socket = Manager::builder(&present.url()).build().unwrap().socket("/nowhere");
        let text = socket.connect().await.unwrap_err().to_string();
        assert!(text.contains("/nowhere") && text.contains("has no namespace of this name"), "{name}: {text}");
        let both = Manager::builder(&without_polling.url()).transports([Transport::Polling, Transport::WebSocket]);
        both.try_all(true).connect().await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn headers_query_cookies_and_auth_arrive() {
    for (name, start) in SERVERS {
        let server = start(json!({ "options": { "cookie": { "name": "io" } } }));
        for transport in [Transport::Polling, Transport::WebSocket] {
            let builder = quick(Manager::builder(&format!("{}/custom?a=1", server.url()))).query("b", "x y");
            let builder = builder.header("X-Test", "yes").cookie("c", "2").auth(json!({ "token": "t" }));
            let socket = builder.transports(transport).connect().await.unwrap();
            assert_eq!(socket.namespace(), "/custom");
            let request: serde_json::Value = socket.emit_with_ack("request", ()).await.unwrap();
            assert_eq!((&request["query"]["a"], &request["query"]["b"]), (&json!("1"), &json!("x y")), "{name}");
            let headers = &request["headers"];
            assert_eq!((&headers["x-test"], &headers["cookie"]), (&json!("yes"), &json!("c=2")), "{name}");
            assert_eq!(socket.emit_with_ack::<serde_json::Value>("auth", ()).await.unwrap(), json!({ "token": "t" }));
            // A cookie that the server has set comes back with the next connection; both set it when they poll.
            if transport == Transport::Polling {
                let id = socket.id();
                socket.emit("drop", ()).unwrap();
                eventually("it is connected again", || socket.is_connected() && socket.id() != id).await;
                let request: serde_json::Value = socket.emit_with_ack("request", ()).await.unwrap();
                let cookie = request["headers"]["cookie"].as_str().unwrap();
                assert!(cookie.contains("c=2") && cookie.contains("io="), "{name}: {cookie}");
            }
        }
    }
}

#[tokio::test]
async fn half_an_emoji_costs_neither_event_nor_connection() {
    // So JavaScript writes a string that it has cut, and both servers write it so again.
    let half = RawValue::from_string(r#""hi \ud83d""#.to_owned()).unwrap();
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let socket = Manager::builder(&server.url()).connect().await.unwrap();
        let mut events = socket.events();
        let answer = socket.emit_with_ack::<()>("echo", &half).raw().await.unwrap();
        assert_eq!(answer.as_args().raw(0).unwrap().get(), half.get(), "{name}");
        assert_eq!(answer.as_args().get::<String>(0).unwrap(), "hi \u{fffd}", "{name}");
        socket.emit("back", (&half, Bytes::from_static(b"\xff"))).unwrap();
        let event = loop {
            let event = timeout(LIMIT, events.next()).await.unwrap().unwrap();
            if event.name() == "back" {
                break event;
            }
        };
        let expected = ("hi \u{fffd}".to_owned(), Bytes::from_static(b"\xff"));
        assert_eq!(event.args::<(String, Bytes)>().unwrap(), expected, "{name}");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_upgrade_is_cut() {
    // The handshake of the WebSocket, and the probe on it, without which python-socketio gives up the session.
    for (start, text) in [(node as Start, "transport=websocket"), (node, "2probe"), (python, "transport=websocket")] {
        let server = start(json!({}));
        let proxy = Proxy::to(server.address).await;
        proxy.cut_at(text);
        let socket = quick(Manager::builder(&proxy.url())).build().unwrap().socket("/");
        let mut stages = socket.manager().events();
        let mut events = socket.events();
        for number in 0..300 {
            socket.emit("back", number).unwrap();
        }
        socket.connect().await.unwrap();
        for number in 0..600 {
            if number < 300 {
                socket.emit("back", 300 + number).unwrap();
            }
            assert_eq!(next_data::<u32>(&mut events).await, number, "{text}");
        }
        assert!(proxy.has_cut(), "{text}");
        loop {
            match timeout(LIMIT, stages.next()).await.unwrap().unwrap() {
                ManagerEvent::UpgradeFailed => break,
                ManagerEvent::Closed { .. } | ManagerEvent::Upgraded => panic!("polling goes on"),
                _ => {}
            }
        }
        assert_eq!(socket.manager().transport(), Some(Transport::Polling));
    }
}

#[tokio::test]
async fn the_state_of_a_lost_connection_is_recovered() {
    let server = node(json!({ "options": { "connectionStateRecovery": {} } }));
    let proxy = Proxy::to(server.address).await;
    let manager = quick(Manager::builder(&proxy.url())).transports(Transport::WebSocket).build().unwrap();
    let socket = manager.socket("/");
    let (sender, mut told) = mpsc::unbounded_channel();
    let connected = sender.clone();
    socket.on_connect(move |socket: Socket| {
        let connected = connected.clone();
        async move { connected.send(format!("recovered {}", socket.is_recovered())).unwrap() }
    });
    socket.on("back", move |Data(text): Data<String>| {
        let sender = sender.clone();
        async move { sender.send(text).unwrap() }
    });
    socket.connect().await.unwrap();
    let id = socket.id();
    socket.emit("back", "one").unwrap();
    // The server sends this when nobody listens, and again before it sends CONNECT to whom it recovers.
    socket.emit_with_ack::<()>("echo", ()).await.unwrap();
    socket.emit("after-me", "two").unwrap();
    socket.emit_with_ack::<()>("echo", ()).await.unwrap();
    proxy.cut();
    let mut all = Vec::new();
    while all.len() < 4 {
        all.push(timeout(LIMIT, told.recv()).await.unwrap().unwrap());
    }
    assert_eq!(all, ["recovered false", "one", "recovered true", "two"]);
    assert_eq!(socket.id(), id);

    // More than may wait comes before CONNECT.
    let builder = quick(Manager::builder(&proxy.url())).transports(Transport::WebSocket).receive_buffer(1_000);
    let socket = builder.connect().await.unwrap();
    let mut stages = socket.manager().events();
    socket.emit("back", "one").unwrap();
    socket.emit("after-me", "x".repeat(2_000)).unwrap();
    socket.emit_with_ack::<()>("echo", ()).await.unwrap();
    proxy.cut();
    let detail = loop {
        let stage = timeout(LIMIT, stages.next()).await.unwrap().unwrap();
        if let ManagerEvent::Closed { reason: DisconnectReason::ParseError, detail } = stage {
            break detail.unwrap();
        }
    };
    assert!(detail.contains("`receive_buffer`"), "{detail}");
    // It would be too much again, so that it starts anew, and says so.
    eventually("it is connected again", || socket.is_connected()).await;
    assert!(!socket.is_recovered());
}

#[tokio::test]
async fn a_late_answer_is_not_taken_for_one_to_another_question() {
    // python-socketio numbers what it asks of a client anew for each connection.
    let server = python(json!({}));
    let proxy = Proxy::to(server.address).await;
    let socket = quick(Manager::builder(&proxy.url())).connect().await.unwrap();
    let (sender, mut questions) = mpsc::unbounded_channel();
    socket.on("question", move |ack: Ack| {
        sender.send(ack).unwrap();
        std::future::ready(())
    });
    let id = socket.id();
    let lost = tokio::spawn(socket.emit_with_ack::<String>("ask", ()));
    let first = timeout(LIMIT, questions.recv()).await.unwrap().unwrap();
    proxy.cut();
    lost.await.unwrap().unwrap_err();
    eventually("it is connected again", || socket.is_connected() && socket.id() != id).await;
    let answer = tokio::spawn(socket.emit_with_ack::<String>("ask", ()));
    let second = timeout(LIMIT, questions.recv()).await.unwrap().unwrap();
    assert!(matches!(first.send("late").unwrap_err().kind(), EmitErrorKind::Disconnected { .. }));
    second.send("in time").unwrap();
    assert_eq!(timeout(LIMIT, answer).await.unwrap().unwrap().unwrap(), "in time");
}

#[tokio::test]
async fn a_server_without_recovery_starts_anew() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let proxy = Proxy::to(server.address).await;
        let socket = quick(Manager::builder(&proxy.url())).connect().await.unwrap();
        let id = socket.id();
        proxy.cut();
        eventually("it is connected again", || socket.is_connected() && socket.id() != id).await;
        assert!(!socket.is_recovered(), "{name}");
        assert_eq!(socket.emit_with_ack::<u8>("echo", 1).await.unwrap(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_comes_before_connect_is_handled_after_it() {
    // What python-socketio's connect handler emits comes before CONNECT, what the reference's emits comes behind it.
    for (name, start) in SERVERS {
        let server = start(json!({}));
        for transports in TRANSPORTS {
            let manager = Manager::builder(&server.url()).transports(transports).build().unwrap();
            let socket = manager.socket("/");
            let (sender, mut told) = mpsc::unbounded_channel();
            let connected = sender.clone();
            socket.on_connect(move |socket: Socket| {
                let connected = connected.clone();
                async move { connected.send(format!("connected as {}", socket.id().unwrap())).unwrap() }
            });
            socket.on("hello", move |Data(id): Data<String>| {
                let sender = sender.clone();
                async move { sender.send(format!("hello {id}")).unwrap() }
            });
            let mut events = socket.events();
            socket.connect().await.unwrap();
            let id = socket.id().unwrap();
            for expected in [format!("connected as {id}"), format!("hello {id}")] {
                let next = timeout(LIMIT, told.recv()).await.unwrap();
                assert_eq!(next, Some(expected), "{name} {transports:?}");
            }
            assert_eq!(timeout(LIMIT, events.next()).await.unwrap().unwrap().name(), "hello", "{name} {transports:?}");
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_server_that_starts_later_arrives_in_order() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let (url, port) = (server.url(), server.address.port());
        drop(server);
        let socket = quick(Manager::builder(&url)).retry_first(true).build().unwrap().socket("/");
        let mut stages = socket.manager().events();
        let acks: Vec<_> = (0..100).map(|number| socket.emit_with_ack::<u32>("seq", number)).collect();
        let connecting = tokio::spawn({
            let socket = socket.clone();
            async move { socket.connect().await }
        });
        while !matches!(timeout(LIMIT, stages.next()).await.unwrap().unwrap(), ManagerEvent::ConnectFailed(_)) {}
        let server = start(json!({ "port": port }));
        timeout(LIMIT, connecting).await.unwrap().unwrap().unwrap();
        for (number, ack) in (0..100).zip(acks) {
            assert_eq!(timeout(LIMIT, ack).await.unwrap().unwrap(), number, "{name}");
        }
        eventually("the server has said everything", || server.handled().len() == 100).await;
        assert!(server.handled().into_iter().eq(0..100), "{name}: {:?}", server.handled());
    }
}

#[tokio::test]
async fn a_paused_server_is_waited_for_as_long_as_told() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        for transport in [Transport::Polling, Transport::WebSocket] {
            let limit = Duration::from_millis(100);
            let builder = || Manager::builder(&server.url()).transports(transport);
            server.signal("STOP");
            let error = timeout(LIMIT, builder().timeout(limit).connect()).await.unwrap().unwrap_err();
            assert!(
                matches!(error.kind(), ConnectErrorKind::TimedOut { timeout, .. } if *timeout == limit),
                "{error:?}"
            );
            let mut waiting = Box::pin(builder().connect());
            assert!(timeout(limit, &mut waiting).await.is_err(), "{name} {transport}: nobody is there to answer");
            server.signal("CONT");
            let socket = timeout(LIMIT, waiting).await.unwrap().unwrap();
            assert_eq!(socket.emit_with_ack::<u8>("echo", 1).await.unwrap(), 1, "{name} {transport}");
        }
    }
}

#[tokio::test]
async fn authentication_is_asked_for_at_every_connect() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let manager = quick(Manager::builder(&server.url())).build().unwrap();
        let socket = manager.socket("/custom");
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        socket.set_auth_with(move || {
            let call = count.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, std::io::Error>(json!({ "call": call })) }
        });
        socket.connect().await.unwrap();
        for call in 0..3 {
            let auth: serde_json::Value = socket.emit_with_ack("auth", ()).await.unwrap();
            assert_eq!(auth, json!({ "call": call }), "{name}");
            socket.emit("drop", ()).unwrap();
            let again = || calls.load(Ordering::SeqCst) == call + 2 && socket.is_connected();
            eventually("it is connected again", again).await;
        }
    }
}

#[tokio::test]
async fn answers_that_do_not_come_time_out_and_unknown_events_are_caught() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let manager = Manager::builder(&server.url()).build().unwrap();
        let socket = manager.socket("/");
        let (sender, mut caught) = mpsc::unbounded_channel();
        socket.on_any(move |EventName(event): EventName, Args((number, text)): Args<(u8, String)>| {
            let sender = sender.clone();
            async move { sender.send((event, number, text)).unwrap() }
        });
        socket.connect().await.unwrap();
        let limit = Duration::from_millis(50);
        let error = socket.timeout(limit).emit_with_ack::<()>("silence", ()).await.unwrap_err();
        assert_eq!(error.kind(), &AckErrorKind::TimedOut(limit), "{name}");
        // What is volatile is sent while the connection has nothing else to do.
        socket.flushed().await;
        socket.volatile().emit("back", (1, "a")).unwrap();
        assert_eq!(timeout(LIMIT, caught.recv()).await.unwrap().unwrap(), ("back".into(), 1, "a".into()), "{name}");
    }
}

#[tokio::test]
async fn what_waits_offline_is_bounded_as_told() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let build = |policy| {
            let limits = BufferLimits { packets: 3, policy, ..BufferLimits::default() };
            Manager::builder(&server.url()).send_buffer(limits).build().unwrap().socket("/")
        };
        let socket = build(OverflowPolicy::Reject);
        (0..3).for_each(|number| socket.emit("seq", number).unwrap());
        let error = socket.emit("seq", 3).unwrap_err();
        assert_eq!(error.kind(), &EmitErrorKind::BufferFull { namespace: "/".to_owned() }, "{name}");
        socket.volatile().emit("seq", 4).unwrap();
        assert_eq!(socket.buffered(), 3);
        socket.connect().await.unwrap();
        assert_eq!(socket.emit_with_ack::<u32>("seq", 5).await.unwrap(), 5);
        eventually("what waited arrives", || server.handled() == [0, 1, 2, 5]).await;

        let socket = build(OverflowPolicy::DropOldest);
        let dropped = socket.emit_with_ack::<u32>("seq", 10);
        (11..14).for_each(|number| socket.emit("seq", number).unwrap());
        assert_eq!(dropped.await.unwrap_err().kind(), &AckErrorKind::Dropped);
        socket.connect().await.unwrap();
        eventually("the latest arrive", || server.handled() == [0, 1, 2, 5, 11, 12, 13]).await;
    }
}

#[tokio::test]
async fn every_end_has_its_reason() {
    let ends = [
        ("leave", DisconnectReason::ServerDisconnect),
        ("drop", DisconnectReason::TransportClose),
        ("garbage", DisconnectReason::ParseError),
        ("", DisconnectReason::ClientDisconnect),
    ];
    for (name, start) in SERVERS {
        let server = start(json!({}));
        for (transport, (event, expected)) in [Transport::Polling, Transport::WebSocket]
            .into_iter()
            .flat_map(|transport| ends.map(|end| (transport, end)))
        {
            let manager = quick(Manager::builder(&server.url())).transports(transport).build().unwrap();
            let socket = manager.socket("/");
            let mut reasons = disconnects(&socket);
            socket.connect().await.unwrap();
            let unanswered = socket.emit_with_ack::<()>("silence", ());
            if event.is_empty() {
                socket.disconnect();
            } else {
                socket.emit(event, ()).unwrap();
            }
            assert_eq!(timeout(LIMIT, reasons.recv()).await.unwrap(), Some(expected), "{name} {event} by {transport}");
            let error = timeout(LIMIT, unanswered).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), &AckErrorKind::Disconnected, "{name} {event} by {transport}");
            if expected.is_temporary() {
                eventually("it is connected again", || socket.is_connected()).await;
            } else {
                eventually("the connection is closed", || !manager.is_open()).await;
                assert!(!socket.is_active(), "{name} {event} by {transport}");
            }
        }
        let proxy = Proxy::to(server.address).await;
        let socket = quick(Manager::builder(&proxy.url())).transports(Transport::Polling).build().unwrap().socket("/");
        let mut reasons = disconnects(&socket);
        socket.connect().await.unwrap();
        // A request that is only just about to be made is not cut the first time.
        let broken = async {
            loop {
                proxy.cut();
                if let Ok(reason) = timeout(Duration::from_millis(100), reasons.recv()).await {
                    break reason;
                }
            }
        };
        assert_eq!(timeout(LIMIT, broken).await.unwrap(), Some(DisconnectReason::TransportError), "{name}");
        eventually("it is connected again", || socket.is_connected()).await;
    }
}

#[tokio::test]
async fn each_stage_of_a_reconnection_is_told_and_no_delay_still_backs_off() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let delay = Duration::ZERO;
        let policy = Reconnection { delay, jitter: 0.0, attempts: Some(4), ..Reconnection::default() };
        let builder = Manager::builder(&server.url()).reconnection(policy).transports(Transport::WebSocket);
        let manager = builder.build().unwrap();
        let mut stages = manager.events();
        let socket = manager.socket("/");
        socket.connect().await.unwrap();
        drop(server);
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != "failed for good") {
            assert!(told.len() < 20, "{told:?}");
            told.push(match timeout(LIMIT, stages.next()).await.unwrap().unwrap() {
                ManagerEvent::Connecting => "connecting".to_owned(),
                ManagerEvent::Open { transport, attempts } => format!("open by {transport} after {attempts}"),
                ManagerEvent::Closed { .. } => "closed".to_owned(),
                ManagerEvent::Reconnecting { attempt, delay } => format!("{attempt} in {delay:?}"),
                ManagerEvent::ConnectFailed(_) => "failed".to_owned(),
                ManagerEvent::ReconnectFailed => "failed for good".to_owned(),
                other => format!("{other:?}"),
            });
        }
        let mut expected = vec!["connecting", "open by websocket after 0", "closed"];
        for delay in ["1 in 0ns", "2 in 100ms", "3 in 200ms", "4 in 400ms"] {
            expected.extend([delay, "connecting", "failed"]);
        }
        expected.push("failed for good");
        assert_eq!(told, expected, "{name}");
        assert!(!socket.is_active());
    }
}

#[tokio::test]
async fn another_path_is_found() {
    for (name, start) in SERVERS {
        let server = start(json!({ "options": { "path": "/elsewhere" } }));
        for transports in TRANSPORTS {
            let builder = Manager::builder(&server.url()).path("/elsewhere").transports(transports);
            let socket = builder.connect().await.unwrap();
            assert_eq!(socket.emit_with_ack::<u8>("echo", 1).await.unwrap(), 1, "{name} {transports:?}");
        }
    }
}

#[tokio::test]
async fn a_slow_handler_holds_the_reference_back_and_loses_nothing() {
    a_slow_handler_holds_back(node(json!({}))).await;
}

#[tokio::test]
async fn a_slow_handler_holds_python_back_and_loses_nothing() {
    a_slow_handler_holds_back(python(json!({}))).await;
}

async fn a_slow_handler_holds_back(server: Process) {
    let proxy = Proxy::to(server.address).await;
    let builder = Manager::builder(&proxy.url()).transports(Transport::WebSocket).receive_buffer(64 * 1024);
    let socket = builder.build().unwrap().socket("/");
    let gate = Arc::new(Semaphore::new(0));
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (closed, log) = (gate.clone(), handled.clone());
    socket.on("drop-of-flood", move |Args((number, _)): Args<(u32, String)>| {
        let (closed, log) = (closed.clone(), log.clone());
        async move {
            drop(closed.acquire().await.unwrap());
            log.lock().push(number);
        }
    });
    socket.connect().await.unwrap();
    let (count, size) = (4_000, 16_384);
    socket.emit("flood", (count, size)).unwrap();
    // Some megabytes fit into the kernel's buffers. That no more comes is seen by watching for a second.
    let (mut before, mut unchanged) = (0, 0);
    while unchanged < 20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = proxy.passed();
        unchanged = if now == before && now > size { unchanged + 1 } else { 0 };
        before = now;
    }
    assert!(before < count * size / 2, "{before} bytes were read while a handler was at work");
    gate.add_permits(1);
    eventually("everything is handled", || handled.lock().len() == count).await;
    assert!(handled.lock().iter().copied().eq(0..count as u32));
}
