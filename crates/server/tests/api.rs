//! The verbs that have no other test: what is known of a socket, commands to many, broadcasts' answers as a stream, closing.
mod support;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_core::Stream;
use sockeye::{
    AckError, Config, EngineConfig, HandshakeRef, Revision, Server, Socket, State, TestClientError, TransportKind,
    Value, adapter::Target,
};
use support::{PATIENCE, Raw, next, settle};
use tokio::sync::mpsc;

#[tokio::test]
async fn the_request_and_the_data_of_a_socket_can_be_read() {
    let server = Server::builder().config(Config { keep_auth: true, ..Config::default() }).build();
    let root = server.of("/");
    assert_eq!(server.connection_count(), 0);
    let client = server
        .test_client()
        .query("room=7&lang=%C3%A9")
        .header("x-token", "secret")
        .auth(serde_json::json!({ "who": "me" }))
        .connect()
        .await
        .unwrap();
    let socket = root.socket(client.sid()).unwrap();
    assert_eq!(socket.handshake().header("x-token"), Some("secret"));
    assert_eq!(socket.handshake().query_value("lang").as_deref(), Some("é"));
    assert_eq!(socket.auth().unwrap().get(), r#"{"who":"me"}"#);
    assert_eq!((socket.transport(), socket.revision()), (TransportKind::Polling, Revision::V4));
    assert_eq!((&**socket.id(), socket.namespace().name()), (client.sid(), "/"));
    assert!(socket.is_connected() && !socket.is_recovered());
    assert_eq!(socket.data(), Value::Null);
    socket.set_data(Value::from("seen by others"));
    assert_eq!(socket.data(), Value::from("seen by others"));
    socket.join("room").unwrap();
    let fetched = root.everyone().fetch_sockets().await.unwrap();
    assert_eq!((&**fetched[0].id(), fetched[0].data()), (client.sid(), &Value::from("seen by others")));
    assert!(fetched[0].rooms().contains(&"room".to_owned()));
    assert_eq!((socket.insert(1u8), *socket.insert(2u8).unwrap(), *socket.extension::<u8>().unwrap()), (None, 1, 2));
    assert_eq!(server.connection_count(), 1);
    client.disconnect().await.unwrap();
    assert!(!socket.is_connected());
}

#[tokio::test]
async fn ids_of_socket_io_2_are_made_of_namespace_and_session_and_later_ones_of_neither() {
    let engine = EngineConfig { allow_eio3: true, ..Config::default().engine };
    let server = Server::builder().config(Config { engine, ..Config::default() }).build();
    let other = server.of("/other");
    for (revision, joining) in [(Revision::V3, &["40/other,"][..]), (Revision::V4, &["40", "40/other,"])] {
        let client = Raw::open(&server, revision).await;
        client.send(joining).await;
        client.until("0/other").await;
        let [root, other] = [&server.of("/"), &other].map(|of| of.local().sockets(&Target::default()).remove(0));
        // Clients of Socket.IO 2 put their ids together by themselves, so that the server's must be the same.
        let own = [client.sid().to_owned(), format!("/other#{}", client.sid())];
        let ids = [root.id().to_string(), other.id().to_string()];
        match revision {
            Revision::V3 => assert_eq!(ids, own),
            Revision::V4 => assert!(ids.iter().all(|id| id.len() == 20 && *id != own[0]), "{ids:?} of {own:?}"),
        }
        root.close();
        client.to_the_end().await;
        settle().await;
    }
}

#[tokio::test]
async fn fetched_sockets_take_commands() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let remote = root.everyone().fetch_sockets().await.unwrap().remove(0);
    remote.emit("hello", 1).unwrap();
    assert_eq!(client.receive().await.unwrap().name, "hello");
    remote.join("room");
    assert!(root.socket(client.sid()).unwrap().is_in("room"));
    remote.leave("room");
    assert!(!root.socket(client.sid()).unwrap().is_in("room"));
    remote.disconnect();
    settle().await;
    assert!(!client.is_connected());
}

#[tokio::test]
async fn send_emits_message_and_a_room_can_be_closed() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    socket.join("room").unwrap();
    socket.send(1).unwrap();
    root.send(2).unwrap();
    root.to("room").local_only().send(3).unwrap();
    server.to("room").emit("message", 4).unwrap();
    server.except("room").emit("message", 5).unwrap();
    server.to("another room").emit("message", 6).unwrap();
    root.to("another room").send(7).unwrap();
    let received = client.received();
    let numbers: Vec<u8> = received.iter().map(|event| event.args.as_args().get(0).unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(received.iter().all(|event| event.name == "message"));
    root.to("room").sockets_leave("room");
    assert_eq!(root.local().room_len("room"), 0);
}

#[tokio::test]
async fn the_answers_to_a_broadcast_are_a_stream() {
    let server = Server::new();
    let root = server.of("/");
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.test_client().connect().await.unwrap());
    }
    let mut answers = Box::pin(root.timeout(Duration::from_secs(5)).emit_with_ack::<u8>("vote", ()).unwrap());
    for (number, client) in clients.iter_mut().enumerate().rev() {
        let vote = client.receive().await.unwrap();
        client.acknowledge(&vote, number).await.unwrap();
        let (sid, answer) = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await.unwrap();
        assert_eq!((sid.as_deref(), answer.unwrap()), (Some(client.sid()), number as u8));
        assert_eq!(answers.outstanding(), number);
    }
    assert!(poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await.is_none());
}

#[tokio::test]
async fn handlers_of_a_socket_are_dropped_with_it() {
    let server = Server::new();
    let root = server.of("/");
    let (sender, mut left) = tokio::sync::mpsc::unbounded_channel();
    root.on_connect(move |socket: Socket| {
        let sender = sender.clone();
        socket.on("own", async || "answered");
        socket.on_disconnect(move || {
            sender.send("left").unwrap();
            std::future::ready(())
        });
        std::future::ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("own", ()).await.unwrap(), "answered");
    root.on_fallback(async || "nobody");
    root.socket(client.sid()).unwrap().off("own");
    assert_eq!(client.emit_with_ack::<String>("own", ()).await.unwrap(), "nobody");
    client.disconnect().await.unwrap();
    assert_eq!(next(&mut left).await, "left");
}

#[tokio::test]
async fn a_closed_server_disconnects_every_client_and_admits_none() {
    let server = Server::builder().config(Config::default()).build();
    let (sender, mut left) = tokio::sync::mpsc::unbounded_channel();
    server.of("/").on_disconnect(move |sockeye::Reason(reason): sockeye::Reason| {
        sender.send(reason.as_str()).unwrap();
        std::future::ready(())
    });
    let _client = server.test_client().connect().await.unwrap();
    server.close();
    assert_eq!(next(&mut left).await, "server shutting down");
    assert!(server.test_client().connect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_test_client_learns_at_once_that_the_server_has_closed_its_connection() {
    let server = Server::new();
    let begun = tokio::time::Instant::now();
    let broken = server.test_client().auth(serde_json::json!("no object")).connect().await;
    assert!(matches!(broken, Err(TestClientError::Closed)), "{broken:?}");
    let mut client = server.test_client().connect().await.unwrap();
    server.of("/").everyone().close_sockets();
    let end = client.receive().await;
    assert!(matches!(end, Err(TestClientError::Closed)), "{end:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_test_client_learns_at_once_that_it_was_disconnected_from_its_namespace() {
    let server = Server::new();
    let root = server.of("/");
    root.on("leave", async |socket: Socket| {
        socket.emit("farewell", ()).unwrap();
        socket.disconnect();
    });
    let begun = tokio::time::Instant::now();
    for looks_first in [false, true] {
        let mut client = server.test_client().connect().await.unwrap();
        let asked = client.emit_with_ack::<()>("leave", ()).await;
        assert!(matches!(asked, Err(TestClientError::Closed)), "{asked:?}");
        assert_eq!(client.receive().await.unwrap().name, "farewell");
        let end = client.receive().await;
        assert!(matches!(end, Err(TestClientError::Closed)), "{end:?}");
        let mut client = server.test_client().connect().await.unwrap();
        client.emit("leave", ()).await.unwrap();
        assert!(!looks_first || !client.is_connected());
        assert_eq!(client.receive().await.unwrap().name, "farewell");
        let end = client.receive().await;
        assert!(matches!(end, Err(TestClientError::Closed)), "{end:?}");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_test_client_answers_pings_whatever_it_is_asked() {
    let server = Server::new();
    let mut client = server.test_client().connect().await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(client.received().is_empty());
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(client.is_connected());
    }
    for _ in 0..10 {
        let nothing = client.receive().await;
        assert!(matches!(nothing, Err(TestClientError::TimedOut(_))), "{nothing:?}");
    }
    server.emit("still there", ()).unwrap();
    assert_eq!(client.receive().await.unwrap().name, "still there");
}

#[tokio::test]
async fn a_test_client_joins_a_namespace_that_is_named_without_its_slash() {
    let server = Server::new();
    let chat = server.of("chat");
    let client = server.test_client().namespace("chat").connect().await.unwrap();
    assert!(chat.socket(client.sid()).is_some());
}

#[tokio::test]
async fn a_callback_gets_the_answer_while_later_events_are_handled() {
    let server = Server::new();
    let (sender, mut answers) = mpsc::unbounded_channel();
    let root = server.of("/");
    root.on("start", async move |socket: Socket| {
        socket.emit_with_callback("question", 1, async move |answer: Result<(u8, String), AckError>| {
            sender.send(answer).unwrap();
        });
    });
    root.on("later", async || "handled");
    let mut client = server.test_client().connect().await.unwrap();
    client.emit("start", ()).await.unwrap();
    let question = client.receive().await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("later", ()).await.unwrap(), "handled");
    client.acknowledge(&question, (7, "seven")).await.unwrap();
    assert_eq!(next(&mut answers).await.unwrap(), (7, "seven".to_owned()));

    client.emit("start", ()).await.unwrap();
    client.disconnect().await.unwrap();
    assert!(matches!(next(&mut answers).await, Err(AckError::Disconnected)));
}

#[tokio::test]
async fn a_callback_that_panics_is_counted() {
    let server = Server::new();
    let mut client = server.test_client().connect().await.unwrap();
    let socket = server.of("/").socket(client.sid()).unwrap();
    let (sender, mut called) = mpsc::unbounded_channel::<()>();
    socket.timeout(PATIENCE).emit_with_callback("question", (), async move |_: Result<(), AckError>| {
        let _ends_with_the_callback = sender;
        panic!("as asked for");
    });
    let question = client.receive().await.unwrap();
    client.acknowledge(&question, ()).await.unwrap();
    assert!(called.recv().await.is_none());
    while server.metrics().handler_panics == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn state_that_is_shared_already_is_not_wrapped_again() {
    let visits = Arc::new(Mutex::new(0_u32));
    let server = Server::builder().shared_state(visits.clone()).build();
    server.of("/").on("visit", async |visits: State<Mutex<u32>>| *visits.lock().unwrap() += 1);
    let mut client = server.test_client().connect().await.unwrap();
    client.emit_with_ack::<()>("visit", ()).await.unwrap();
    assert_eq!(*visits.lock().unwrap(), 1);
    assert!(Arc::ptr_eq(&visits, &server.state().unwrap()));
}

#[tokio::test]
async fn a_handshake_serialises_as_that_of_the_reference() {
    let server = Server::builder().config(Config { keep_auth: true, ..Config::default() }).build();
    server.of("/").on("handshake", async |handshake: HandshakeRef| Ok(handshake));
    let builder = server.test_client().query("room=7").header("origin", "https://example.org");
    let mut client = builder.auth(serde_json::json!({ "who": "me" })).connect().await.unwrap();
    let handshake: serde_json::Value = client.emit_with_ack("handshake", ()).await.unwrap();
    let names: Vec<_> = handshake.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"];
    expected.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(handshake["headers"]["origin"], "https://example.org");
    assert_eq!(handshake["query"]["room"], "7");
    assert_eq!(handshake["auth"], serde_json::json!({ "who": "me" }));
    assert_eq!((&handshake["xdomain"], &handshake["secure"]), (&true.into(), &false.into()));
    assert!(handshake["issued"].as_u64().unwrap() > 1_700_000_000_000, "in milliseconds");
    assert!(handshake["time"].as_str().unwrap().ends_with("GMT+0000 (Coordinated Universal Time)"));
}

/// What users must be able to write in signatures of their own.
#[allow(dead_code, clippy::too_many_arguments)]
fn every_type_of_a_public_signature_can_be_named(
    _: sockeye::Message<'_>,
    _: sockeye::Frame,
    _: sockeye::SendError,
    _: sockeye::Map,
    _: sockeye::Number,
    _: sockeye::ArgsRef<'_>,
    _: sockeye::ArgumentError,
    _: sockeye::EncodeError,
    _: sockeye::ValueError,
    _: sockeye::HandlerError,
    _: sockeye::EngineService<impl sockeye::Application>,
    _: &sockeye::Session,
    _: sockeye::handler::FailedEvent<'_>,
    _: sockeye::handler::HandlerFailure,
    _: sockeye::handler::Rejection,
    _: sockeye::adapter::RemoteSocket,
    _: sockeye::adapter::AdapterError,
    _: sockeye::NotFound,
) {
}
