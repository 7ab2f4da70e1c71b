//! What happens when a peer takes less than it is sent: its own answers hold up its reading, others' messages are limited.
mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
    time::{Duration, Instant},
};

use sockeye_engine::{Application, CloseReason, Config, Engine, Frame, Message, SendError, Session, SessionHandler};
use sockeye_protocol::websocket::{Opcode, encode_frame};
use support::{PATIENCE, Received, connect_in_memory, start, start_in_memory, websocket_over};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
    time::timeout,
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

fn numbered(number: usize, bytes: usize) -> String {
    format!("4{number:06}{}", "x".repeat(bytes))
}

fn frames<'a>(packets: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        encode_frame(&mut bytes, Opcode::Text, packet.as_bytes(), Some([1, 2, 3, 4]));
    }
    bytes
}

#[tokio::test]
async fn a_burst_whose_answers_exceed_the_outbox_is_answered_in_order() {
    let server = start(Config { outbox_bytes: 100_000, ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let packets: Vec<_> = (0..20_000).map(|number| numbered(number, 1_000)).collect();
    let burst = frames(packets.iter().map(String::as_str));
    let (mut reader, mut writer) = websocket.split();
    let writing = tokio::spawn(async move {
        writer.write_all(&burst).await.unwrap();
        writer
    });
    for packet in &packets {
        assert_eq!(reader.text().await, *packet);
    }
    writing.await.unwrap();
    assert_eq!(server.engine.metrics().slow_consumers, 0);
}

#[tokio::test]
async fn a_burst_by_polling_whose_answers_exceed_the_outbox_is_answered_in_order() {
    let server = start(Config { outbox_bytes: 100_000, ..Config::default() }).await;
    let query = format!("{POLLING}&sid={}", server.open_polling().await);
    let packets: Vec<_> = (0..5_000).map(|number| numbered(number, 1_000)).collect();
    let posting = async {
        for body in packets.chunks(900) {
            assert_eq!(server.post(&query, &body.join("\u{1e}")).await.status, 200);
        }
    };
    let polling = async {
        let mut answered = 0;
        while answered < packets.len() {
            let body = server.get(&query).await.body;
            for packet in body.split('\u{1e}').filter(|packet| packet.starts_with('4')) {
                assert_eq!(packet, packets[answered]);
                answered += 1;
            }
        }
    };
    timeout(PATIENCE, async { tokio::join!(posting, polling) }).await.expect("not all was answered in time");
    assert_eq!(server.engine.metrics().slow_consumers, 0);
}

/// Sends much for each message, from the handler.
struct Much {
    opened: mpsc::UnboundedSender<Arc<Session>>,
}

struct MuchSession(Arc<Session>);

impl Application for Much {
    type Handler = MuchSession;

    fn open(&self, session: &Arc<Session>) -> MuchSession {
        self.opened.send(session.clone()).unwrap();
        MuchSession(session.clone())
    }
}

impl SessionHandler for MuchSession {
    fn message(&mut self, _: Message<'_>, _: &mut Context<'_>) {
        for number in 0..1_000 {
            self.0.send(Frame::text(numbered(number, 10_000).as_bytes())).unwrap();
        }
    }

    fn closed(&mut self, _: CloseReason) {}
}

#[tokio::test]
async fn a_handler_that_sends_more_than_the_outbox_takes_keeps_its_session() {
    let (opened, _sessions) = mpsc::unbounded_channel();
    let engine = Engine::new(Config { outbox_bytes: 100_000, ..Config::default() }, Much { opened });
    let (_, mut websocket) = websocket_over(connect_in_memory(&engine), WEBSOCKET).await;
    websocket.text().await;
    websocket.send("4more").await;
    for number in 0..1_000 {
        assert_eq!(websocket.text().await, numbered(number, 10_000));
    }
    let client = engine.connect_in_process(&http::Request::new(()).into_parts().0).await.unwrap();
    client.send_text("more").await.unwrap();
    for number in 0..1_000 {
        assert_eq!(client.receive().await.unwrap().packet(), numbered(number, 10_000).as_bytes());
    }
    assert_eq!(engine.metrics().slow_consumers, 0);
}

#[tokio::test]
async fn a_sender_that_awaits_ready_sends_as_fast_as_the_peer_reads() {
    let mut server = start(Config { outbox_bytes: 100_000, ..Config::default() }).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let session = server.next_session().await;
    let (blocked, is_blocked) = oneshot::channel();
    let sending = tokio::spawn(async move {
        let mut blocked = Some(blocked);
        for number in 0..3_000 {
            if !session.is_writable()
                && let Some(blocked) = blocked.take()
            {
                blocked.send(()).unwrap();
            }
            session.ready().await.unwrap();
            session.send(Frame::text(numbered(number, 10_000).as_bytes())).unwrap();
            assert!(session.buffered_bytes() <= 100_000);
        }
        session.close();
        assert_eq!(session.ready().await, Err(SendError::Closed));
    });
    is_blocked.await.expect("30 MB were taken at once");
    for number in 0..3_000 {
        assert_eq!(websocket.text().await, numbered(number, 10_000));
    }
    timeout(PATIENCE, sending).await.expect("the sender never ends").unwrap();
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_closed_when_its_time_is_over_and_not_before() {
    let limit = Duration::from_millis(300);
    let config = Config { outbox_bytes: 100_000, slow_consumer_timeout: limit, ..Config::default() };
    let mut server = start(config).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let session = server.next_session().await;
    let begun = Instant::now();
    let packet = numbered(0, 100_000);
    let burst = frames([packet.as_str(); 100]);
    let (_unread, mut writer) = websocket.split();
    let writing = tokio::spawn(async move {
        // The session is closed before all is written.
        let _reset = writer.write_all(&burst).await;
    });
    assert_eq!(server.next_close().await, CloseReason::SlowConsumer);
    assert!(begun.elapsed() >= limit, "after {:?}", begun.elapsed());
    assert_eq!((session.is_open(), server.engine.metrics().slow_consumers), (false, 1));
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_polling_client_that_only_sends_is_closed_when_its_time_is_over() {
    let limit = Duration::from_secs(5);
    let config = Config { outbox_bytes: 100_000, slow_consumer_timeout: limit, ..Config::default() };
    let mut server = start_in_memory(config).await;
    let query = format!("{POLLING}&sid={}", server.open_polling().await);
    let begun = tokio::time::Instant::now();
    assert_eq!(server.post(&query, &[numbered(0, 1_000).as_str(); 100].join("\u{1e}")).await.status, 200);
    assert_eq!(server.next_close().await, CloseReason::SlowConsumer);
    let took = begun.elapsed();
    assert!((limit..limit + Duration::from_secs(1)).contains(&took), "after {took:?}");
}

#[tokio::test]
async fn a_flood_of_pings_that_is_not_read_costs_a_few_pongs() {
    let mut server = start(Config::default()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let session = server.next_session().await;
    // Others' messages fill the connection first, so that every pong must wait.
    while session.is_writable() {
        session.send(Frame::text(numbered(0, 100_000).as_bytes())).unwrap();
    }
    let before = session.buffered_bytes();
    let mut pings = Vec::new();
    for number in 0..100_000_u32 {
        encode_frame(&mut pings, Opcode::Ping, &number.to_be_bytes(), Some([1, 2, 3, 4]));
    }
    websocket.stream.write_all(&pings).await.unwrap();
    let last = 99_999_u32.to_be_bytes();
    let (mut pongs, mut newest) = (0, Vec::new());
    while newest != last {
        match websocket.receive().await {
            Received::Pong(payload) => (pongs, newest) = (pongs + 1, payload),
            Received::Text(_) => assert!(session.buffered_bytes() <= before + 16 * 6),
            other => panic!("{other:?}"),
        }
    }
    assert!(pongs < 100_000 / 2, "{pongs} pongs");
}

/// Notes who has sent each message.
struct Log(mpsc::UnboundedSender<char>);

struct LogSession(mpsc::UnboundedSender<char>);

impl Application for Log {
    type Handler = LogSession;

    fn open(&self, _: &Arc<Session>) -> LogSession {
        LogSession(self.0.clone())
    }
}

impl SessionHandler for LogSession {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        if let Message::Text(text) = message {
            self.0.send(text.chars().next().unwrap()).unwrap();
        }
    }

    fn closed(&mut self, _: CloseReason) {}
}

async fn next(handled: &mut mpsc::UnboundedReceiver<char>) -> char {
    timeout(PATIENCE, handled.recv()).await.expect("nothing was handled in time").unwrap()
}

#[tokio::test]
async fn others_have_their_turn_while_a_client_floods() {
    let (log, mut handled) = mpsc::unbounded_channel();
    let engine = Engine::new(Config::default(), Log(log));
    let (_, mut flood) = websocket_over(connect_in_memory(&engine), WEBSOCKET).await;
    let (_, mut other) = websocket_over(connect_in_memory(&engine), WEBSOCKET).await;
    flood.text().await;
    other.text().await;
    // All of it lies in the connections before the server's tasks run.
    flood.stream.write_all(&frames(["4f"; 5_000])).await.unwrap();
    other.stream.write_all(&frames(["4o"])).await.unwrap();
    let mut before = 0;
    while next(&mut handled).await == 'f' {
        before += 1;
    }
    assert!(before <= 2 * 64, "the other client waited for {before} messages");
    for _ in before..5_000 {
        assert_eq!(next(&mut handled).await, 'f');
    }
}

/// Sends every message to all sessions, and notes how much of what it has sent was not received then.
#[derive(Clone, Default)]
struct ToAll {
    sessions: Arc<Mutex<Vec<Arc<Session>>>>,
    sent: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    most_waiting: Arc<AtomicUsize>,
}

impl Application for ToAll {
    type Handler = Self;

    fn open(&self, session: &Arc<Session>) -> Self {
        self.sessions.lock().unwrap().push(session.clone());
        self.clone()
    }
}

impl SessionHandler for ToAll {
    fn message(&mut self, _: Message<'_>, _: &mut Context<'_>) {
        let frame = Frame::text(b"4to all");
        let sessions = self.sessions.lock().unwrap();
        sessions.iter().for_each(|session| session.send(frame.clone()).unwrap());
        let sent = self.sent.fetch_add(sessions.len(), Ordering::SeqCst) + sessions.len();
        self.most_waiting.fetch_max(sent - self.received.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn closed(&mut self, _: CloseReason) {}
}

#[tokio::test]
async fn a_publisher_is_not_read_until_what_it_has_sent_is_written() {
    const MEMBERS: usize = 2_000;
    let application = ToAll::default();
    let engine = Engine::new(Config::default(), application.clone());
    let request = http::Request::new(()).into_parts().0;
    for _ in 0..MEMBERS {
        let member = engine.connect_in_process(&request).await.unwrap();
        let received = application.received.clone();
        tokio::spawn(async move {
            while member.receive().await.is_some() {
                received.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let (_, mut publisher) = websocket_over(connect_in_memory(&engine), WEBSOCKET).await;
    publisher.text().await;
    publisher.stream.write_all(&frames(["4publish"; 100])).await.unwrap();
    for _ in 0..100 {
        publisher.text().await;
    }
    let most = application.most_waiting.load(Ordering::SeqCst);
    assert!(most <= 10 * MEMBERS, "{most} packets of one publisher waited");
}
