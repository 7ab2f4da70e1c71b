//! Opening connections to the servers of others: settings, refusals, and what errors say.
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

use process::{SERVERS, node, side_by_side};
use serde_json::json;
use sockeye_client::{ConnectErrorKind, EngineVersion, Manager, ManagerBuilder, Transport};
use support::{TRANSPORTS, eventually, quick};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_socket_io_2_server_reached_by_version_4_is_an_error_that_names_the_version() {
    let server = node(json!({ "version": 2 }));
    let builder = Manager::builder(&server.url()).transports(Transport::WebSocket).retry_first(true);
    let error = timeout(LIMIT, builder.connect()).await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::NoId { .. }), "{error:?}");
}

#[tokio::test]
async fn a_socket_that_leaves_before_connect_arrives_does_not_disturb_other_namespaces() {
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
async fn an_error_hints_at_the_setting_that_is_wrong() {
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
async fn headers_query_cookies_and_auth_reach_the_server() {
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
async fn the_auth_function_is_called_at_every_connect() {
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
async fn connecting_to_a_paused_server_takes_at_most_the_timeout() {
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
async fn the_client_finds_a_server_at_another_path() {
    for (name, start) in SERVERS {
        let server = start(json!({ "options": { "path": "/elsewhere" } }));
        for transports in TRANSPORTS {
            let builder = Manager::builder(&server.url()).path("/elsewhere").transports(transports);
            let socket = builder.connect().await.unwrap();
            assert_eq!(socket.emit_with_ack::<u8>("echo", 1).await.unwrap(), 1, "{name} {transports:?}");
        }
    }
}
