//! The end of a server: what has begun by then is brought to its end.
mod support;

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use sockeye_engine::{Application, CloseReason, Config, Engine, Frame, Graceful, Message, Session, SessionHandler};
use sockeye_protocol::websocket::Opcode;
use support::{NotFound, PATIENCE, Received, WebSocket, connect_in_memory, start, start_in_memory, websocket_over};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

#[tokio::test]
async fn a_shutdown_closes_transports_and_returns() {
    let mut server = start(Config::default()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    let polling = format!("{POLLING}&sid={}", server.open_polling().await);
    let (stop, _websocket, session) = (server.stop.take(), server.next_session().await, server.next_session().await);
    let (poll, ()) = tokio::join!(server.get(&polling), async {
        while !session.is_writable() {
            tokio::task::yield_now().await;
        }
        stop.unwrap().send(()).unwrap();
    });
    // A close packet would keep clients of python-engineio away.
    assert_eq!((poll.status, poll.body.as_str()), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    assert_eq!(websocket.receive().await, Received::Close(None));
    drop(websocket);
    timeout(PATIENCE, &mut server.task).await.expect("the server does not stop").unwrap();
    assert_eq!(server.next_close().await, CloseReason::ServerShuttingDown);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_delivers_waiting_packets_to_a_polling_client() {
    let mut server = start_in_memory(Config { close_timeout: PATIENCE, ..Config::default() }).await;
    let polling = format!("{POLLING}&sid={}", server.open_polling().await);
    let session = server.next_session().await;
    session.send_text(b"4last words").unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(server.next_close().await, CloseReason::ServerShuttingDown);
    assert_eq!(server.get(&polling).await.body, "4last words");
    assert_eq!(server.get(&polling).await.status, 400);
    timeout(PATIENCE, &mut server.task).await.expect("the server does not stop").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_client_that_has_sent_its_close_frame() {
    for closes_first in [true, false] {
        let mut server = start_in_memory(Config { close_timeout: PATIENCE, ..Config::default() }).await;
        let mut websocket = server.websocket(WEBSOCKET).await;
        websocket.text().await;
        let begun = Instant::now();
        if closes_first {
            websocket.frame(Opcode::Close, b"").await;
            assert_eq!(server.next_close().await, CloseReason::TransportClose);
        }
        server.stop.take().unwrap().send(()).unwrap();
        assert!(matches!(websocket.receive().await, Received::Close(_)));
        if !closes_first {
            // What is still on its way before the close frame is not waited for, but read over.
            websocket.send("4too late").await;
            websocket.frame(Opcode::Close, b"").await;
        }
        timeout(PATIENCE, &mut server.task).await.expect("the server does not stop").unwrap();
        assert!(begun.elapsed() < PATIENCE / 10, "the server stopped after {:?}", begun.elapsed());
        assert_eq!(websocket.receive().await, Received::End);
    }
}

/// More than lies between the two ends of a connection in memory.
const MANY: u32 = 100;

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_websocket_client_that_reads_slowly() {
    let mut server = start_in_memory(Config { close_timeout: PATIENCE, ..Config::default() }).await;
    let mut slow = server.websocket(WEBSOCKET).await;
    slow.text().await;
    let session = server.next_session().await;
    for number in 0..MANY {
        let mut message = number.to_be_bytes().to_vec();
        message.resize(5_000, 0);
        session.send(Frame::binary(&message)).unwrap();
    }
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(server.next_close().await, CloseReason::ServerShuttingDown);
    // By now everybody has done what there is to do, and waits.
    sleep(PATIENCE / 2).await;
    assert!(!server.task.is_finished(), "the server is gone with what it had to deliver");
    for number in 0..MANY {
        match slow.receive().await {
            Received::Binary(message) => assert_eq!(message[..4], number.to_be_bytes()),
            other => panic!("expected message {number}, got {other:?}"),
        }
    }
    assert_eq!(slow.receive().await, Received::Close(None));
    drop(slow);
    timeout(PATIENCE, &mut server.task).await.expect("the server does not stop").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_work_of_a_handler_after_its_session_has_ended() {
    let work = Duration::from_secs(5);
    let worked = Arc::new(Mutex::new(None));
    let done = worked.clone();
    let tidying = Box::new(move || -> Work {
        let done = done.clone();
        Box::pin(async move {
            sleep(work).await;
            *done.lock().unwrap() = Some(Instant::now());
        })
    });
    let (stop, serving, websocket) = serve(Tidy { work: tidying }, PATIENCE).await;
    stop.send(()).unwrap();
    let begun = Instant::now();
    drop(websocket);
    timeout(PATIENCE, serving).await.expect("the server does not stop").unwrap();
    let worked = worked.lock().unwrap().expect("the handler's work was cut off");
    assert_eq!(worked.duration_since(begun).as_secs(), work.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_longer_than_its_limit() {
    let limit = Duration::from_secs(3);
    let endless = Box::new(|| -> Work { Box::pin(pending()) });
    let (stop, serving, _websocket) = serve(Tidy { work: endless }, limit).await;
    stop.send(()).unwrap();
    let begun = Instant::now();
    timeout(PATIENCE, serving).await.expect("the server does not stop").unwrap();
    assert_eq!(begun.elapsed().as_secs(), limit.as_secs());
}

#[tokio::test]
async fn a_shutdown_waits_for_an_answer_and_not_for_the_rest_of_a_head() {
    const HEAD: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n";
    for answered_before in [false, true] {
        let close_timeout = Duration::from_millis(100);
        let mut server = start(Config { close_timeout, ..Config::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        if answered_before {
            stream.write_all(&[HEAD, b"\r\n"].concat()).await.unwrap();
            stream.read_u8().await.unwrap();
        }
        stream.write_all(HEAD).await.unwrap();
        // By the time another connection is answered, the head is read.
        server.open_polling().await;
        let begun = Instant::now();
        server.stop.take().unwrap().send(()).unwrap();
        timeout(PATIENCE, &mut server.task).await.expect("the server does not stop").unwrap();
        assert!(begun.elapsed() < 20 * close_timeout, "it took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_dropped_server_frees_its_port_and_its_sessions_stay_open() {
    let server = start(Config::default()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    server.task.abort();
    let bound = timeout(PATIENCE, async {
        loop {
            match TcpListener::bind(server.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    bound.await.expect("the port is still bound");
    websocket.send("4still here").await;
    assert_eq!(websocket.text().await, "4still here");
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has work to do when a session has ended.
struct Tidy {
    work: Box<dyn Fn() -> Work + Send + Sync>,
}

/// Serves `application` on no listener, and opens one WebSocket in memory.
async fn serve(application: Tidy, limit: Duration) -> (oneshot::Sender<()>, JoinHandle<()>, WebSocket<DuplexStream>) {
    let engine = Engine::new(Config::default(), application);
    let client = connect_in_memory(&engine);
    let (stop, stopped) = oneshot::channel();
    let stop_when = Graceful { stop: async { drop(stopped.await) }, limit };
    let serving = tokio::spawn(async move { engine.serve(Vec::new(), NotFound, stop_when).await });
    let (status, mut websocket) = websocket_over(client, WEBSOCKET).await;
    assert_eq!(status, 101);
    websocket.text().await;
    (stop, serving, websocket)
}

impl Application for Tidy {
    type Handler = TidySession;

    fn open(&self, _: &Arc<Session>) -> TidySession {
        TidySession { work: (self.work)(), is_working: false }
    }
}

struct TidySession {
    work: Work,
    is_working: bool,
}

impl SessionHandler for TidySession {
    fn message(&mut self, _: Message<'_>, _: &mut Context<'_>) {}

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_working = self.is_working && self.work.as_mut().poll(cx).is_pending();
        if self.is_working { Poll::Pending } else { Poll::Ready(()) }
    }

    fn closed(&mut self, _: CloseReason) {
        self.is_working = true;
    }
}
