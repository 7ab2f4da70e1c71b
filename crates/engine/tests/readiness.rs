//! A handler that takes no message for a while.
use std::{future::pending, sync::Arc, task::Context, time::Duration};

use sockeye_engine::{Application, CloseReason, Config, Engine, Message, Session, SessionHandler};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout},
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
async fn what_waited_is_handled_as_soon_as_the_handler_is_ready_again() {
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
async fn a_peer_that_is_not_read_because_the_handler_is_behind_is_pinged_on_and_not_taken_for_dead() {
    let (config, lateness) = (Config::default(), Duration::from_secs(200));
    let patience = config.ping_interval + config.ping_timeout;
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
