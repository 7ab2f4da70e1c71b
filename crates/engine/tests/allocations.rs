//! What the hot path allocates, counted.
use std::{sync::Arc, task::Context};

use sockeye_engine::{Application, Batch, CloseReason, Config, Engine, Frame, Message, Session, SessionHandler};

struct Silent;

impl Application for Silent {
    type Handler = Self;

    fn open(&self, _: &Arc<Session>) -> Self {
        Self
    }
}

impl SessionHandler for Silent {
    fn message(&mut self, _: Message<'_>, _: &mut Context<'_>) {}

    fn closed(&mut self, _: CloseReason) {}
}

#[tokio::test]
async fn a_broadcast_allocates_nothing_for_a_delivery() {
    let engine = Engine::new(Config::default(), Silent);
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        clients.push(engine.connect_in_process(&http::Request::new(()).into_parts().0).await.unwrap());
    }
    let frame = Frame::text(b"4to all");
    let broadcast = || {
        let _batch = Batch::open();
        clients.iter().for_each(|client| client.session().send(frame.clone()).unwrap());
    };
    for round in 0..3 {
        let taken = allocation_counter::measure(broadcast);
        // The lists of sessions that are handed to the flusher.
        assert!(taken.count_total < 100, "{taken:?} in round {round}");
        for client in &clients {
            while client.try_receive().is_none() {
                tokio::task::yield_now().await;
            }
        }
    }
}
