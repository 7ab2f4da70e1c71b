//! `max_memory`: what clients make a server hold stays near it, whatever they do, and who holds little is served.
mod support;

use std::{any::Any, sync::Arc, task::Context, time::Duration};

use parking_lot::Mutex;
use sockeye_engine::{
    Application, CloseReason, Config, Engine, Frame, Graceful, Message, Metrics, NotFound, Session, SessionHandler,
};
use sockeye_protocol::websocket::{Opcode, encode_frame, encode_head};
use support::{PATIENCE, WebSocket, connect_through, websocket_over};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const MAX_MEMORY: usize = 32 << 20;
const HOSTILE: usize = 400;
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// Answers every message, and keeps those that begin with `keep`, as a handler does that is behind.
struct Keeper {
    sessions: Arc<Mutex<Vec<Arc<Session>>>>,
}

struct KeeperSession {
    session: Arc<Session>,
    kept: Vec<Box<str>>,
    bytes: usize,
}

impl Application for Keeper {
    type Handler = KeeperSession;

    fn open(&self, session: &Arc<Session>) -> KeeperSession {
        self.sessions.lock().push(session.clone());
        KeeperSession { session: session.clone(), kept: Vec::new(), bytes: 0 }
    }
}

impl SessionHandler for KeeperSession {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        let Message::Text(text) = message else { return };
        if text.starts_with("keep") {
            self.kept.push(text.into());
            self.bytes += text.len();
        } else {
            let _closed = self.session.send_text(format!("4{text}").as_bytes());
        }
    }

    fn held_bytes(&self) -> usize {
        self.bytes
    }

    fn closed(&mut self, _: CloseReason) {
        self.kept = Vec::new();
        self.bytes = 0;
    }
}

/// What one hostile client does with its connection; it is kept open, and not read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Attack {
    UnreadBroadcasts,
    UnreadPolling,
    UnfinishedMessages,
    UnreadAnswers,
    UnfinishedBodies,
    UnfinishedHeads,
    Backlog,
}

struct Battle {
    engine: Engine<Keeper>,
    address: std::net::SocketAddr,
    sessions: Arc<Mutex<Vec<Arc<Session>>>>,
}

impl Battle {
    async fn begin(max_memory: usize) -> Self {
        let config = Config {
            max_memory,
            max_payload: 1 << 20,
            outbox_bytes: 1 << 30,
            slow_consumer_timeout: Duration::from_secs(3600),
            ..Config::default()
        };
        let sessions = Arc::<Mutex<Vec<_>>>::default();
        let engine = Engine::new(config, Keeper { sessions: sessions.clone() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = engine.clone();
        tokio::spawn(async move {
            let forever = Graceful { stop: std::future::pending(), limit: Duration::ZERO };
            served.serve(vec![listener], NotFound, forever).await;
        });
        Self { engine, address, sessions }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn websocket(&self) -> (u16, WebSocket<TcpStream>) {
        websocket_over(self.connect().await, WEBSOCKET).await
    }

    /// Opens a session that polls, unless it is refused.
    async fn polling(&self) -> Option<String> {
        let mut stream = self.connect().await;
        let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let sid = answer.split("\"sid\":\"").nth(1)?.split('"').next()?;
        Some(sid.into())
    }

    /// Has one more client attack. What it needs to keep its connection open is returned, unless it was turned away.
    async fn attack(&self, attack: Attack) -> Option<Box<dyn Any>> {
        const BYTES: usize = 300_000;
        match attack {
            Attack::UnreadPolling => {
                self.polling().await?;
                Some(Box::new(self.connect().await))
            }
            Attack::UnreadAnswers => {
                let sid = self.polling().await?;
                // The kernel would take most of the answer.
                let mut stream = connect_through(&self.engine, 4_096);
                let get = format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n");
                stream.write_all(get.as_bytes()).await.ok()?;
                Some(Box::new(stream))
            }
            Attack::UnfinishedHeads => {
                let head = [&b"GET / HTTP/1.1\r\nHost: a\r\nX: "[..], &[b'x'; 31_000]].concat();
                flood(self.connect().await, head).await
            }
            Attack::UnfinishedBodies => {
                let sid = self.polling().await?;
                let mut stream = self.connect().await;
                let head = format!(
                    "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.ok()?;
                flood(stream, vec![b'4'; BYTES]).await
            }
            Attack::UnreadBroadcasts => {
                // The kernel would take megabytes for each connection.
                let (status, mut websocket) = websocket_over(connect_through(&self.engine, 4_096), WEBSOCKET).await;
                if status != 101 {
                    return None;
                }
                websocket.text().await;
                Some(Box::new(websocket.stream))
            }
            Attack::UnfinishedMessages => {
                let stream = self.open_websocket().await?;
                let mut bytes = encode_head(true, Opcode::Binary, 1_000_000, Some([0; 4])).to_vec();
                bytes.resize(BYTES, 0);
                flood(stream, bytes).await
            }
            Attack::Backlog => {
                let stream = self.open_websocket().await?;
                let mut bytes = Vec::new();
                for _ in 0..BYTES / 1_000 {
                    encode_frame(&mut bytes, Opcode::Text, &[b"4keep", &[b'x'; 995][..]].concat(), Some([0; 4]));
                }
                flood(stream, bytes).await
            }
        }
    }

    async fn open_websocket(&self) -> Option<TcpStream> {
        let (status, mut websocket) = self.websocket().await;
        if status != 101 {
            return None;
        }
        websocket.text().await;
        Some(websocket.stream)
    }

    /// Sends something to every hostile client that does not read: the same to all, or to each something of its own.
    fn broadcast(&self, same: bool) {
        let message = vec![b'x'; 100_000];
        let frame = Frame::binary(&message);
        for session in self.sessions.lock().iter().skip(1) {
            let _closed = session.send(if same { frame.clone() } else { Frame::binary(&message) });
        }
    }
}

/// Sends as much of this as the server takes within a moment.
async fn flood(mut stream: TcpStream, bytes: Vec<u8>) -> Option<Box<dyn Any>> {
    let _taken = timeout(Duration::from_millis(20), stream.write_all(&bytes)).await;
    Some(Box::new(stream))
}

/// Lets many clients attack, checks meanwhile that another one is served, and returns the engine's numbers.
async fn fight(attack: Attack, max_memory: usize) -> Metrics {
    let battle = Battle::begin(max_memory).await;
    let (_, mut good) = battle.websocket().await;
    good.text().await;
    let mut clients = Vec::new();
    for number in 0..HOSTILE {
        clients.extend(battle.attack(attack).await);
        match attack {
            Attack::UnreadBroadcasts | Attack::UnreadPolling if number % 20 == 0 => battle.broadcast(false),
            Attack::UnreadAnswers => battle.broadcast(true),
            _ => {}
        }
        if number % 10 == 0 {
            good.send(&format!("4{number}")).await;
            let answer = timeout(Duration::from_secs(5), good.text()).await;
            assert_eq!(answer.as_deref(), Ok(&*format!("4{number}")), "the client that behaves well is not served");
        }
    }
    battle.engine.metrics()
}

/// One test runs after the other, because the frames of all engines of a process are counted together.
static ALONE: Mutex<()> = Mutex::new(());

/// How much memory a fight takes at most, the clients' included, and what became of them.
fn measured(attack: Attack, max_memory: usize) -> (usize, Metrics) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut metrics = Metrics::default();
    // All that is allocated is allocated by this thread.
    let taken = allocation_counter::measure(|| {
        metrics = runtime.block_on(async { timeout(10 * PATIENCE, fight(attack, max_memory)).await.unwrap() });
    });
    (taken.bytes_max as usize, metrics)
}

fn stays_within_the_limit(attack: Attack) {
    stays_within(attack, MAX_MEMORY);
}

fn stays_within(attack: Attack, max_memory: usize) {
    let _alone = ALONE.lock();
    let (taken, metrics) = measured(attack, max_memory);
    println!("{attack:?}: {} KiB of {} KiB at most, {metrics:?}", taken >> 10, max_memory >> 10);
    assert!(taken <= max_memory / 4 * 5, "{attack:?} made the server hold {taken} bytes");
    assert!(taken >= max_memory / 2, "{attack:?} is no attack: it took {taken} bytes");
    assert!(metrics.starved + metrics.over_max_memory + metrics.closed_for_memory > 0, "{metrics:?}");
}

#[test]
fn unread_broadcasts_stay_within_the_limit() {
    stays_within_the_limit(Attack::UnreadBroadcasts);
}

#[test]
fn unread_polling_stays_within_the_limit() {
    stays_within_the_limit(Attack::UnreadPolling);
}

#[test]
fn unread_answers_to_polls_stay_within_the_limit() {
    stays_within_the_limit(Attack::UnreadAnswers);
}

#[test]
fn unfinished_heads_stay_within_the_limit() {
    stays_within(Attack::UnfinishedHeads, MAX_MEMORY / 4);
}

#[test]
fn unfinished_messages_stay_within_the_limit() {
    stays_within_the_limit(Attack::UnfinishedMessages);
}

#[test]
fn unfinished_bodies_stay_within_the_limit() {
    stays_within_the_limit(Attack::UnfinishedBodies);
}

#[test]
fn backlogs_of_handlers_stay_within_the_limit() {
    stays_within_the_limit(Attack::Backlog);
}

#[test]
fn a_new_session_is_refused_while_nine_tenths_are_in_use() {
    let _alone = ALONE.lock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(refuses_new_sessions());
}

#[test]
fn a_client_of_another_protocol_is_closed_when_most_is_held_for_it() {
    let _alone = ALONE.lock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let battle = Battle::begin(8 << 20).await;
        let (_, mut good) = battle.websocket().await;
        good.text().await;
        let (small, large) = (battle.engine.charge_memory().unwrap(), battle.engine.charge_memory().unwrap());
        small.set(100_000, 0);
        large.set(6 << 20, 0);
        assert!(!small.is_starved() && large.is_starved() && !large.is_exhausted());
        large.set(8 << 20, 0);
        assert!(!small.is_exhausted() && large.is_exhausted());
        timeout(PATIENCE, large.evicted()).await.expect("the largest is not closed");
        assert_eq!(battle.engine.metrics().closed_for_memory, 1);
        assert!(battle.engine.charge_memory().is_none());
        drop(large);
        assert!(battle.engine.charge_memory().is_some(), "it has given nothing back");
        good.send("4still here").await;
        assert_eq!(good.text().await, "4still here");
    });
}

async fn refuses_new_sessions() {
    let battle = Battle::begin(1 << 20).await;
    let (_, mut websocket) = battle.websocket().await;
    websocket.text().await;
    let frame = Frame::binary(&vec![0; 900_000]);
    let (status, _) = battle.websocket().await;
    assert_eq!(status, 503);
    assert!(battle.engine.charge_memory().is_none(), "a client of another protocol is admitted");
    assert_eq!(battle.engine.metrics().over_max_memory, 2);
    drop(frame);
    let (status, _) = battle.websocket().await;
    assert_eq!(status, 101);
}
