//! What the handler of a session may count on.
mod support;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use sockeye_engine::{Application, CloseReason, Config, Engine, Message, Session, SessionHandler};
use sockeye_protocol::websocket::{Opcode, encode_frame};
use support::{PATIENCE, connect_in_memory, websocket_over};
use tokio::{
    io::AsyncWriteExt,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout},
};

const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// Closes its session at the first message, and has work under way all the time.
struct Curt(UnboundedSender<Told>);

struct CurtSession {
    session: Arc<Session>,
    told: UnboundedSender<Told>,
    closed_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(String),
    Closed(CloseReason),
    /// Its work was looked at for the first time after the end.
    Polled(Duration),
}

impl Application for Curt {
    type Handler = CurtSession;

    fn open(&self, session: &Arc<Session>) -> CurtSession {
        CurtSession { session: session.clone(), told: self.0.clone(), closed_at: None }
    }
}

impl CurtSession {
    fn tell(&self, told: Told) {
        self.told.send(told).unwrap();
    }
}

impl SessionHandler for CurtSession {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        if let Message::Text(text) = message {
            self.tell(Told::Message(text.into()));
        }
        self.session.close();
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if let Some(at) = self.closed_at.take() {
            self.tell(Told::Polled(at.elapsed()));
        }
        Poll::Pending
    }

    fn closed(&mut self, reason: CloseReason) {
        self.closed_at = Some(Instant::now());
        self.tell(Told::Closed(reason));
    }
}

fn curt() -> (Engine<Curt>, UnboundedReceiver<Told>) {
    let (sender, told) = unbounded_channel();
    (Engine::new(Config::default(), Curt(sender)), told)
}

async fn next(told: &mut UnboundedReceiver<Told>) -> Told {
    timeout(PATIENCE, told.recv()).await.expect("the handler is told nothing").unwrap()
}

#[tokio::test(start_paused = true)]
async fn waiting_work_is_polled_as_soon_as_the_connection_is_lost() {
    let (engine, mut told) = curt();
    let (_, mut websocket) = websocket_over(connect_in_memory(&engine), WEBSOCKET).await;
    websocket.text().await;
    drop(websocket);
    assert_eq!(next(&mut told).await, Told::Closed(CloseReason::TransportClose));
    assert_eq!(next(&mut told).await, Told::Polled(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn messages_after_the_one_that_closes_the_session_are_not_delivered() {
    let (engine, mut told) = curt();
    let (_, mut websocket) = websocket_over(connect_in_memory(&engine), WEBSOCKET).await;
    websocket.text().await;
    let mut frames = Vec::new();
    for message in ["4first", "4second", "4third"] {
        encode_frame(&mut frames, Opcode::Text, message.as_bytes(), Some([1, 2, 3, 4]));
    }
    websocket.stream.write_all(&frames).await.unwrap();
    assert_eq!(next(&mut told).await, Told::Message("first".into()));
    assert_eq!(next(&mut told).await, Told::Closed(CloseReason::ForcedClose));

    let (engine, mut told) = curt();
    let client = engine.connect_in_process(&http::Request::new(()).into_parts().0).await.unwrap();
    // Three packets in one body.
    client.send_text("first\u{1e}4second\u{1e}4third").await.unwrap();
    assert_eq!(next(&mut told).await, Told::Message("first".into()));
    assert_eq!(next(&mut told).await, Told::Closed(CloseReason::ForcedClose));
}
