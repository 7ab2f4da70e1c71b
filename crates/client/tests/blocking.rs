//! The client without `async`.
#[path = "support/process.rs"]
mod process;
mod support;

use std::{sync::mpsc, time::Duration};

use process::SERVERS;
use serde_json::json;
use sockeye::{Reply, Server};
use sockeye_client::{AckErrorKind, ConnectErrorKind, blocking};
use support::Local;

#[test]
fn a_blocking_client_talks_to_other_servers() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let socket = blocking::connect(&server.url()).unwrap();
        socket.on("question", |event| event.ack(format!("{} so", event.data::<String>().unwrap())).unwrap());
        assert_eq!(socket.call::<String>("ask", ()).unwrap(), "how? so", "{name}");
        let mut events = socket.events();
        socket.emit("back", 7).unwrap();
        assert_eq!(events.next_timeout(Duration::from_secs(10)).unwrap().data::<u8>().unwrap(), 7, "{name}");
        socket.manager().disconnect();
    }
}

#[test]
fn a_blocking_client_emits_calls_and_receives() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = Server::new();
    server.of("/").on("echo", async |sockeye::RawArgs(args): sockeye::RawArgs| Reply::of(args));
    server.of("/").on("back", async |socket: sockeye::Socket, sockeye::RawArgs(args): sockeye::RawArgs| {
        let answer: String = socket.emit_with_ack("back", args).await.unwrap();
        Ok(socket.emit("answer", &answer)?)
    });
    server.of("/").on("silent", async || std::future::pending::<()>().await);
    let local = runtime.block_on(Local::serve(server));

    let socket = blocking::connect(&local.url()).unwrap();
    assert!(socket.is_connected() && socket.id().is_some());
    assert_eq!(socket.call::<u8>("echo", &1).unwrap(), 1);
    let (sender, received) = mpsc::channel();
    socket.on("back", move |event| {
        sender.send(event.data::<String>().unwrap()).unwrap();
        event.ack("heard").unwrap();
    });
    let mut events = socket.events();
    socket.emit("back", "hello").unwrap();
    assert_eq!(received.recv_timeout(Duration::from_secs(10)).unwrap(), "hello");
    assert_eq!(events.next().unwrap().name(), "back");
    assert_eq!(events.next_timeout(Duration::from_secs(10)).unwrap().data::<String>().unwrap(), "heard");
    assert!(events.next_timeout(Duration::from_millis(1)).is_none());
    let limit = Duration::from_millis(1);
    let error = socket.timeout(limit).call::<()>("silent", ()).unwrap_err();
    assert_eq!(*error.kind(), AckErrorKind::TimedOut(limit));
    socket.manager().disconnect();
    assert!(!socket.is_connected());

    let error = blocking::connect(&format!("{}/nowhere", local.url())).unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::Refused(_)), "{error}");
}
