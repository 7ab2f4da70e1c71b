//! Events, acknowledgements and handlers with the servers of others: the reference in Node.js, and python-socketio.
#[path = "support/process.rs"]
mod process;
mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use process::{Process, SERVERS, Start, node, python};
use serde_json::{json, value::RawValue};
use sockeye_client::{
    Ack, AckErrorKind, Args, ConnectErrorKind, Data, EngineVersion, EventName, Manager, ManagerBuilder, Parser, Socket,
    Transport, Value,
};
use support::{Proxy, TRANSPORTS, eventually, next_back};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

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
                assert_eq!(next_back::<u32>(&mut events).await, number, "{transports:?}");
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
async fn all_transports_work_with_the_reference() {
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
async fn all_transports_work_with_python_socketio() {
    let server = python(json!({}));
    exercise(&server, PYTHON, |builder| builder).await;
    refusals_are_told(&server).await;
}

#[tokio::test]
async fn all_transports_work_with_message_pack() {
    for (start, ways) in [(node as Start, REFERENCE), (python, PYTHON)] {
        let server = start(json!({ "msgpack": true }));
        exercise(&server, ways, |builder| builder.parser(Parser::MessagePack)).await;
    }
}

#[tokio::test]
async fn all_transports_work_over_engine_io_3() {
    for (start, settings, ways) in [
        (node as Start, json!({ "version": 2 }), REFERENCE),
        (node, json!({ "options": { "allowEIO3": true } }), REFERENCE),
        (python, json!({ "version": 2 }), PYTHON_4),
    ] {
        let server = start(settings);
        exercise(&server, ways, |builder| builder.engine_version(EngineVersion::V3)).await;
    }
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
async fn a_refusal_of_the_reference_is_an_error() {
    let server = node(json!({}));
    refusals_are_told(&server).await;
}

#[tokio::test]
async fn half_an_emoji_loses_neither_event_nor_connection() {
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
async fn events_before_connect_are_handled_after_it() {
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
async fn missing_acknowledgements_time_out_and_on_any_receives_unknown_events() {
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
async fn a_slow_handler_slows_the_reference_down_and_loses_nothing() {
    a_slow_handler_holds_back(node(json!({}))).await;
}

#[tokio::test]
async fn a_slow_handler_slows_python_socketio_down_and_loses_nothing() {
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
