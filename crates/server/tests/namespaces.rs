//! Joining, refusing, leaving; rooms and broadcasts; namespaces made for clients.
mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockeye::{
    Auth, Config, ConnectRefusal, Data, DisconnectReason, EmitError, EngineConfig, HandshakeRef, LimitError, Reason,
    RecoveryConfig, Revision, Server, Socket, TestClientError, Value,
    adapter::{RoomEvent, Target},
    matching,
};
use support::{Raw, next, settle};
use tokio::sync::{Semaphore, mpsc};

#[tokio::test]
async fn a_client_is_admitted_after_middleware_and_handler_and_receives_their_events() {
    let server = Server::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let chat = server.of("chat");
    let seen = order.clone();
    chat.middleware(move |socket: Socket| {
        assert!(!socket.is_connected());
        seen.lock().unwrap().push("middleware");
        tokio::task::yield_now()
    });
    let seen = order.clone();
    chat.on_connect(move |socket: Socket, Auth(auth): Auth<serde_json::Value>| {
        seen.lock().unwrap().push("handler");
        async move {
            socket.join("lobby")?;
            Ok(socket.namespace().to("lobby").emit("joined", &auth)?)
        }
    });
    let mut client =
        server.test_client().namespace("/chat").auth(serde_json::json!({"token": "x"})).connect().await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["middleware", "handler"]);
    let joined = client.receive().await.unwrap();
    assert_eq!(joined.args.as_args().get::<serde_json::Value>(0).unwrap(), serde_json::json!({"token": "x"}));
}

#[tokio::test]
async fn every_handler_can_read_the_handshake() {
    let server = Server::new();
    let root = server.of("/");
    root.on_connect(async |handshake: HandshakeRef| match handshake.header("Token") {
        Some("ada") => Ok(()),
        _ => Err("no token".into()),
    });
    root.on("room", async |handshake: HandshakeRef| handshake.query_value("room").unwrap_or_default().into_owned());
    assert!(server.test_client().connect().await.is_err());
    let mut client = server.test_client().header("token", "ada").query("room=a%20b").connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("room", ()).await.unwrap(), "a b");
}

#[tokio::test]
async fn refusals_reach_the_client_and_leave_no_trace() {
    let server = Server::new();
    let disconnected = Arc::new(AtomicUsize::new(0));
    for (name, expected) in [
        ("/error", "no entry"),
        ("/middleware", "no entry"),
        ("/disconnect", "Connection rejected by server"),
        ("/panic", "internal error"),
    ] {
        let namespace = server.of(name);
        let count = disconnected.clone();
        namespace.on_disconnect(move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        });
        let refuse = async || Err::<(), _>(ConnectRefusal::new("no entry").with_data(&serde_json::json!({"code": 7})));
        match name {
            "/error" => namespace.on_connect(refuse),
            "/middleware" => namespace.middleware(refuse),
            "/disconnect" => namespace.on_connect(async |socket: Socket| socket.disconnect()),
            _ => namespace.on_connect(async |socket: Socket| {
                socket.join("somewhere").unwrap();
                assert!(socket.is_connected(), "private");
            }),
        };
        match server.test_client().namespace(name).connect().await {
            Err(TestClientError::Refused { message, data }) => {
                assert_eq!(message, expected);
                let given = expected == "no entry";
                assert_eq!(data, given.then(|| Value::from(serde_json::json!({"code": 7}))), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(namespace.local().is_empty() && namespace.local().rooms().is_empty(), "{name} keeps a refused socket");
    }
    let unknown = server.test_client().namespace("/nowhere").connect().await;
    assert!(matches!(unknown, Err(TestClientError::Refused { message, .. }) if message == "Invalid namespace"));
    assert_eq!(disconnected.load(Ordering::SeqCst), 0);
    assert_eq!(server.metrics().connects_refused, 5);
}

#[tokio::test]
async fn disconnect_handlers_see_reason_and_rooms() {
    let server = Server::new();
    let (sender, mut left) = mpsc::unbounded_channel();
    let root = server.of("/");
    root.on_connect(async |socket: Socket| Ok(socket.join(["a", "b"])?));
    root.on_disconnect(move |socket: Socket, Reason(reason): Reason| {
        let rooms: Vec<String> = socket.rooms().iter().map(|room| room.to_string()).collect();
        sender.send((reason, rooms, socket.is_connected())).unwrap();
        std::future::ready(())
    });
    let client = server.test_client().connect().await.unwrap();
    let sid = client.sid().to_owned();
    client.disconnect().await.unwrap();
    let expected_rooms = vec![sid, "a".into(), "b".into()];
    let (reason, rooms, is_connected) = next(&mut left).await;
    assert_eq!((reason, rooms, is_connected), (DisconnectReason::ClientNamespaceDisconnect, expected_rooms, false));
    assert_eq!(reason.as_str(), "client namespace disconnect");
    let mut client = server.test_client().connect().await.unwrap();
    root.socket(client.sid()).unwrap().disconnect();
    let (reason, ..) = next(&mut left).await;
    assert_eq!((reason, reason.as_str()), (DisconnectReason::ServerNamespaceDisconnect, "server namespace disconnect"));
    assert!(!client.is_connected());
    drop(server.test_client().connect().await.unwrap());
    assert_eq!(next(&mut left).await.0.as_str(), "transport close");
    assert!(root.local().is_empty() && root.local().rooms().is_empty());
}

#[tokio::test]
async fn packets_for_a_namespace_that_was_just_left_are_ignored() {
    let server = Server::new();
    server.of("/").on("echo", async |Data(number): Data<u32>| number);
    server.of("/closed").on_connect(async || Err::<(), _>(ConnectRefusal::new("nobody")));
    for number in 0..20 {
        let namespace = server.of(&format!("/{number}"));
        namespace.on("leave", async |socket: Socket| socket.disconnect());
        namespace.on_disconnect(async |_: Socket| tokio::task::yield_now().await);
    }
    for from_server in [false, true] {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40"]).await;
        for number in 0..20 {
            client.send(&[&format!("40/{number},")]).await;
            client.until(&format!("40/{number},")).await;
            let leave = if from_server { format!(r#"42/{number},["leave"]"#) } else { format!("41/{number},") };
            let late = [r#",["x"]"#, r#",7["x"]"#].map(|event| format!("42/{number}{event}"));
            let others = [format!("43/{number},0[]"), format!("41/{number},")];
            let all: Vec<&str> = [&leave].into_iter().chain(&late).chain(&others).map(String::as_str).collect();
            client.send(&all).await;
            // Once more when nothing is left of the socket.
            client.send(&[r#"420["echo",1]"#]).await;
            client.until("430[1]").await;
            client.send(&all[1..]).await;
            client.send(&[r#"421["echo",2]"#]).await;
            client.until("431[2]").await;
        }
        client.send(&["40/19,"]).await;
        client.until("40/19,").await;
        // So many are not remembered.
        client.send(&[r#"42/0,["x"]"#]).await;
        assert!(client.is_closed().await);
    }
    for never in [r#"42/1,["x"]"#, "41/1,", "43/1,0[]"] {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40", "40/closed,", never]).await;
        assert!(client.is_closed().await, "{never}");
        let refused = never.replace("/1", "/closed");
        for together in [true, false] {
            let client = Raw::open(&server, Revision::V4).await;
            if together {
                client.send(&["40", "40/closed,", &refused]).await;
            } else {
                client.send(&["40", "40/closed,"]).await;
                client.until("44/closed,").await;
                client.send(&[&refused]).await;
            }
            assert!(client.to_the_end().await.iter().any(|packet| packet.starts_with("44/closed,")) || !together);
        }
    }
}

/// In Socket.IO 2 a socket's id is the same each time its client joins.
#[tokio::test]
async fn a_client_of_socket_io_2_that_comes_back_while_a_handler_runs_is_there_once() {
    let engine = EngineConfig { allow_eio3: true, ..EngineConfig::default() };
    let config = Config { engine, cleanup_empty_child_namespaces: true, ..Config::default() };
    let server = Server::builder().config(config).build();
    let rooms = server.of_matching(matching("/room-*"));
    let gate = Arc::new(Semaphore::new(0));
    let wait = gate.clone();
    rooms.on("join", async |socket: Socket, Data(room): Data<String>| socket.join(room).unwrap());
    rooms.on("wait", move |socket: Socket| {
        let wait = wait.clone();
        async move {
            wait.acquire().await.unwrap().forget();
            socket.join("late").unwrap();
            socket.leave("new");
        }
    });
    let (sender, mut left) = mpsc::unbounded_channel();
    rooms.on_disconnect(move |socket: Socket| {
        sender.send(socket.rooms().iter().map(|room| room.to_string()).collect::<Vec<_>>()).unwrap();
        std::future::ready(())
    });
    let client = Raw::open(&server, Revision::V3).await;
    client.until("40").await;
    client.send(&["40/room-1,"]).await;
    client.until("40/room-1").await;
    client.send(&[r#"42/room-1,["join","old"]"#, r#"42/room-1,["wait"]"#, "41/room-1,", "40/room-1,"]).await;
    client.until("40/room-1").await;
    client.send(&[r#"42/room-1,0["join","new"]"#]).await;
    client.until("43/room-1,0").await;
    let local = server.of("/room-1").local().clone();
    for over in [false, true] {
        if over {
            gate.add_permits(1);
            let rooms = next(&mut left).await;
            assert_eq!(rooms, [&format!("/room-1#{}", client.sid()), "old"]);
        }
        assert_eq!((local.len(), local.rooms()), (1, vec!["new".into()]));
        let sockets = local.sockets(&Target::default());
        assert!(matches!(&sockets[..], [socket] if socket.is_connected() && socket.is_in("new")), "{sockets:?}");
        server.of("/room-1").emit("news", over).unwrap();
        client.until(&format!(r#"42/room-1,["news",{over}]"#)).await;
    }
    client.send(&["41/room-1,"]).await;
    assert_eq!(next(&mut left).await.last().unwrap(), "new");
    assert!(local.sockets(&Target::default()).is_empty() && local.rooms().is_empty());
    assert!(rooms.children().is_empty());
}

/// Counts how often it is serialised.
struct Counted<'a>(&'a AtomicUsize);

impl serde::Serialize for Counted<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        serializer.serialize_unit()
    }
}

#[tokio::test]
async fn a_broadcast_reaches_each_selected_socket_once() {
    let server = Server::new();
    let root = server.of("/");
    let mut clients = Vec::new();
    for rooms in [vec!["a"], vec!["a", "b"], vec!["b"], vec![]] {
        let client = server.test_client().connect().await.unwrap();
        root.socket(client.sid()).unwrap().join(&rooms).unwrap();
        clients.push(client);
    }
    let sockets: Vec<Socket> = clients.iter().map(|client| root.socket(client.sid()).unwrap()).collect();
    let mut reached = |emit: &dyn Fn() -> Result<(), EmitError>| -> Vec<usize> {
        emit().unwrap();
        clients.iter_mut().map(|client| client.received().len()).collect()
    };
    assert_eq!(reached(&|| root.emit("e", ())), [1, 1, 1, 1]);
    assert_eq!(reached(&|| root.to("a").emit("e", ())), [1, 1, 0, 0]);
    assert_eq!(reached(&|| root.to(["a", "b"]).emit("e", ())), [1, 1, 1, 0]);
    assert_eq!(reached(&|| root.to("a").except("b").emit("e", ())), [1, 0, 0, 0]);
    assert_eq!(reached(&|| root.except(["a"]).emit("e", ())), [0, 0, 1, 1]);
    assert_eq!(reached(&|| sockets[0].broadcast().emit("e", ())), [0, 1, 1, 1]);
    assert_eq!(reached(&|| sockets[0].to("a").emit("e", ())), [0, 1, 0, 0]);
    assert_eq!(reached(&|| sockets[0].except("b").emit("e", ())), [0, 0, 0, 1]);
    let room = root.to("a");
    let narrower = room.clone().except("b");
    assert_eq!(reached(&|| room.emit("e", ())), [1, 1, 0, 0], "what is made of an operator leaves it as it is");
    assert_eq!(reached(&|| narrower.emit("e", ())), [1, 0, 0, 0]);
    let encoded = AtomicUsize::new(0);
    assert_eq!(reached(&|| root.emit("e", &Counted(&encoded))), [1, 1, 1, 1]);
    assert_eq!(encoded.load(Ordering::SeqCst), 1, "it is encoded for each recipient");
    assert_eq!(reached(&|| root.to(sockets[3].id()).emit("e", ())), [0, 0, 0, 1]);
    assert_eq!(reached(&|| root.to("nobody").emit("e", ())), [0, 0, 0, 0]);
    root.to("a").sockets_join("c");
    assert_eq!(reached(&|| root.to("c").emit("e", ())), [1, 1, 0, 0]);
    root.everyone().sockets_leave("a");
    assert_eq!(reached(&|| root.to("a").emit("e", ())), [0, 0, 0, 0]);
    assert_eq!(root.local().room_len("c"), 2);
    let fetched = root.to("c").fetch_sockets().await.unwrap();
    assert_eq!(fetched.len(), 2);
    assert!(fetched.iter().all(|socket| socket.rooms().contains(&"c".to_owned())));
    root.to("b").disconnect_sockets();
    tokio::task::yield_now().await;
    let connected: Vec<bool> = clients.iter_mut().map(|client| client.is_connected()).collect();
    assert_eq!(connected, [true, false, false, true]);
}

#[tokio::test]
async fn rooms_are_bounded_and_observed() {
    let server = Server::builder().config(Config { max_rooms: 2, ..Config::default() }).build();
    let root = server.of("/");
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    root.on_room_event(move |event| seen.lock().unwrap().push(event.clone()));
    let client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    socket.join("a").unwrap();
    socket.join("a").unwrap();
    assert!(socket.is_in("a") && !socket.is_in("b"));
    socket.leave("a");
    assert!(!socket.is_in("a"));
    let (room, sid): (Arc<str>, _) = ("a".into(), socket.id().clone());
    let expected = [
        RoomEvent::Created(room.clone()),
        RoomEvent::Joined(room.clone(), sid.clone()),
        RoomEvent::Left(room.clone(), sid),
        RoomEvent::Deleted(room),
    ];
    assert_eq!(*events.lock().unwrap(), expected);
    socket.join(["a", "b"]).unwrap();
    assert_eq!(socket.join("c"), Err(LimitError::Rooms { limit: 2 }));
    assert_eq!((socket.rooms().len(), server.metrics().rooms_limited), (3, 1));
}

#[tokio::test]
async fn child_namespaces_are_created_for_clients_and_removed() {
    let config = Config { cleanup_empty_child_namespaces: true, ..Config::default() };
    let server = Server::builder().config(config).build();
    let made = Arc::new(Mutex::new(Vec::new()));
    let seen = made.clone();
    server.on_new_namespace(move |namespace| seen.lock().unwrap().push(namespace.name().to_owned()));
    let orders = server.of_matching(matching("/orders/*"));
    orders.on("ping", async |socket: Socket| socket.namespace().name().to_owned());
    let mut first = server.test_client().namespace("/orders/1").connect().await.unwrap();
    let mut second = server.test_client().namespace("/orders/2").connect().await.unwrap();
    assert_eq!(first.emit_with_ack::<String>("ping", ()).await.unwrap(), "/orders/1");
    orders.emit("all", ()).unwrap();
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
    server.of("/orders/1").emit("one", ()).unwrap();
    assert_eq!((first.received().len(), second.received().len()), (1, 0));
    assert_eq!(*made.lock().unwrap(), ["/orders/1", "/orders/2"]);
    first.disconnect().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(orders.children().len(), 1, "an empty child stays");
    server.test_client().namespace("/orders/1").connect().await.unwrap();
    let unmatched = server.test_client().namespace("/orders/1/items").connect().await;
    assert!(matches!(unmatched, Err(TestClientError::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn children_get_the_handlers_observers_and_jobs_of_their_parent() {
    let server = Server::new();
    let parent = server.of_matching(matching("/room-*"));
    let (sender, mut seen) = mpsc::unbounded_channel();
    let see = move |what: &'static str| {
        let sender = sender.clone();
        move |namespace: &str| sender.send(format!("{what} {namespace}")).unwrap()
    };
    let (once, outgoing, room, tick, own) = (see("once"), see("outgoing"), see("joined"), see("tick"), see("own"));
    parent
        .once("once", move |socket: Socket| {
            once(socket.namespace().name());
            std::future::ready(())
        })
        .on_any_outgoing(move |socket, _, _| outgoing(socket.namespace().name()))
        .on_room_event(move |event| {
            if let RoomEvent::Joined(joined, _) = event {
                room(joined);
            }
        })
        .every(Duration::from_secs(5), move |namespace: sockeye::Namespace| {
            tick(namespace.name());
            std::future::ready(())
        });
    let mut clients = Vec::new();
    for name in ["/room-1", "/room-2"] {
        let mut client = server.test_client().namespace(name).connect().await.unwrap();
        for _ in 0..3 {
            client.emit("once", ()).await.unwrap();
        }
        let (child, own) = (server.of(name), own.clone());
        if name == "/room-1" {
            child.on_any_outgoing(move |socket, _, _| own(socket.namespace().name()));
        }
        let socket = child.socket(client.sid()).unwrap();
        socket.emit("hello", ()).unwrap();
        socket.join(format!("a room of {name}")).unwrap();
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut all = Vec::new();
    while let Ok(one) = seen.try_recv() {
        all.push(one);
    }
    all.sort();
    let expected = [
        "joined a room of /room-1",
        "joined a room of /room-2",
        "once /room-1",
        "once /room-2",
        "outgoing /room-1",
        "outgoing /room-2",
        "own /room-1",
        "tick /room-1",
        "tick /room-1",
        "tick /room-2",
        "tick /room-2",
    ];
    assert_eq!(all, expected);
}

#[tokio::test]
async fn every_method_of_a_parent_applies_to_its_children() {
    let server = Server::new();
    let parent = server.of_matching(matching("/room-*"));
    let refused = parent.emit("disconnect", ());
    assert!(matches!(refused, Err(EmitError::ReservedName(_))), "without children: {refused:?}");
    let mut clients = Vec::new();
    for name in ["/room-1", "/room-2"] {
        for _ in 0..2 {
            clients.push(server.test_client().namespace(name).connect().await.unwrap());
        }
    }
    let ids: Vec<String> = clients.iter().map(|client| client.sid().to_owned()).collect();
    parent.to([&ids[0], &ids[2]]).sockets_join("a");
    let mut reached = |emitted: Result<(), EmitError>| -> Vec<usize> {
        emitted.unwrap();
        clients.iter_mut().map(|client| client.received().len()).collect()
    };
    assert_eq!(reached(parent.emit("e", ())), [1, 1, 1, 1]);
    assert_eq!(reached(parent.send(())), [1, 1, 1, 1]);
    assert_eq!(reached(parent.everyone().emit("e", ())), [1, 1, 1, 1]);
    assert_eq!(reached(parent.local_only().emit("e", ())), [1, 1, 1, 1]);
    assert_eq!(reached(parent.to("a").emit("e", ())), [1, 0, 1, 0]);
    assert_eq!(reached(parent.except("a").emit("e", ())), [0, 1, 0, 1]);
    assert_eq!(reached(parent.volatile().emit("e", ())), [0, 0, 0, 0], "nobody waits for it");
    let found = |sockets: Vec<&str>| ids.iter().map(|id| sockets.contains(&&**id)).collect::<Vec<_>>();
    let sockets = parent.to("a").sockets();
    assert_eq!(found(sockets.iter().map(|socket| socket.id().as_str()).collect()), [true, false, true, false]);
    let fetched = parent.except("a").fetch_sockets().await.unwrap();
    assert_eq!(found(fetched.iter().map(|socket| socket.id().as_str()).collect()), [false, true, false, true]);
    let asked = parent.timeout(Duration::from_secs(60)).emit_with_ack::<usize>("which", ()).unwrap();
    assert_eq!(asked.outstanding(), 4);
    for (number, client) in clients.iter_mut().enumerate() {
        let question = client.receive().await.unwrap();
        client.acknowledge(&question, number).await.unwrap();
    }
    let mut answers: Vec<_> = asked.collect().await.answers.into_iter().map(|(sid, number)| (number, sid)).collect();
    answers.sort();
    assert_eq!(answers.iter().map(|(_, sid)| sid.as_deref().unwrap()).collect::<Vec<_>>(), ids);
    parent.to("a").sockets_leave("a");
    assert!(parent.to("a").sockets().is_empty());
    parent.to(&ids[3]).disconnect_sockets();
    settle().await;
    let connected: Vec<bool> = clients.iter_mut().map(|client| client.is_connected()).collect();
    assert_eq!(connected, [true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_job_starts_with_the_first_socket_and_stops_with_the_last() {
    let server = Server::new();
    let root = server.of("/");
    root.every(Duration::from_secs(5), async |namespace: sockeye::Namespace| {
        // Nobody there is no error.
        let _nobody = namespace.emit("tick", ());
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut first = server.test_client().connect().await.unwrap();
    let mut second = server.test_client().connect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(first.received().len(), 3, "one at once and one each five seconds, run once for both");
    assert!(second.received().len() >= 2);
    first.disconnect().await.unwrap();
    second.disconnect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut third = server.test_client().connect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(third.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_starts_at_once_if_there_are_sockets() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let tick = async |namespace: sockeye::Namespace| namespace.emit("tick", ()).unwrap();
    root.every(Duration::from_secs(5), tick);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(client.received().len(), 3, "one at once and one each five seconds");
    let added = root.clone();
    let adding = std::thread::spawn(move || {
        added.every(Duration::from_secs(60), tick);
    });
    adding.join().expect("it needs a runtime");
    let _second = server.test_client().connect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.received().len(), 1, "what was added outside of a runtime begins with the next socket");
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_again_after_a_panic() {
    let server = Server::new();
    let root = server.of("/");
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    root.every(Duration::from_secs(5), move |_| {
        let run = count.fetch_add(1, Ordering::SeqCst);
        assert!(run != 0, "as asked for");
        async move { assert!(run != 1, "as asked for") }
    });
    let _client = server.test_client().connect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!((runs.load(Ordering::SeqCst), server.metrics().handler_panics), (4, 2));
}

#[tokio::test]
async fn a_recovered_client_receives_the_events_it_missed() {
    let recovery = RecoveryConfig { ..RecoveryConfig::default() };
    let server = Server::builder().config(Config { recovery: Some(recovery), ..Config::default() }).build();
    let root = server.of("/");
    let middleware_runs = Arc::new(AtomicUsize::new(0));
    let count = middleware_runs.clone();
    root.middleware(move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    });
    for quiet in [false, true] {
        let mut client = server.test_client().connect().await.unwrap();
        let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
        let socket = root.socket(&sid).unwrap();
        socket.join("room").unwrap();
        socket.insert(String::from("kept"));
        let mut auth = serde_json::json!({"pid": pid});
        if !quiet {
            root.emit("seen", 1).unwrap();
            let args = client.receive().await.unwrap().args;
            auth["offset"] = args.as_args().get::<String>(1).unwrap().into();
        }
        drop(client);
        while root.socket(&sid).is_some() {
            tokio::task::yield_now().await;
        }
        root.to("room").emit("missed", 2).unwrap();
        root.to("elsewhere").emit("not for it", ()).unwrap();
        root.volatile().emit("volatile", ()).unwrap();
        drop(root.everyone().emit_with_ack::<()>("with an acknowledgement", ()).unwrap());
        let mut again = server.test_client().auth(auth.clone()).connect().await.unwrap();
        assert_eq!(again.sid(), sid);
        let socket = root.socket(&sid).unwrap();
        assert!(socket.is_recovered() && socket.is_in("room"));
        assert_eq!(socket.extension::<String>().unwrap().as_str(), "kept");
        let missed: Vec<String> = again.received().into_iter().map(|event| event.name).collect();
        assert_eq!(missed, ["missed"]);
    }
    assert_eq!((middleware_runs.load(Ordering::SeqCst), server.metrics().recovered), (2, 2));
}

#[tokio::test]
async fn a_namespace_that_the_server_makes_is_the_child_of_the_parent_that_matches() {
    let server = Server::new();
    let parent = server.of_matching(sockeye::matching("/dyn-*"));
    parent.on("who", async |socket: Socket| socket.namespace().name().to_owned());
    let child = server.of("/dyn-1");
    child.emit("nobody is here yet", ()).unwrap();
    assert_eq!(parent.children().len(), 1);
    let mut client = server.test_client().namespace("/dyn-1").connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("who", ()).await.unwrap(), "/dyn-1");
    parent.emit("to all children", ()).unwrap();
    child.emit("to this child", ()).unwrap();
    let names: Vec<_> = client.received().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["to all children", "to this child"]);
    assert_eq!(server.of("/other").name(), "/other");
    assert_eq!(parent.children().len(), 1, "`/other` does not match");
}

#[tokio::test]
async fn a_child_that_the_server_makes_stays_when_its_last_socket_leaves() {
    let config = Config { cleanup_empty_child_namespaces: true, max_child_namespaces: 1, ..Config::default() };
    let server = Server::builder().config(config).build();
    let parent = server.of_matching(sockeye::matching("/dyn-*"));
    server.of("/dyn-1").on("own", async || "handler");
    for _ in 0..2 {
        let mut client = server.test_client().namespace("/dyn-1").connect().await.unwrap();
        assert_eq!(client.emit_with_ack::<String>("own", ()).await.unwrap(), "handler");
        client.disconnect().await.unwrap();
        let other = server.test_client().namespace("/dyn-2").connect().await.unwrap();
        assert_eq!(parent.children().len(), 2);
        other.disconnect().await.unwrap();
        assert_eq!(parent.children().len(), 1, "`/dyn-2` was made for its client and goes with it");
    }
}
