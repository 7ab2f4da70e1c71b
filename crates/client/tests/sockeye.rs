//! The client against Sockeye's own server.
#[path = "support/script.rs"]
mod script;
mod support;

use std::{
    error::Error as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use script::Script;
use serde_json::json;
use sockeye::{Reply, Server};
use sockeye_client::{
    Ack, AckErrorKind, Args, BufferLimits, ConnectErrorKind, Data, DisconnectReason, EmitErrorKind, EventName, Events,
    Manager, ManagerEvent, RawArgs, Reconnection, Retries, Socket, State, Transport, Value,
};
use sockeye_handler::{HandlerError, with_causes};
use support::{Local, Proxy, disconnects, eventually, quick};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// A server with a few events that the tests use.
async fn serve() -> Local {
    let server = Server::new();
    for name in ["/", "/custom"] {
        let namespace = server.of(name);
        namespace.on("echo", async |sockeye::RawArgs(args): sockeye::RawArgs| Reply::of(args));
        namespace.on("back", async |socket: sockeye::Socket, sockeye::RawArgs(args): sockeye::RawArgs| {
            Ok(socket.emit("back", args)?)
        });
        namespace.on("ask", async |socket: sockeye::Socket| {
            let answer: String = socket.emit_with_ack("question", "how?").await.unwrap();
            answer
        });
        namespace.on("leave", async |socket: sockeye::Socket| socket.disconnect());
        namespace.on("drop", async |socket: sockeye::Socket| socket.close());
        namespace.on("silence", async |_: sockeye::Ack| {});
    }
    server.of("/refused").on_connect(async |sockeye::Auth(auth): sockeye::Auth<Option<serde_json::Value>>| match auth
        .and_then(|auth| auth["token"].as_str().map(str::to_owned))
    {
        Some(token) if token == "right" => Ok(()),
        _ => Err(sockeye::ConnectRefusal::new("who are you?").with_data(&json!({ "retry": false }))),
    });
    Local::serve(server).await
}

async fn connect(local: &Local) -> Socket {
    quick(Manager::builder(&local.url())).connect().await.unwrap()
}

async fn next_data<T: serde::de::DeserializeOwned>(events: &mut Events) -> T {
    in_time(events.next()).await.unwrap().data().unwrap()
}

/// What comes of it, soon enough.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}

#[tokio::test]
async fn events_are_emitted_and_acknowledged_on_every_transport() {
    let local = serve().await;
    let transports = [
        vec![Transport::Polling],
        vec![Transport::WebSocket],
        vec![Transport::Polling, Transport::WebSocket],
        vec![Transport::WebSocket, Transport::Polling],
    ];
    for transports in transports {
        let socket = Manager::builder(&local.url()).transports(transports.clone()).connect().await.unwrap();
        let mut events = socket.events();
        for number in 0..200 {
            socket.emit("back", number).unwrap();
        }
        for number in 0..200 {
            assert_eq!(next_data::<u32>(&mut events).await, number, "{transports:?}");
        }
        assert_eq!(socket.emit_with_ack::<String>("echo", "ä").await.unwrap(), "ä");
        let all: (u8, Bytes, String) = socket
            .emit_with_ack::<()>("echo", (1, Bytes::from_static(b"\0\xff"), "c"))
            .raw()
            .await
            .unwrap()
            .as_args()
            .all()
            .unwrap();
        assert_eq!(all, (1, Bytes::from_static(b"\0\xff"), "c".to_owned()));
        if transports.len() == 2 {
            eventually("the connection moves to WebSocket", || {
                socket.manager().transport() == Some(Transport::WebSocket)
            })
            .await;
        }
        assert_eq!(socket.emit_with_ack::<()>("echo", ()).await.unwrap(), ());
        socket.manager().disconnect().await;
        assert!(!socket.manager().is_open());
    }
}

#[tokio::test]
async fn binary_data_may_stand_anywhere_in_the_arguments() {
    let local = serve().await;
    let socket = connect(&local).await;
    let value: Value =
        [Value::from("a"), Bytes::from_static(b"\x01\x02").into(), vec![Bytes::new()].into()].into_iter().collect();
    assert_eq!(socket.emit_with_ack::<Value>("echo", &value).await.unwrap(), value);
}

#[tokio::test]
async fn several_namespaces_share_one_connection() {
    let local = serve().await;
    let manager = Manager::builder(&local.url()).build().unwrap();
    let (root, custom) = (manager.socket("/"), manager.socket("custom"));
    in_time(manager.connect()).await.unwrap();
    assert!(root.is_connected() && custom.is_connected());
    assert_ne!(root.id(), custom.id());
    let session = manager.sid();
    assert_eq!(custom.namespace(), "/custom");
    assert_eq!(local.server.connection_count(), 1);
    assert_eq!(custom.emit_with_ack::<u8>("echo", 1).await.unwrap(), 1);
    root.disconnect();
    assert_eq!(root.emit("echo", ()).unwrap_err().kind(), &EmitErrorKind::Disconnected { namespace: "/".into() });
    assert_eq!(custom.emit_with_ack::<u8>("echo", 2).await.unwrap(), 2);
    root.connect().await.unwrap();
    assert_eq!(root.emit_with_ack::<u8>("echo", 3).await.unwrap(), 3);
    assert_eq!(local.server.connection_count(), 1);
    assert_eq!(manager.sid(), session);
    let other = connect(&local).await;
    assert_eq!(other.emit_with_ack::<u8>("echo", 4).await.unwrap(), 4);
    assert_eq!(local.server.connection_count(), 2);
}

#[tokio::test]
async fn handlers_receive_the_parameters_they_declare() {
    let local = serve().await;
    let manager = Manager::builder(&local.url()).state(AtomicUsize::new(0)).build().unwrap();
    let socket = manager.socket("/");
    socket.on("question", async |Data(question): Data<String>, ack: Ack| {
        assert!(ack.is_wanted());
        ack.send(format!("{question} so")).unwrap();
    });
    socket.on("back", async |Args((a, b)): Args<(u8, String)>, state: State<AtomicUsize>| {
        state.fetch_add(usize::from(a) + b.len(), Ordering::SeqCst);
    });
    let (sender, mut others) = tokio::sync::mpsc::unbounded_channel();
    socket.on_fallback(move |EventName(name): EventName, RawArgs(_): RawArgs| {
        let sender = sender.clone();
        async move { sender.send(name).unwrap() }
    });
    socket.connect().await.unwrap();
    assert_eq!(socket.emit_with_ack::<String>("ask", ()).await.unwrap(), "how? so");
    socket.emit("back", (40, "xy")).unwrap();
    assert!(socket.emit_with_ack::<()>("echo", ()).await.is_ok());
    let state = manager.state::<AtomicUsize>().unwrap();
    eventually("the handler ran", || state.load(Ordering::SeqCst) == 42).await;
    // Nothing before it was for the handler of what has none of its own.
    local.server.of("/").emit("other", ()).unwrap();
    assert_eq!(in_time(others.recv()).await.unwrap(), "other");
    socket.off("back");
    socket.emit("back", (40, "xy")).unwrap();
    assert_eq!(in_time(others.recv()).await.unwrap(), "back");
    assert_eq!(state.load(Ordering::SeqCst), 42);
}

#[tokio::test]
async fn a_handler_may_await_an_acknowledgement() {
    let local = serve().await;
    let manager = Manager::builder(&local.url()).build().unwrap();
    let socket = manager.socket("/");
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    socket.on("back", move |socket: Socket, Data(number): Data<u32>| {
        let sender = sender.clone();
        async move { sender.send(socket.emit_with_ack::<u32>("echo", &number).await.unwrap()).unwrap() }
    });
    socket.connect().await.unwrap();
    for number in 0..10 {
        socket.emit("back", number).unwrap();
    }
    for number in 0..10 {
        assert_eq!(in_time(done.recv()).await.unwrap(), number);
    }
}

#[tokio::test]
async fn a_refusal_has_the_namespace_the_message_and_the_data() {
    let local = serve().await;
    let manager = Manager::builder(&local.url()).build().unwrap();
    let socket = manager.socket("/refused");
    let error = socket.connect().await.unwrap_err();
    let ConnectErrorKind::Refused(refusal) = error.kind() else { panic!("{error:?}") };
    assert_eq!((refusal.namespace.as_str(), refusal.message.as_str()), ("/refused", "who are you?"));
    assert_eq!(refusal.data::<serde_json::Value>(), Some(json!({ "retry": false })));
    assert!(!socket.is_active());
    let error = manager.socket("/nowhere").connect().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refused namespace /nowhere: Invalid namespace; the server has no namespace of this name"
    );
    socket.set_auth(json!({ "token": "right" })).unwrap();
    socket.connect().await.unwrap();
}

#[tokio::test]
async fn the_auth_function_is_called_at_every_connect() {
    let local = serve().await;
    let proxy = Proxy::to(local.address).await;
    let manager = quick(Manager::builder(&proxy.url())).build().unwrap();
    let socket = manager.socket("/refused");
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    socket.set_auth_with(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, std::io::Error>(json!({ "token": "right" })) }
    });
    socket.connect().await.unwrap();
    proxy.cut();
    eventually("auth is asked for again", || calls.load(Ordering::SeqCst) == 2 && socket.is_connected()).await;
    socket.set_auth_with(|| async { Err::<(), _>("no token today") });
    socket.disconnect();
    let error = socket.connect().await.unwrap_err();
    assert_eq!(error.to_string(), "the function of `auth_with` failed for namespace /refused");
    assert_eq!(error.source().unwrap().to_string(), "no token today");
}

#[tokio::test]
async fn an_event_is_sent_before_its_acknowledgement_is_awaited() {
    let local = serve().await;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    local.server.of("/").on("heard", move |sockeye::Data(number): sockeye::Data<u32>| {
        let sender = sender.clone();
        async move { sender.send(number).unwrap() }
    });
    let socket = Manager::builder(&local.url()).transports(Transport::WebSocket).connect().await.unwrap();
    // Several answers have just come, so that more questions are expected, to be awaited at once.
    let (one, two) = tokio::join!(socket.emit_with_ack::<u8>("echo", 1), socket.emit_with_ack::<u8>("echo", 2));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
    let answers: Vec<_> = (0..3).map(|number| socket.emit_with_ack::<()>("heard", number)).collect();
    for number in 0..3 {
        // It is sent without being awaited.
        assert_eq!(in_time(heard.recv()).await, Some(number));
    }
    for answer in answers {
        answer.await.unwrap();
    }
}

#[test]
fn a_single_event_is_written_by_the_task_that_awaits_its_acknowledgement() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sender, heard) = std::sync::mpsc::channel();
    let (address, served_at) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let local = serve().await;
            local.server.of("/").on("heard", move |sockeye::Data(number): sockeye::Data<u32>| {
                let sender = sender.clone();
                async move { sender.send(number).unwrap() }
            });
            address.send(local.url()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let url = served_at.recv().unwrap();
    let runtime = runtime();
    let socket = runtime.block_on(Manager::builder(&url).transports(Transport::WebSocket).connect()).unwrap();
    assert_eq!(runtime.block_on(socket.emit_with_ack::<u8>("echo", 1)).unwrap(), 1);
    // No task of the client runs here.
    let answer = socket.emit_with_ack::<()>("heard", 2);
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(2));
    runtime.block_on(answer).unwrap();
}

#[tokio::test]
async fn disconnect_handlers_receive_the_reason() {
    let local = serve().await;
    for (event, expected) in
        [("leave", DisconnectReason::ServerDisconnect), ("drop", DisconnectReason::ServerDisconnect)]
    {
        let manager = Manager::builder(&local.url()).build().unwrap();
        let socket = manager.socket("/");
        let mut reasons = disconnects(&socket);
        socket.connect().await.unwrap();
        let pending = socket.emit_with_ack::<()>("silence", ());
        socket.emit(event, ()).unwrap();
        assert_eq!(in_time(reasons.recv()).await, Some(expected), "{event}");
        assert_eq!(pending.await.unwrap_err().kind(), &AckErrorKind::Disconnected);
        eventually("the manager has ended", || !socket.manager().is_open()).await;
    }
    // What would be sent again is not, when the server wants no more of it.
    let socket = Manager::builder(&local.url()).retries(Retries::default()).connect().await.unwrap();
    let pending = socket.emit_with_ack::<()>("silence", ());
    local.server.of("/").to(socket.id().unwrap().as_ref()).disconnect_sockets();
    assert_eq!(in_time(pending).await.unwrap_err().kind(), &AckErrorKind::Disconnected);
}

#[tokio::test]
async fn a_missing_acknowledgement_times_out() {
    let local = serve().await;
    let socket = connect(&local).await;
    let limit = Duration::from_millis(50);
    let error = socket.timeout(limit).emit_with_ack::<()>("silence", ()).await.unwrap_err();
    assert_eq!(error.kind(), &AckErrorKind::TimedOut(limit));
    let error = socket.emit_with_ack::<u8>("echo", "text").await.unwrap_err();
    assert_eq!(error.kind(), &AckErrorKind::Arguments);
}

#[tokio::test]
async fn the_error_of_a_handler_is_told_to_who_asked() {
    let local = serve().await;
    local.server.of("/").on("buy", async || -> Result<u8, HandlerError> { Err("sold out".into()) });
    let socket = connect(&local).await;
    socket.on("sell", async || -> Result<u8, HandlerError> { Err("not for sale".into()) });
    let error = socket.emit_with_ack::<u8>("buy", ()).await.unwrap_err();
    assert_eq!(error.kind(), &AckErrorKind::Failed("sold out".into()));
    let answer: serde_json::Value = socket.emit_with_ack("buy", ()).await.unwrap();
    assert_eq!(answer, serde_json::json!({ "error": "sold out" }), "who asks for it gets the answer itself");
    for not_one in [serde_json::json!({ "error": 1 }), serde_json::json!({ "error": "text", "code": 2 })] {
        let error = socket.emit_with_ack::<u8>("echo", &not_one).await.unwrap_err();
        assert_eq!(error.kind(), &AckErrorKind::Arguments, "{not_one}");
    }
    let asked =
        local.server.of("/").timeout(Duration::from_secs(5)).emit_with_ack::<u8>("sell", ()).unwrap().collect().await;
    assert!(
        matches!(&asked.missing[..], [(_, sockeye::AckError::Failed(text))] if text == "not for sale"),
        "{asked:?}"
    );
    let of_one = local.server.of("/").socket(&socket.id().unwrap()).unwrap();
    let error = of_one.emit_with_ack::<u8>("sell", ()).await.unwrap_err();
    assert!(matches!(&error, sockeye::AckError::Failed(text) if text == "not for sale"), "{error:?}");
}

#[tokio::test]
async fn events_emitted_offline_are_sent_in_order() {
    let local = serve().await;
    let manager = quick(Manager::builder(&local.url())).build().unwrap();
    let socket = manager.socket("/");
    let mut events = socket.events();
    let acks: Vec<_> = (0..50)
        .map(|number| {
            socket.emit("back", number).unwrap();
            socket.emit_with_ack::<u32>("echo", &number)
        })
        .collect();
    socket.volatile().emit("back", 1000).unwrap();
    let expired = socket.timeout(Duration::ZERO).emit_with_ack::<()>("back", 1001).await.unwrap_err();
    assert!(matches!(expired.kind(), AckErrorKind::TimedOut(_)));
    assert_eq!(socket.buffered(), 100);
    socket.connect().await.unwrap();
    for (number, ack) in acks.into_iter().enumerate() {
        assert_eq!(next_data::<usize>(&mut events).await, number);
        assert_eq!(ack.await.unwrap() as usize, number);
    }
    socket.emit("back", 50).unwrap();
    assert_eq!(next_data::<u32>(&mut events).await, 50);
}

#[tokio::test]
async fn the_client_reads_nothing_from_a_server_that_does_not_read() {
    let script = Script::begin().await;
    let limits = BufferLimits { bytes: 64 * 1024, ..BufferLimits::default() };
    let connecting = tokio::spawn(script.client().send_buffer(limits).connect());
    let line = script.let_in(r#"{"sid":"socket"}"#).await;
    let socket = in_time(connecting).await.unwrap().unwrap();
    socket.on("echo", async |args: RawArgs| args);
    // The answers to all of it would be far more than the kernel takes for somebody who does not read.
    let packet = format!(r#"21["echo","{}"]"#, "x".repeat(1_000));
    let flood = tokio::spawn(async move { line.flood(&packet, 64 * 1024 * 1024).await });
    let mut before = 0;
    eventually("nothing more is answered", || {
        let now = socket.manager().backlog();
        std::mem::replace(&mut before, now) == now && now > limits.bytes
    })
    .await;
    assert!(before < 1024 * 1024, "{before} bytes wait");
    flood.abort();
}

#[tokio::test]
async fn of_many_pings_only_the_newest_is_answered() {
    let script = Script::begin().await;
    let connecting = tokio::spawn(script.client().connect());
    let mut line = script.let_in(r#"{"sid":"socket"}"#).await;
    let _socket = in_time(connecting).await.unwrap().unwrap();
    let pongs = line.ping(5_000).await;
    assert!(pongs < 50, "{pongs} pongs");
}

#[tokio::test]
async fn an_event_is_not_sent_after_its_acknowledgement_has_failed() {
    let local = serve().await;
    for retries in [None, Some(Retries::default())] {
        let builder = quick(Manager::builder(&local.url()));
        let builder = if let Some(retries) = retries { builder.retries(retries) } else { builder };
        let socket = builder.build().unwrap().socket("/");
        let mut events = socket.events();
        let failed = socket.emit_with_ack::<()>("back", "failed");
        socket.emit("back", "kept").unwrap();
        socket.disconnect();
        assert_eq!(in_time(failed).await.unwrap_err().kind(), &AckErrorKind::Disconnected);
        in_time(socket.connect()).await.unwrap();
        assert_eq!(next_data::<String>(&mut events).await, "kept");
    }
}

#[tokio::test]
async fn the_longest_durations_are_accepted() {
    let local = serve().await;
    let (ack_timeout, delay) = (Duration::MAX, Duration::MAX);
    for transports in support::TRANSPORTS {
        let builder = Manager::builder(&local.url()).transports(transports).timeout(Duration::MAX);
        let builder = builder.upgrade_timeout(Duration::MAX).close_timeout(Duration::MAX).ack_timeout(Duration::MAX);
        let builder = builder.reconnection(Reconnection { delay, delay_max: delay, ..Reconnection::default() });
        let builder = builder.retries(Retries { ack_timeout, ..Retries::default() });
        let socket = in_time(builder.connect()).await.unwrap();
        assert_eq!(in_time(socket.emit_with_ack::<u8>("echo", 1)).await.unwrap(), 1);
        in_time(socket.manager().disconnect()).await;
    }
}

#[tokio::test]
async fn an_event_that_the_kernel_has_taken_is_not_sent_again() {
    let server = Server::new();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = handled.clone();
    server.of("/").on("seq", move |Args((number, _)): Args<(u32, String)>| {
        log.lock().unwrap().push(number);
        async {}
    });
    let local = Local::serve(server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limits = BufferLimits { bytes: 32 << 20, ..BufferLimits::default() };
    let builder = quick(Manager::builder(&url)).transports(Transport::WebSocket).send_buffer(limits);
    let connecting = tokio::spawn(builder.connect());
    let (mut client, _) = listener.accept().await.unwrap();
    let mut upstream = TcpStream::connect(local.address).await.unwrap();
    let socket = tokio::select! {
        ended = copy_bidirectional(&mut client, &mut upstream) => panic!("the connection ended: {ended:?}"),
        socket = connecting => socket.unwrap().unwrap(),
    };

    // Far more than the kernel takes for somebody who does not read, in batches of several events.
    let (count, padding) = (4_000, "x".repeat(4096));
    (0..count).for_each(|number| socket.emit("seq", (number, &padding)).unwrap());
    let manager = socket.manager();
    let mut before = usize::MAX;
    eventually("the kernel is full", || std::mem::replace(&mut before, manager.backlog()) == manager.backlog()).await;
    assert!(manager.backlog() > 0, "the kernel has taken everything");
    // Whoever gave up may emit it again: it is not sent by the next connection.
    let given_up = socket.timeout(Duration::from_millis(10)).emit_with_ack::<()>("seq", (u32::MAX, "")).await;
    assert!(matches!(given_up.unwrap_err().kind(), AckErrorKind::TimedOut(_)));
    client.shutdown().await.unwrap();
    let (mut second, _) = in_time(listener.accept()).await.unwrap();
    assert!(socket.buffered() > 0 && manager.backlog() == 0, "what was not written waits for the next connection");
    // The server gets what was taken, all of it, and then the rest by the next connection.
    in_time(copy(&mut client, &mut upstream)).await.unwrap();
    upstream.shutdown().await.unwrap();
    in_time(upstream.read_to_end(&mut Vec::new())).await.unwrap();
    let first = handled.lock().unwrap().len();
    let mut upstream = TcpStream::connect(local.address).await.unwrap();
    tokio::spawn(async move { copy_bidirectional(&mut second, &mut upstream).await });
    socket.emit("seq", (count, "")).unwrap();
    eventually("everything arrives", || handled.lock().unwrap().last() == Some(&count)).await;
    assert!(first > 0 && handled.lock().unwrap().iter().copied().eq(0..=count), "{:?}", handled.lock().unwrap());
}

#[tokio::test]
async fn a_volatile_event_is_dropped_while_another_event_waits_to_be_written() {
    let local = serve().await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let limits = BufferLimits { bytes: 400, ..BufferLimits::default() };
        let builder = Manager::builder(&local.url()).transports(transport).send_buffer(limits);
        let socket = builder.connect().await.unwrap();
        let mut events = socket.events();
        socket.flushed().await;
        socket.emit("back", "x".repeat(80)).unwrap();
        // There is no room for it, which is no error.
        socket.volatile().emit("back", "dropped: no room").unwrap();
        assert_eq!(next_data::<String>(&mut events).await.len(), 80);
        if transport == Transport::Polling {
            socket.flushed().await;
            socket.emit("back", "on its way").unwrap();
            // Lets the manager begin a request, whose answer takes longer.
            tokio::task::yield_now().await;
            socket.volatile().emit("back", "dropped: busy").unwrap();
            assert_eq!(next_data::<String>(&mut events).await, "on its way");
        }
        socket.flushed().await;
        socket.volatile().emit("back", "sent").unwrap();
        assert_eq!(next_data::<String>(&mut events).await, "sent", "{transport}");
    }
}

#[tokio::test]
async fn a_reconnect_reports_each_stage() {
    let local = serve().await;
    let address = local.address;
    let manager = quick(Manager::builder(&local.url())).transports(Transport::WebSocket).build().unwrap();
    let mut stages = manager.events();
    let socket = manager.socket("/");
    let mut events = socket.events();
    socket.connect().await.unwrap();
    let first = socket.id().unwrap();
    drop(local);
    eventually("the loss is noticed", || !socket.is_connected()).await;
    let mut failures = manager.events();
    socket.emit("back", "kept").unwrap();
    let server = Server::new();
    server.of("/").on("back", async |socket: sockeye::Socket, sockeye::RawArgs(args): sockeye::RawArgs| {
        Ok(socket.emit("back", args)?)
    });
    while !matches!(in_time(failures.next()).await.unwrap(), ManagerEvent::ConnectFailed(_)) {}
    let _local = Local::serve_at(server, address).await;
    assert_eq!(next_data::<String>(&mut events).await, "kept");
    assert_ne!(socket.id().unwrap(), first);
    manager.disconnect().await;
    drop((socket, manager));
    let mut seen = Vec::new();
    while let Some(stage) = in_time(stages.next()).await {
        seen.push(match stage {
            ManagerEvent::Connecting => "connecting".to_owned(),
            ManagerEvent::Open { attempts: 0, .. } => "open".to_owned(),
            ManagerEvent::Open { .. } => "reopened".to_owned(),
            ManagerEvent::ConnectFailed(error) => {
                assert!(matches!(error.kind(), ConnectErrorKind::Unreachable { .. }), "{error:?}");
                "failed".to_owned()
            }
            ManagerEvent::Reconnecting { .. } => "waiting".to_owned(),
            ManagerEvent::Closed { reason, .. } => reason.to_string(),
            other => format!("{other:?}"),
        });
    }
    seen.dedup();
    assert_eq!(seen[..4], ["connecting", "open", "transport close", "waiting"]);
    assert_eq!(seen[seen.len() - 3..], ["connecting", "reopened", "io client disconnect"]);
    assert!(seen.contains(&"failed".to_owned()));
}

#[tokio::test]
async fn the_client_gives_up_after_the_allowed_attempts() {
    let local = serve().await;
    let url = local.url();
    let policy = Reconnection { delay: Duration::from_millis(1), attempts: Some(3), ..Reconnection::default() };
    let manager = Manager::builder(&url).reconnection(policy).build().unwrap();
    let mut stages = manager.events();
    let socket = manager.socket("/");
    socket.connect().await.unwrap();
    drop(local);
    let mut attempts = 0;
    loop {
        match in_time(stages.next()).await.unwrap() {
            ManagerEvent::Reconnecting { attempt, .. } => {
                assert!(attempt <= 3);
                attempts = attempt;
            }
            ManagerEvent::ReconnectFailed => break,
            _ => {}
        }
    }
    assert_eq!(attempts, 3);
    eventually("the socket is given up", || !socket.is_active()).await;
    assert!(matches!(socket.emit("x", ()).unwrap_err().kind(), EmitErrorKind::Disconnected { .. }));
}

#[tokio::test]
async fn a_failed_first_connect_is_an_error_unless_retry_first_is_set() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let error = in_time(sockeye_client::connect(&url)).await.unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::Unreachable { .. }), "{error:?}");
    assert!(with_causes(&error).contains("Connection refused"), "{error:?}");
    let manager = quick(Manager::builder(&url)).retry_first(true).build().unwrap();
    let mut stages = manager.events();
    let socket = manager.socket("/");
    let connecting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.connect().await }
    });
    while !matches!(in_time(stages.next()).await.unwrap(), ManagerEvent::ConnectFailed(_)) {}
    let _local = Local::serve_at(Server::new(), address).await;
    in_time(connecting).await.unwrap().unwrap();
    assert!(socket.is_connected());
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for transport in [Transport::Polling, Transport::WebSocket] {
        let limit = Duration::from_millis(50);
        let connecting = Manager::builder(&url).transports(transport).timeout(limit).connect();
        let error = in_time(connecting).await.unwrap_err();
        assert!(matches!(error.kind(), ConnectErrorKind::TimedOut { timeout, .. } if *timeout == limit), "{error:?}");
    }
    let local = serve().await;
    local.server.of("/silent").on_connect(async || std::future::pending::<()>().await);
    let limit = Duration::from_secs(3);
    let connecting = Manager::builder(&format!("{}/silent", local.url())).timeout(limit).connect();
    let error = in_time(connecting).await.unwrap_err();
    let ConnectErrorKind::NamespaceTimedOut { namespace, timeout } = error.kind() else { panic!("{error:?}") };
    assert_eq!((namespace.as_str(), *timeout), ("/silent", limit));
}

#[tokio::test]
async fn an_http_error_names_the_status_the_body_and_a_hint() {
    let local = serve().await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Manager::builder(&local.url()).path("/wrong").transports(transport);
        let error = builder.connect().await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error.kind(), ConnectErrorKind::Http { status: 404, .. }), "{error:?}");
        assert!(text.contains("404") && text.contains("check `path`"), "{text}");
        let builder = Manager::builder(&local.url()).engine_version(sockeye_client::EngineVersion::V3);
        let error = builder.transports(transport).connect().await.unwrap_err().to_string();
        assert!(error.contains("400") && error.contains("Unsupported protocol version"), "{error}");
        assert!(error.contains("`engine_version`"), "{error}");
    }
}

#[tokio::test]
async fn retries_deliver_in_order_through_reconnects() {
    let local = serve().await;
    let handled = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = handled.clone();
    local.server.of("/").on("task", move |sockeye::Args((number, id)): sockeye::Args<(u32, String)>| {
        log.lock().push((number, id));
        async move { number }
    });
    let proxy = Proxy::to(local.address).await;
    let builder = quick(Manager::builder(&proxy.url())).transports(Transport::WebSocket);
    let socket = builder.retries(Retries { ids: true, ..Retries::default() }).connect().await.unwrap();
    let count = 2000;
    let acks: Vec<_> = (0..count).map(|number| socket.emit_with_ack::<u32>("task", &number)).collect();
    let log = handled.clone();
    let breaker = tokio::spawn(async move {
        for number in 1..=10 {
            eventually("some more are handled", || log.lock().len() > number * 100).await;
            proxy.cut();
        }
        proxy
    });
    for (number, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await.unwrap() as usize, number);
    }
    drop(breaker.await.unwrap());
    let mut handled = std::mem::take(&mut *handled.lock());
    handled.dedup();
    assert_eq!(handled.iter().map(|task| task.0).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    let (tag, _) = handled[0].1.split_once('-').unwrap();
    assert!(handled.iter().all(|task| task.1 == format!("{tag}-{}", task.0)));
}

#[tokio::test]
async fn an_event_is_given_up_after_its_retries() {
    let local = serve().await;
    let retries = Retries { retries: 1, ack_timeout: Duration::from_millis(300), ids: false };
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    local.server.of("/").on("unanswered", move |_: sockeye::Ack| {
        count.fetch_add(1, Ordering::SeqCst);
        async {}
    });
    let socket = Manager::builder(&local.url()).retries(retries).connect().await.unwrap();
    let mut stages = socket.manager().events();
    let error = socket.emit_with_ack::<()>("unanswered", ()).await.unwrap_err();
    assert_eq!(error.kind(), &AckErrorKind::RetriesExhausted);
    assert_eq!(socket.emit_with_ack::<u8>("echo", 7).await.unwrap(), 7);
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    loop {
        if let ManagerEvent::DeliveryFailed { namespace } = in_time(stages.next()).await.unwrap() {
            break assert_eq!(namespace, "/");
        }
    }
}
