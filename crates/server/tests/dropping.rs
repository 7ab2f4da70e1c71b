//! A server that nobody holds any more is freed with its state, whatever it was doing.
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sockeye::{Config, Graceful, RecoveryConfig, Server, State, listen};
use support::{NotFound, PATIENCE, WebSocket, next};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// State that says when it is freed.
struct Tracked(UnboundedSender<()>);

impl Drop for Tracked {
    fn drop(&mut self) {
        let _unheard = self.0.send(());
    }
}

/// A server with recovery and every kind of handler, and what its state says when it is freed.
fn server() -> (Server, UnboundedReceiver<()>) {
    let (freed, freed_receiver) = unbounded_channel();
    let config = Config { recovery: Some(RecoveryConfig::default()), ..Config::default() };
    let server = Server::builder().config(config).state(Tracked(freed)).build();
    server
        .of("/")
        .on("echo", async |State(_): State<Tracked>, sockeye::Data(text): sockeye::Data<String>| text)
        .on_room_event(|_| ())
        .every(Duration::from_secs(3600), async |_| ());
    server.of_matching(|_, _| true).on("echo", async || ());
    server.of("/child");
    server.on_new_namespace(|_| ());
    (server, freed_receiver)
}

async fn serve(server: &Server) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listeners = listen("127.0.0.1:0").await.unwrap();
    let address = listeners[0].local_addr().unwrap();
    let server = server.clone();
    let forever = Graceful { stop: std::future::pending(), limit: Duration::ZERO };
    let serving = tokio::spawn(async move { server.serve_with(listeners, NotFound, forever).await });
    (address, serving)
}

#[tokio::test]
async fn a_dropped_server_frees_its_state() {
    let (server, mut freed) = server();
    drop(server.clone());
    assert!(freed.try_recv().is_err(), "freed although a handle is left");
    drop(server);
    assert!(freed.try_recv().is_ok(), "not freed");
}

#[tokio::test]
async fn a_mounted_service_keeps_its_server_alive() {
    let (server, mut freed) = server();
    let service = server.service();
    drop(server);
    assert!(freed.try_recv().is_err(), "freed although its service is mounted");
    drop(service);
    assert!(freed.try_recv().is_ok(), "not freed");
}

#[tokio::test]
async fn namespaces_and_sockets_that_are_kept_do_not_keep_the_server() {
    let (server, mut freed) = server();
    let root = server.of("/");
    let client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    drop((server, client));
    next(&mut freed).await;
    assert!(!socket.is_connected());
    root.emit("nobody hears this", ()).unwrap();
    assert_eq!(root.server().connection_count(), 0);
    assert!(root.server().state::<Tracked>().is_none());
}

#[tokio::test]
async fn dropping_a_server_ends_its_connections_and_frees_its_state() {
    let (server, mut freed) = server();
    let (address, serving) = serve(&server).await;
    let mut client = WebSocket::connect(address).await;
    client.send("40").await;
    assert!(client.receive().await.unwrap().starts_with("40"));
    serving.abort();
    let _aborted = serving.await;
    client.send(r#"420["echo","still here"]"#).await;
    assert_eq!(client.receive().await.unwrap(), r#"430["still here"]"#, "a WebSocket goes on when `serve` is dropped");
    drop(server);
    next(&mut freed).await;
    let ended = tokio::time::timeout(PATIENCE, async { while client.receive().await.is_some() {} });
    ended.await.expect("the connection is still open");
}

#[tokio::test]
async fn a_running_handler_ends_before_the_state_of_a_dropped_server_is_freed() {
    let (server, mut freed) = server();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, wait) = (begun.clone(), go_on.clone());
    let seen = Arc::new(Mutex::new(None));
    let left = seen.clone();
    server.of("/").on("wait", move |State(_): State<Tracked>| {
        let (begin, wait) = (begin.clone(), wait.clone());
        async move {
            begin.notify_one();
            wait.notified().await;
        }
    });
    server.of("/").on_disconnect(move |socket: sockeye::Socket, State(_): State<Tracked>| {
        *left.lock().unwrap() = Some(socket.server().connection_count());
        std::future::ready(())
    });
    let (address, serving) = serve(&server).await;
    let mut client = WebSocket::connect(address).await;
    client.send("40").await;
    client.send(r#"42["wait"]"#).await;
    begun.notified().await;
    serving.abort();
    let _aborted = serving.await;
    drop(server);
    while client.receive().await.is_some() {}
    assert!(freed.try_recv().is_err(), "freed although a handler runs");
    go_on.notify_one();
    next(&mut freed).await;
    assert!(seen.lock().unwrap().is_some(), "the disconnect handler did not run");
}

#[tokio::test]
async fn a_job_that_runs_at_intervals_does_not_keep_a_dropped_server() {
    let (server, mut freed) = server();
    let (ran, mut runs) = unbounded_channel();
    server.of("/").every(Duration::from_millis(5), move |_| {
        let ran = ran.clone();
        async move {
            let _unheard = ran.send(());
        }
    });
    let (address, serving) = serve(&server).await;
    let mut client = WebSocket::connect(address).await;
    client.send("40").await;
    next(&mut runs).await;
    serving.abort();
    let _aborted = serving.await;
    drop(server);
    next(&mut freed).await;
    // Its closure holds the sender, so that the channel ends when it is freed too.
    let ended = tokio::time::timeout(PATIENCE, async { while runs.recv().await.is_some() {} });
    ended.await.expect("the job is kept");
}

#[tokio::test]
async fn a_server_that_is_served_again_after_close_keeps_its_handlers() {
    let (server, mut freed) = server();
    for round in 0..3 {
        let (address, serving) = serve(&server).await;
        let mut client = WebSocket::connect(address).await;
        client.send("40").await;
        assert!(client.receive().await.unwrap().starts_with("40"), "round {round}");
        client.send(r#"420["echo","round"]"#).await;
        assert_eq!(client.receive().await.unwrap(), r#"430["round"]"#, "round {round}");
        server.close();
        while client.receive().await.is_some() {}
        serving.abort();
        let _aborted = serving.await;
    }
    drop(server);
    next(&mut freed).await;
}

#[tokio::test]
async fn a_server_that_has_stopped_gracefully_can_be_served_again() {
    let (server, _freed) = server();
    for round in 0..2 {
        let stop = Arc::new(Notify::new());
        let listeners = listen("127.0.0.1:0").await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (handle, stopping) = (server.clone(), stop.clone());
        let serving = tokio::spawn(async move {
            let graceful = Graceful { stop: stopping.notified(), limit: PATIENCE };
            handle.serve_with(listeners, NotFound, graceful).await;
        });
        let mut client = WebSocket::connect(address).await;
        client.send("40").await;
        assert!(client.receive().await.unwrap().starts_with("40"), "round {round}");
        client.send(r#"420["echo","round"]"#).await;
        assert_eq!(client.receive().await.unwrap(), r#"430["round"]"#, "round {round}");
        stop.notify_one();
        while client.receive().await.is_some() {}
        drop(client);
        serving.await.unwrap();
    }
}
