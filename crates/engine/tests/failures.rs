//! What is left of a session when something else fails: a handler that panics, a runtime that ends, a peer that says
//! nothing but what it likes.
mod support;

use std::time::Duration;

use sockeye_engine::{Batch, CloseReason, Config, Frame, Graceful, SendError};
use support::{NotFound, PATIENCE, Received, Server, WebSocket, start, start_in_memory};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

async fn emptied(server: &Server) {
    timeout(PATIENCE, async {
        while server.engine.session_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a session is still there");
}

#[tokio::test]
async fn a_handler_that_panics_closes_only_its_own_session() {
    let mut server = start(Config { max_sessions: 1, ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let session = server.next_session().await;
    websocket.send("4panic!").await;
    assert_eq!(websocket.receive().await, Received::End);
    emptied(&server).await;
    assert_eq!(session.send_text(b"4x"), Err(SendError::Closed));

    let polling = format!("{POLLING}&sid={}", server.open_polling().await);
    let session = server.next_session().await;
    let (poll, post) = tokio::join!(server.get(&polling), async {
        while !session.is_writable() {
            tokio::task::yield_now().await;
        }
        server.post(&polling, "4panic!").await
    });
    assert_eq!((poll.status, poll.body.as_str()), (200, "1"), "the waiting poll must learn of the end");
    assert_eq!(post.status, 400);
    emptied(&server).await;

    // The application itself, when it is told of the session.
    let mut websocket = server.websocket(&format!("{WEBSOCKET}&panic")).await;
    while !matches!(websocket.receive().await, Received::End) {}
    emptied(&server).await;

    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    websocket.send("4fine").await;
    assert_eq!(websocket.text().await, "4fine");
}

#[test]
fn sessions_end_with_the_runtime_that_drives_them() {
    let (serving, asking) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let mut server = serving.block_on(start(Config::default()));
    let (session, mut websocket) = asking.block_on(async {
        server.open_polling().await;
        let session = server.next_session().await;
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        (session, websocket)
    });
    assert_eq!(server.engine.session_count(), 2);
    drop(serving);
    assert_eq!(asking.block_on(websocket.receive()), Received::End);
    assert_eq!(session.send_text(b"4x"), Err(SendError::Closed));
    assert!(!session.is_open());
    assert_eq!(server.engine.session_count(), 0);
}

#[test]
fn a_broadcast_is_written_even_if_the_runtime_of_its_writers_has_ended() {
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let server = first.block_on(start(Config::default()));
    first.block_on(async { server.websocket(WEBSOCKET).await.text().await });
    drop(first);
    second.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Server { address: listener.local_addr().unwrap(), ..server };
        let engine = server.engine.clone();
        let graceful = Graceful { stop: std::future::pending::<()>(), limit: PATIENCE };
        tokio::spawn(async move { engine.serve(vec![listener], NotFound, graceful).await });
        server.next_session().await;
        let mut clients = Vec::new();
        let mut sessions = Vec::new();
        for _ in 0..200 {
            let mut websocket = server.websocket(WEBSOCKET).await;
            websocket.text().await;
            clients.push(websocket);
            sessions.push(server.next_session().await);
        }
        {
            let _batch = Batch::open();
            let frame = Frame::text(b"4to all");
            sessions.iter().for_each(|session| session.send(frame.clone()).unwrap());
        }
        for client in &mut clients {
            assert_eq!(client.text().await, "4to all");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_answered_ping_tells_which_packets_have_reached_the_peer() {
    let mut server = start_in_memory(Config { ping_interval: PATIENCE / 2, ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    let session = server.next_session().await;
    websocket.text().await;
    pong(&mut websocket).await;
    assert_eq!(session.answered_ping(), None, "nobody had asked for it");
    assert_eq!(websocket.text().await, "2");
    let pinged = Instant::now();
    sleep(PATIENCE / 10).await;
    for _ in 0..2 {
        pong(&mut websocket).await;
        assert_eq!(session.answered_ping(), Some(pinged));
    }
}

/// Sends a pong, and waits until the server has handled it.
async fn pong(websocket: &mut WebSocket) {
    websocket.send("3").await;
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello");
}

#[tokio::test(start_paused = true)]
async fn a_packet_extends_the_ping_timeout_once() {
    let (interval, limit) = (Duration::from_millis(100), Duration::from_millis(400));
    let config = Config { ping_interval: interval, ping_timeout: limit, ..Config::default() };
    let mut server = start_in_memory(config).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    assert_eq!(websocket.text().await, "2");
    let pinged = Instant::now();
    sleep(limit / 2).await;
    let closed = timeout(PATIENCE, async {
        loop {
            websocket.send("4not a pong").await;
            match websocket.receive().await {
                Received::Text(text) => assert_eq!(text, "4not a pong"),
                other => break other,
            }
            sleep(limit / 20).await;
        }
    })
    .await
    .expect("packets put the end off again and again");
    assert_eq!(closed, Received::Close(None));
    let off = pinged.elapsed().as_millis().abs_diff((limit + limit / 2).as_millis());
    assert!(off <= (limit / 20).as_millis(), "after {:?}", pinged.elapsed());
    assert_eq!(server.next_close().await, CloseReason::PingTimeout);
}
