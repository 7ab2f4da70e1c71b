//! Losing the connection to the servers of others: reasons, reconnection, recovery, and what waits meanwhile.
#[path = "support/process.rs"]
mod process;
mod support;

use std::time::Duration;

use process::{SERVERS, Start, node, python};
use serde_json::json;
use sockeye_client::{
    Ack, AckErrorKind, BufferLimits, Data, DisconnectReason, EmitErrorKind, Manager, ManagerEvent, OverflowPolicy,
    Reconnection, Socket, Transport,
};
use support::{Proxy, disconnects, eventually, next_back, quick};
use tokio::{sync::mpsc, time::timeout};

const LIMIT: Duration = Duration::from_secs(20);

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
            assert_eq!(next_back::<u32>(&mut events).await, number, "{text}");
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
async fn a_late_acknowledgement_does_not_answer_another_event() {
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
async fn without_recovery_a_reconnect_starts_a_new_session() {
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
async fn events_arrive_in_order_at_a_server_that_starts_later() {
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
async fn the_send_buffer_bounds_events_emitted_offline() {
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
async fn every_disconnect_has_its_reason() {
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
async fn a_reconnect_reports_each_stage_and_backs_off_even_without_a_delay() {
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
