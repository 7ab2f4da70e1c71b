//! A handler that takes no message for a while.
mod support;

use std::{future::pending, sync::Arc, task::Context, time::Duration};

use sockeye_engine::{Application, CloseReason, Config, Engine, Message, Session, SessionHandler};
use support::{PATIENCE, sid, start_application};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, timeout},
};

/// Takes messages once its deadline has passed.
struct Late {
    session: Arc<Session>,
    ready_at: Option<Instant>,
    is_behind: bool,
    ended: UnboundedSender<CloseReason>,
}

struct Lateness {
    late: Duration,
    is_behind: bool,
    ended: UnboundedSender<CloseReason>,
}

impl Lateness {
    fn of(late: Duration, is_behind: bool) -> (Self, UnboundedReceiver<CloseReason>) {
        let (ended, told) = unbounded_channel();
        (Self { late, is_behind, ended }, told)
    }
}

impl Application for Lateness {
    type Handler = Late;

    fn open(&self, session: &Arc<Session>) -> Late {
        let ready_at = Some(Instant::now() + self.late);
        Late { session: session.clone(), ready_at, is_behind: self.is_behind, ended: self.ended.clone() }
    }
}

impl SessionHandler for Late {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        if let Message::Text(text) = message {
            self.session.send_text(format!("4{text}").as_bytes()).unwrap();
        }
    }

    fn is_ready(&self) -> bool {
        self.ready_at.is_none()
    }

    fn is_behind(&self) -> bool {
        self.is_behind && !self.is_ready()
    }

    fn deadline(&self) -> Option<Instant> {
        self.ready_at
    }

    fn timeout(&mut self, _: Instant) {
        self.ready_at = None;
    }

    fn closed(&mut self, reason: CloseReason) {
        // Not every test wants to know.
        let _nobody = self.ended.send(reason);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_messages_are_handled_as_soon_as_the_handler_is_ready_again() {
    let lateness = Duration::from_secs(1);
    let engine = Engine::new(Config::default(), Lateness::of(lateness, false).0);
    let request = http::Request::new(()).into_parts().0;
    let client = engine.connect_in_process(&request).await.unwrap();
    let begun = Instant::now();
    let sending = async {
        client.send_text("hello").await.unwrap();
        pending::<()>().await;
    };
    let echo = tokio::select! {
        echo = timeout(Duration::from_secs(60), client.receive()) => echo.expect("it is never handled").unwrap(),
        () = sending => unreachable!("it has no end"),
    };
    assert_eq!(echo.packet(), b"4hello");
    assert!(begun.elapsed() < 2 * lateness, "it is handled after {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_because_its_handler_is_behind_is_pinged_and_stays_connected() {
    let (config, lateness) = (Config::default(), Duration::from_secs(200));
    // The session looks a second time before it takes its peer for dead.
    let patience = config.ping_interval + config.ping_timeout + Duration::from_millis(20);
    for (is_behind, answers) in [(false, false), (true, false), (true, true)] {
        let (application, mut ended) = Lateness::of(lateness, is_behind);
        let engine = Engine::new(config.clone(), application);
        let request = http::Request::new(()).into_parts().0;
        let client = engine.connect_in_process(&request).await.unwrap();
        let begun = Instant::now();
        let living = async {
            let mut pinged = Instant::now();
            while let Some(frame) = client.receive().await {
                if frame.packet() == b"2" {
                    // A client gives up by itself if it is not pinged for so long.
                    assert!(pinged.elapsed() < patience, "{:?} passed without a ping", pinged.elapsed());
                    pinged = Instant::now();
                    if answers && begun.elapsed() > lateness {
                        client.pong();
                    }
                }
            }
            pending::<()>().await;
        };
        let end = tokio::select! {
            reason = timeout(2 * lateness, ended.recv()) => reason.ok().map(|reason| (reason.unwrap(), begun.elapsed())),
            () = living => unreachable!("it has no end"),
        };
        match (end, is_behind, answers) {
            (Some((CloseReason::PingTimeout, after)), false, false) => assert!(after <= patience, "after {after:?}"),
            (Some((CloseReason::PingTimeout, after)), true, false) => {
                assert!(after >= lateness + config.ping_timeout, "it was taken for dead after {after:?}");
                assert!(after <= lateness + patience, "it was taken for dead after {after:?} only");
            }
            (None, true, true) => {}
            unexpected => panic!("{unexpected:?}"),
        }
    }
}

/// Takes one message a second.
struct OneASecond(UnboundedSender<String>);

struct OneASecondHandler {
    handled: UnboundedSender<String>,
    ready_at: Option<Instant>,
}

impl Application for OneASecond {
    type Handler = OneASecondHandler;

    fn open(&self, _: &Arc<Session>) -> OneASecondHandler {
        OneASecondHandler { handled: self.0.clone(), ready_at: None }
    }
}

impl SessionHandler for OneASecondHandler {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        assert!(self.is_ready(), "{message:?} came although the handler was not ready");
        let Message::Text(text) = message else { panic!("{message:?}") };
        self.handled.send(text.to_owned()).unwrap();
        self.ready_at = Some(Instant::now() + SECOND);
    }

    fn is_ready(&self) -> bool {
        self.ready_at.is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        self.ready_at
    }

    fn timeout(&mut self, _: Instant) {
        self.ready_at = None;
    }

    fn closed(&mut self, _: CloseReason) {
        let _test_is_over = self.handled.send("closed".into());
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_not_ready_gets_the_rest_of_a_post_later_and_delays_the_next_post() {
    let (handled, mut told) = unbounded_channel();
    let server = start_application(OneASecond(handled));
    let open = server.get("EIO=4&transport=polling").await;
    let query = format!("EIO=4&transport=polling&sid={}", sid(&open.body));
    let begun = Instant::now();
    let first = server.post(&query, "4a\u{1e}4b\u{1e}4c").await;
    assert_eq!((first.status, first.body.as_str()), (200, "ok"));
    // python-engineio gives up a request after five seconds.
    assert!(begun.elapsed() < SECOND, "the first request was answered after {:?}", begun.elapsed());
    assert_eq!(told.try_recv().as_deref(), Ok("a"));
    assert!(told.try_recv().is_err(), "the handler was not ready");
    let second = server.post(&query, "4d").await;
    assert_eq!(second.status, 200);
    assert!(begun.elapsed() >= 3 * SECOND, "the second request was answered after {:?}", begun.elapsed());
    for text in ["b", "c", "d"] {
        assert_eq!(told.try_recv().as_deref(), Ok(text));
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_whose_rest_is_invalid_is_refused_even_if_the_handler_is_not_ready() {
    let (handled, mut told) = unbounded_channel();
    let server = start_application(OneASecond(handled));
    let open = server.get("EIO=4&transport=polling").await;
    let query = format!("EIO=4&transport=polling&sid={}", sid(&open.body));
    assert_eq!(server.post(&query, "4a\u{1e}4b\u{1e}nonsense").await.status, 400);
    assert_eq!(told.try_recv().as_deref(), Ok("a"));
    assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap().as_deref(), Some("closed"));
}

#[tokio::test(start_paused = true)]
async fn a_close_packet_in_the_rest_of_a_post_ends_the_session_after_the_packets_before_it() {
    let (handled, mut told) = unbounded_channel();
    let server = start_application(OneASecond(handled));
    let open = server.get("EIO=4&transport=polling").await;
    let query = format!("EIO=4&transport=polling&sid={}", sid(&open.body));
    assert_eq!(server.post(&query, "4a\u{1e}4b\u{1e}1").await.status, 200);
    sleep(3 * SECOND).await;
    for text in ["a", "b", "closed"] {
        assert_eq!(told.try_recv().as_deref(), Ok(text));
    }
}
