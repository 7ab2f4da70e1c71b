//! Much at once: more than the server's outbox holds is emitted in one go, and everything is acknowledged.
mod support;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sockeye::{Args, Server};
use sockeye_client::{Manager, Transport};
use support::{Local, eventually};
use tokio::time::timeout;

const COUNT: usize = 10_000;

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

#[tokio::test]
async fn ten_thousand_events_in_one_go_are_acknowledged_in_order() {
    let server = Server::new();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = handled.clone();
    server.of("/").on("echo", move |Args((number, text)): Args<(usize, String)>| {
        log.lock().push(number);
        async move { (number, text) }
    });
    let local = Local::serve(server).await;
    let text = "x".repeat(1_000);
    for transport in [Transport::Polling, Transport::WebSocket] {
        let socket = in_time(Manager::builder(&local.url()).transports(transport).connect()).await.unwrap();
        let id = socket.id();
        let emit = |number| socket.emit_with_ack::<(usize, String)>("echo", (number, &text));
        let acks: Vec<_> = (0..COUNT).map(emit).collect();
        for (number, ack) in acks.into_iter().enumerate() {
            assert_eq!(in_time(ack).await.unwrap(), (number, text.clone()), "{transport}");
        }
        assert!(std::mem::take(&mut *handled.lock()).into_iter().eq(0..COUNT), "{transport}");
        assert!(socket.is_connected() && socket.id() == id, "{transport}");
    }
}

#[tokio::test]
async fn a_handler_that_emits_more_than_an_outbox_holds_is_heard_to_the_end() {
    let server = Server::new();
    server.of("/").on("burst", async |socket: sockeye::Socket| {
        let text = "x".repeat(10_000);
        for number in 0..425 {
            socket.emit("part", (number, &text))?;
        }
        Ok(())
    });
    let local = Local::serve(server).await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let socket = in_time(Manager::builder(&local.url()).transports(transport).connect()).await.unwrap();
        let parts = Arc::new(Mutex::new(Vec::new()));
        let log = parts.clone();
        socket.on("part", async move |sockeye_client::Args((number, _)): sockeye_client::Args<(usize, String)>| {
            log.lock().push(number);
        });
        in_time(socket.emit_with_ack::<()>("burst", ())).await.unwrap();
        eventually("every part arrives", || parts.lock().len() == 425).await;
        assert!(parts.lock().iter().copied().eq(0..425), "{transport}");
    }
}
