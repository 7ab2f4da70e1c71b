//! What happens around the moments a client is let in and leaves: order, cancellation, rooms.
mod support;

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::StatusCode;
use sockeye::{
    AckError, Auth, Config, Data, DisconnectReason, Reason, Reply, Revision, Server, Socket, Value, adapter::RoomEvent,
    handler::FailedEvent, matching,
};
use support::{PATIENCE, Raw, next, settle};
use tokio::sync::{Notify, Semaphore, mpsc};

#[tokio::test]
async fn events_emitted_before_admission_keep_their_order_with_broadcasts() {
    let server = Server::new();
    server.of("/").on_connect(async |socket: Socket| {
        socket.emit("n", 0)?;
        socket.namespace().emit("n", 1)?;
        socket.emit("n", Bytes::from_static(&[2]))?;
        tokio::task::yield_now().await;
        socket.namespace().to(socket.id()).emit("n", (3, Bytes::from_static(&[3])))?;
        // Volatile events are not kept for later.
        socket.volatile().emit("n", "volatile")?;
        socket.namespace().volatile().emit("n", "volatile")?;
        socket.emit("n", 4)?;
        Ok(())
    });
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40"]).await;
    let packets = client.until(r#"["n",4]"#).await;
    assert!(packets[0].starts_with("40{"), "{packets:?}");
    let expected = [
        r#"42["n",0]"#,
        r#"42["n",1]"#,
        r#"451-["n",{"_placeholder":true,"num":0}]"#,
        "bAg==",
        r#"451-["n",3,{"_placeholder":true,"num":0}]"#,
        "bAw==",
        r#"42["n",4]"#,
    ];
    assert_eq!(packets[1..], expected);
}

#[tokio::test]
async fn a_connect_handler_runs_to_its_end_after_its_client_has_left() {
    let server = Server::new();
    let root = server.of("/");
    let (begun, go_on, second_ran) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (note, wait) = (begun.clone(), go_on.clone());
    root.on_connect(move |socket: Socket| {
        let (note, wait) = (note.clone(), wait.clone());
        async move {
            note.notify_one();
            wait.notified().await;
            socket.insert(String::from("set up"));
        }
    });
    let ran = second_ran.clone();
    root.on_connect(move || {
        ran.store(true, Ordering::SeqCst);
        ready(())
    });
    let (sender, mut left) = mpsc::unbounded_channel();
    root.on_disconnect(move |socket: Socket, Reason(reason): Reason| {
        sender.send((reason.as_str(), socket.extension::<String>().is_some())).unwrap();
        ready(())
    });
    let connecting = tokio::spawn(server.test_client().connect());
    begun.notified().await;
    connecting.abort();
    settle().await;
    assert!(left.try_recv().is_err(), "the disconnect handler ran beside the connect handler");
    go_on.notify_one();
    assert_eq!(next(&mut left).await, ("transport close", true));
    assert!(!second_ran.load(Ordering::SeqCst), "a handler began for a client that had left");
    assert!(root.local().is_empty());
}

#[tokio::test]
async fn the_error_handler_sees_event_and_socket_and_chooses_the_acknowledgement() {
    let server = Server::new();
    let root = server.of("/");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    root.on_error(move |error: &FailedEvent<'_>| {
        note.lock().unwrap().push((error.event.to_owned(), error.message(), error.socket.is_connected()));
        Reply::of(("failed", 7))
    });
    root.on("fails", async || Err::<(), _>("why".into()));
    root.on("panics", async || -> () { panic!("private") });
    let mut client = server.test_client().connect().await.unwrap();
    client.emit("fails", ()).await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("fails", ()).await.unwrap(), "failed");
    assert_eq!(client.emit_with_ack::<String>("panics", ()).await.unwrap(), "failed");
    let failed = ("fails".to_owned(), "why".to_owned(), true);
    assert_eq!(*seen.lock().unwrap(), [failed.clone(), failed, ("panics".into(), "internal error".into(), true)]);
}

#[tokio::test]
async fn panics_of_the_error_handler_and_of_room_observers_end_nothing_else() {
    let server = Server::new();
    let root = server.of("/");
    let (sender, mut left) = mpsc::unbounded_channel();
    root.on_error(|_| -> () { panic!("as asked for") });
    root.on_room_event(|_| panic!("as asked for"));
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    root.on_room_event(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    root.on("fails", async || Err::<(), _>("why".into()));
    root.on("join", async |socket: Socket| {
        socket.join("room")?;
        Ok(socket.is_in("room"))
    });
    root.on_disconnect(move || {
        sender.send(()).unwrap();
        ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    let answer: serde_json::Value = client.emit_with_ack("fails", ()).await.unwrap();
    assert_eq!(answer, serde_json::json!({"error": "internal error"}));
    assert!(client.emit_with_ack::<bool>("join", ()).await.unwrap());
    drop(client);
    next(&mut left).await;
    assert!(root.local().is_empty());
    // Created, joined, left, deleted.
    assert_eq!((seen.load(Ordering::SeqCst), server.metrics().handler_panics), (4, 5));
}

#[tokio::test]
async fn a_client_is_refused_only_the_namespace_whose_creation_panics() {
    let server = Server::new();
    let choosy = |name: &str, _: Option<&serde_json::value::RawValue>| {
        assert_ne!(name, "/room-unchoosable", "as asked for");
        name.starts_with("/room")
    };
    let rooms = server.of_matching(choosy);
    server.on_new_namespace(|namespace| assert_ne!(namespace.name(), "/room-unwatchable", "as asked for"));
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40"]).await;
    client.until("40").await;
    for (count, name) in (1..).zip(["/room-unchoosable", "/room-unwatchable", "/room-unwatchable"]) {
        client.send(&[&format!("40{name},")]).await;
        assert_eq!(client.until(name).await, [format!(r#"44{name},{{"message":"internal error"}}"#)]);
        assert_eq!(server.metrics().handler_panics, count);
    }
    assert!(rooms.children().is_empty());
    client.send(&["40/room-1,"]).await;
    client.until("40/room-1").await;
    assert_eq!(server.of("/").local().len(), 1);
}

#[test]
fn sockets_do_not_outlive_the_task_of_their_connection() {
    let server = Server::new();
    let names = ["/idle", "/handling", "/connecting"];
    for name in names {
        server.of(name).on("wait", async || std::future::pending::<()>().await);
    }
    server.of("/connecting").on_connect(async |socket: Socket| {
        socket.join("room").unwrap();
        std::future::pending::<()>().await;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sockets, answer) = runtime.block_on(async {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40/idle,", "40/handling,", "40/connecting,"]).await;
        client.until("/handling").await;
        client.send(&[r#"42/handling,["wait"]"#]).await;
        let sockets = names.map(|name| server.of(name).local().sockets(&Default::default()).remove(0));
        let answer = sockets[0].emit_with_ack::<()>("question", ());
        (sockets, answer)
    });
    assert!(sockets[0].is_connected() && sockets[1].is_connected());
    drop(runtime);
    for (name, socket) in names.into_iter().zip(sockets) {
        let local = server.of(name).local().clone();
        assert!(local.is_empty() && local.rooms().is_empty(), "{name} keeps its socket");
        assert!(socket.emit("event", ()).is_err(), "{name}");
    }
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(waiting.block_on(answer), Err(AckError::Disconnected)));
}

#[tokio::test]
async fn volatile_events_reach_only_clients_that_are_ready() {
    let server = Server::new();
    let root = server.of("/");
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40"]).await;
    client.until("40").await;
    let socket = root.local().sockets(&Default::default()).remove(0);
    socket.volatile().emit("lost", 1).unwrap();
    root.volatile().emit("lost", 2).unwrap();
    let polling = tokio::spawn(async move { (client.poll().await, client) });
    settle().await;
    root.volatile().emit("heard", ()).unwrap();
    let (packets, client) = polling.await.unwrap();
    assert_eq!(packets.unwrap(), [r#"42["heard"]"#]);
    let polling = tokio::spawn(async move { client.poll().await });
    settle().await;
    socket.volatile().emit("heard", ()).unwrap();
    assert_eq!(polling.await.unwrap().unwrap(), [r#"42["heard"]"#]);
}

#[tokio::test]
async fn disconnecting_with_close_ends_the_connection_and_its_other_namespaces() {
    let server = Server::new();
    let (sender, mut left) = mpsc::unbounded_channel();
    for name in ["/", "/other"] {
        let sender = sender.clone();
        server.of(name).on_disconnect(move |socket: Socket, Reason(reason): Reason| {
            sender.send((socket.namespace().name().to_owned(), reason)).unwrap();
            ready(())
        });
    }
    for close in [false, true] {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40", "40/other,"]).await;
        client.until("/other").await;
        let socket = server.of("/").local().sockets(&Default::default()).remove(0);
        if close {
            socket.close();
        } else {
            socket.disconnect();
        }
        let first = next(&mut left).await;
        assert_eq!(first, ("/".to_owned(), DisconnectReason::ServerNamespaceDisconnect));
        if close {
            assert_eq!(next(&mut left).await, ("/other".to_owned(), DisconnectReason::ServerNamespaceDisconnect));
            // The client is told of every namespace, so that none of its sockets comes back by itself.
            assert_eq!(client.to_the_end().await, ["41", "41/other,", "1"]);
        } else {
            assert_eq!(client.until("41").await, ["41"]);
            assert_eq!(client.send(&[r#"42/other,["still here"]"#]).await, StatusCode::OK);
            drop(client);
            server.of("/other").local().sockets(&Default::default()).remove(0).close();
            next(&mut left).await;
        }
    }
}

#[tokio::test]
async fn packets_behind_an_event_whose_handler_closes_the_connection_are_not_handled() {
    let server = Server::new();
    let (sender, mut happened) = mpsc::unbounded_channel();
    let events = sender.clone();
    server.of("/").on("end", async |socket: Socket| socket.close());
    server.of("/other").on("late", move || {
        events.send("an event".to_owned()).unwrap();
        ready(())
    });
    // One that is still being let in is not told that it is out, and its handlers run to their end and are undone.
    let release = Arc::new(Notify::new());
    let wait = release.clone();
    server.of("/slow").on_connect(move || {
        let wait = wait.clone();
        async move { wait.notified().await }
    });
    for name in ["/other", "/slow"] {
        let sender = sender.clone();
        server.of(name).on_disconnect(move |Reason(reason): Reason| {
            sender.send(reason.as_str().to_owned()).unwrap();
            ready(())
        });
    }
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40", "40/other,", "40/slow,"]).await;
    client.until("/other").await;
    client.send(&[r#"42["end"]"#]).await;
    assert_eq!(client.to_the_end().await, ["41", "41/other,", "1"]);
    assert_eq!(client.send(&[r#"42/other,["late"]"#]).await, StatusCode::BAD_REQUEST);
    assert_eq!(next(&mut happened).await, "server namespace disconnect");
    happened.try_recv().expect_err("handlers run after the end");
    release.notify_one();
    assert_eq!(next(&mut happened).await, "forced close");
    // Twice, and for a socket that is out already, it is closed all the same.
    let server = Server::new();
    for gone in [false, true] {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40"]).await;
        client.until("40").await;
        let socket = server.of("/").local().sockets(&Default::default()).remove(0);
        socket.disconnect();
        if gone {
            client.until("41").await;
            support::settle().await;
        }
        socket.close();
        assert!(client.is_closed().await, "gone: {gone}");
    }
}

#[tokio::test]
async fn events_that_wait_are_not_handled_when_the_server_disconnects_their_socket() {
    let server = Server::new();
    let gate = Arc::new(Semaphore::new(0));
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (sender, mut left) = mpsc::unbounded_channel();
    for name in ["/", "/other"] {
        let (wait, wait_to_end, seen, sender) = (gate.clone(), gate.clone(), handled.clone(), sender.clone());
        server
            .of(name)
            .on(
                "end",
                async |socket: Socket, Data(close): Data<bool>| {
                    if close { socket.close() } else { socket.disconnect() }
                },
            )
            .on("wait", move || {
                let wait = wait.clone();
                async move { wait.acquire().await.unwrap().forget() }
            })
            .on("wait to end", move |socket: Socket, Data(close): Data<bool>| {
                let wait = wait_to_end.clone();
                async move {
                    wait.acquire().await.unwrap().forget();
                    if close { socket.close() } else { socket.disconnect() }
                }
            })
            .on("event", move |socket: Socket| {
                seen.lock().unwrap().push(socket.namespace().name().to_owned());
                ready(())
            })
            .on_disconnect(move || {
                sender.send(()).unwrap();
                ready(())
            });
    }
    let (event, other_event) = (r#"42["event"]"#, r#"42/other,["event"]"#);
    for (packets, expected) in [
        (vec![r#"42["end",false]"#, event, other_event], vec!["/other"]),
        (vec![r#"42["end",true]"#, event, other_event], vec![]),
        (vec![r#"42["wait to end",false]"#, event, event, r#"42/other,["wait"]"#, other_event], vec!["/other"]),
        (vec![r#"42["wait to end",true]"#, event, event, r#"42/other,["wait"]"#, other_event], vec![]),
        (vec![r#"42["wait to end",false]"#, event, event, "1"], vec![]),
        // Who leaves by itself has said before what is to be done.
        (vec![r#"42["wait"]"#, event, event, "41", other_event], vec!["/other", "/", "/"]),
    ] {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["40", "40/other,"]).await;
        client.until("40/other").await;
        client.send(&packets).await;
        settle().await;
        gate.add_permits(2);
        next(&mut left).await;
        settle().await;
        assert_eq!(std::mem::take(&mut *handled.lock().unwrap()), expected, "{packets:?}");
        // Those that wait for nothing leave their permits to nobody.
        gate.forget_permits(2);
        server.of("/other").everyone().close_sockets();
        next(&mut left).await;
    }
}

#[tokio::test]
async fn observers_see_a_broadcast_with_its_binary_once_for_each_recipient() {
    let server = Server::new();
    let root = server.of("/");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    root.on_any_outgoing(move |socket, name, args| {
        note.lock().unwrap().push((socket.id().to_string(), name.to_owned(), args.all::<(u8, Bytes)>().unwrap()));
    });
    let clients = [server.test_client().connect().await.unwrap(), server.test_client().connect().await.unwrap()];
    root.emit("e", (1, Bytes::from_static(b"bytes"))).unwrap();
    let expected =
        clients.iter().map(|client| (client.sid().to_owned(), "e".to_owned(), (1, Bytes::from_static(b"bytes"))));
    assert_eq!(*seen.lock().unwrap(), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn leaving_a_namespace_reports_every_room() {
    let server = Server::new();
    let root = server.of("/");
    let client = server.test_client().connect().await.unwrap();
    let sid = root.socket(client.sid()).unwrap().id().clone();
    root.socket(&sid).unwrap().join(["a", "b"]).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    root.on_room_event(move |event| seen.lock().unwrap().push(event.clone()));
    client.disconnect().await.unwrap();
    settle().await;
    let expected: Vec<RoomEvent> = ["a", "b"]
        .into_iter()
        .flat_map(|room| [RoomEvent::Left(room.into(), sid.clone()), RoomEvent::Deleted(room.into())])
        .collect();
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_server_alone_emits_to_no_other_server() {
    let server = Server::new();
    let root = server.of("/");
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    root.on_server_event("hello", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        ready(())
    });
    root.everyone().server_side_emit("hello", 1).unwrap();
    assert_eq!(root.everyone().server_side_emit_with_ack("hello", 1).await.unwrap().len(), 0);
    settle().await;
    assert_eq!(heard.load(Ordering::SeqCst), 0, "a server hears only what others emit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_keep_their_namespace_while_empty_ones_are_removed() {
    let config = Config { cleanup_empty_child_namespaces: true, ..Config::default() };
    let server = Server::builder().config(config).build();
    let rooms = server.of_matching(matching("/room-*"));
    rooms.on("where", async |socket: Socket| socket.namespace().name().to_owned());
    let clients = (0..8).map(|_| {
        let server = server.clone();
        tokio::spawn(async move {
            for turn in 0..100 {
                let name = format!("/room-{}", turn % 2);
                let mut client = server.test_client().namespace(name.clone()).connect().await.unwrap();
                let answer: String = client.emit_with_ack("where", ()).await.unwrap();
                assert_eq!(answer, name);
                // Whoever is in is found under the name, not in a namespace that was cleaned up.
                server
                    .of(&name)
                    .socket(client.sid())
                    .expect("a socket in the namespace there is")
                    .emit("hi", ())
                    .unwrap();
                assert_eq!(client.receive().await.unwrap().name, "hi");
                client.disconnect().await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let cleaned = async {
        while !rooms.children().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cleaned).await.expect("empty children stay");
}

#[tokio::test]
async fn a_parent_can_read_the_auth_and_its_commands_reach_the_children() {
    let server = Server::new();
    let parent =
        server.of_matching(|name, auth| name.starts_with("/t-") && auth.is_some_and(|auth| auth.get().contains("key")));
    assert!(server.test_client().namespace("/t-1").connect().await.is_err());
    let mut client =
        server.test_client().namespace("/t-1").auth(serde_json::json!({ "key": 1 })).connect().await.unwrap();
    parent.emit("all", Value::from(1)).unwrap();
    assert_eq!(client.receive().await.unwrap().name, "all");
    client.disconnect().await.unwrap();
    settle().await;
    assert_eq!(parent.children().len(), 1, "an empty child goes only if that is asked for");
}

#[tokio::test]
async fn a_client_that_sends_no_auth_or_an_empty_object_has_sent_nothing() {
    #[derive(serde::Deserialize)]
    struct Credentials {
        token: String,
    }
    #[derive(serde::Deserialize)]
    #[serde(default)]
    struct Settings {
        colour: String,
    }
    impl Default for Settings {
        fn default() -> Self {
            Self { colour: "blue".into() }
        }
    }
    let server = Server::new();
    server.of("/optional").on_connect(async |socket: Socket, Auth(auth): Auth<Option<Credentials>>| {
        Ok(socket.emit("auth", &auth.map(|auth| auth.token))?)
    });
    server.of("/defaults").on_connect(async |socket: Socket, Auth(auth): Auth<Option<Settings>>| {
        Ok(socket.emit("auth", &auth.map(|auth| auth.colour))?)
    });
    server
        .of("/required")
        .on_connect(async |socket: Socket, Auth(auth): Auth<Credentials>| Ok(socket.emit("auth", auth.token)?));
    // What the handler got, or that the client was refused.
    let (none, refused) = (Some("null"), None);
    for (namespace, auth, expected) in [
        ("/optional", "", none),
        ("/optional", "{}", none),
        ("/optional", "{ }", none),
        ("/optional", r#"{"token":"a"}"#, Some(r#""a""#)),
        ("/optional", r#"{"other":"a"}"#, refused),
        ("/defaults", "", none),
        ("/defaults", "{}", Some(r#""blue""#)),
        ("/required", "", refused),
        ("/required", "{}", refused),
    ] {
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&[&format!("40{namespace},{auth}")]).await;
        let last = match expected {
            Some(auth) => format!(r#"42{namespace},["auth",{auth}]"#),
            None => format!("44{namespace},"),
        };
        client.until(&last).await;
    }
}
