//! The client against the servers of others: the reference implementation in Node.js, and python-socketio.
#[path = "support/process.rs"]
mod process;
mod support;

use std::time::Duration;

use bytes::Bytes;
use process::{Process, node, python};
use serde_json::json;
use sockeye_client::{
    ConnectErrorKind, Data, DisconnectReason, EngineVersion, Events, Manager, ManagerBuilder, ManagerEvent, Parser,
    Reason, Reconnection, Socket, Transport, Value,
};
use support::{Proxy, TRANSPORTS, eventually, quick};

/// The data of the next event `back`.
async fn next_data<T: serde::de::DeserializeOwned>(events: &mut Events) -> T {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        if event.name() == "back" {
            return event.data().unwrap();
        }
    }
}

/// What every server and every combination of settings must do.
async fn exercise(server: &Process, longest: usize, build: impl Fn(ManagerBuilder) -> ManagerBuilder) {
    for transports in TRANSPORTS {
        let manager = build(Manager::builder(&server.url()).transports(transports)).build().unwrap();
        let (root, custom) = (manager.socket("/"), manager.socket("/custom"));
        for socket in [&root, &custom] {
            socket.on("question", async |Data(question): Data<String>| format!("{question} so"));
        }
        manager.connect().await.unwrap();
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
            let long = "x".repeat(longest);
            assert_eq!(socket.emit_with_ack::<String>("echo", &long).await.unwrap(), long);
        }
        if transports.len() == 2 {
            eventually("it moves to WebSocket", || manager.transport() == Some(Transport::WebSocket)).await;
            assert_eq!(root.emit_with_ack::<u8>("echo", &1).await.unwrap(), 1);
        }
        root.disconnect();
        assert_eq!(custom.emit_with_ack::<u8>("echo", &2).await.unwrap(), 2);
        manager.disconnect().await;
    }
}

#[tokio::test]
async fn everything_works_with_the_reference() {
    let server = node(json!({}));
    exercise(&server, 200_000, |builder| builder).await;
}

#[tokio::test]
async fn everything_works_with_message_pack() {
    let server = node(json!({ "msgpack": true }));
    exercise(&server, 200_000, |builder| builder.parser(Parser::MessagePack)).await;
}

#[tokio::test]
async fn everything_works_over_engine_io_3() {
    for settings in [json!({ "version": 2 }), json!({ "options": { "allowEIO3": true } })] {
        let server = node(settings);
        exercise(&server, 200_000, |builder| builder.engine_version(EngineVersion::V3)).await;
    }
}

#[tokio::test]
async fn everything_works_with_python() {
    let server = python(json!({}));
    // It reads no more of a polling request than has come when it looks.
    exercise(&server, 10_000, |builder| builder).await;
    refusals_are_told(&server).await;
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
async fn refusals_of_the_reference_are_told() {
    let server = node(json!({}));
    refusals_are_told(&server).await;
}

#[tokio::test]
async fn hints_tell_what_is_wrong() {
    let websocket_only = node(json!({ "options": { "transports": ["websocket"] } }));
    let old = node(json!({ "version": 2 }));
    let hint = async |builder: ManagerBuilder| builder.connect().await.unwrap_err().to_string();
    let text = hint(Manager::builder(&websocket_only.url())).await;
    assert!(text.contains("status 400") && text.contains("Transport unknown"), "{text}");
    assert!(text.contains("try `transports(Transport::WebSocket)`"), "{text}");
    assert!(
        Manager::builder(&websocket_only.url())
            .try_all(true)
            .transports([Transport::Polling, Transport::WebSocket])
            .connect()
            .await
            .is_ok()
    );
    let text = hint(Manager::builder(&old.url())).await;
    assert!(text.contains("`engine_version`"), "{text}");
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Manager::builder(&websocket_only.url()).engine_version(EngineVersion::V3);
        let text = hint(builder.transports(transport)).await;
        assert!(text.contains("engine_version") || text.contains("Transport unknown"), "{transport}: {text}");
    }
}

#[tokio::test]
async fn headers_query_cookies_and_auth_arrive() {
    let server = node(json!({ "options": { "cookie": true } }));
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Manager::builder(&format!("{}/custom?a=1", server.url())).query("b", "x y");
        let builder = builder.header("X-Test", "yes").cookie("c", "2").auth(json!({ "token": "t" }));
        let socket = builder.transports(transport).connect().await.unwrap();
        assert_eq!(socket.namespace(), "/custom");
        let request: serde_json::Value = socket.emit_with_ack("request", ()).await.unwrap();
        assert_eq!((&request["query"]["a"], &request["query"]["b"]), (&json!("1"), &json!("x y")));
        assert_eq!((&request["headers"]["x-test"], &request["headers"]["cookie"]), (&json!("yes"), &json!("c=2")));
        assert_eq!(socket.emit_with_ack::<serde_json::Value>("auth", ()).await.unwrap(), json!({ "token": "t" }));
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_is_found_again() {
    let mut server = node(json!({}));
    for transports in TRANSPORTS {
        let socket = quick(Manager::builder(&server.url())).transports(transports).connect().await.unwrap();
        let mut events = socket.events();
        let port = server.address.port();
        drop(server);
        eventually("the loss is noticed", || !socket.is_connected()).await;
        for number in 0..500 {
            socket.emit("back", number).unwrap();
        }
        server = node(json!({ "port": port }));
        for number in 0..500 {
            assert_eq!(next_data::<u32>(&mut events).await, number);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_paused_is_found_dead_and_found_again() {
    let server = node(json!({ "options": { "pingInterval": 200, "pingTimeout": 200 } }));
    for transports in TRANSPORTS {
        let manager = quick(Manager::builder(&server.url())).transports(transports).build().unwrap();
        let socket = manager.socket("/");
        let (sender, mut reasons) = tokio::sync::mpsc::unbounded_channel();
        socket.on_disconnect(move |Reason(reason): Reason| {
            let sender = sender.clone();
            async move { sender.send(reason).unwrap() }
        });
        socket.connect().await.unwrap();
        server.signal("STOP");
        let reason = tokio::time::timeout(Duration::from_secs(10), reasons.recv()).await;
        server.signal("CONT");
        assert_eq!(reason.unwrap(), Some(DisconnectReason::PingTimeout), "{transports:?}");
        let mut events = socket.events();
        socket.emit("back", "kept").unwrap();
        assert_eq!(next_data::<String>(&mut events).await, "kept");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_upgrade_is_cut() {
    let server = node(json!({}));
    let proxy = Proxy::to(server.address).await;
    // The handshake of the WebSocket, and the probe on it.
    for text in ["transport=websocket", "2probe"] {
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
            match stages.next().await.unwrap() {
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
    let delay = Duration::from_millis(500);
    let builder = Manager::builder(&proxy.url()).reconnection(Reconnection { delay, ..Reconnection::default() });
    let socket: Socket = builder.transports(Transport::WebSocket).connect().await.unwrap();
    let mut events = socket.events();
    let id = socket.id();
    assert!(!socket.is_recovered());
    socket.emit("back", 1).unwrap();
    assert_eq!(next_data::<u32>(&mut events).await, 1);
    // The server emits while nobody listens.
    socket.emit("later", (2, 100)).unwrap();
    socket.flushed().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.cut();
    eventually("the loss is noticed", || !socket.is_connected()).await;
    eventually("the socket is connected again", || socket.is_connected()).await;
    assert!(socket.is_recovered());
    assert_eq!(socket.id(), id);
    assert_eq!(next_data::<u32>(&mut events).await, 2);
    socket.emit("back", 3).unwrap();
    assert_eq!(next_data::<u32>(&mut events).await, 3);
}
