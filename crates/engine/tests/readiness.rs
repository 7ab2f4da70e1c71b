//! A handler that takes no message for a while.
use std::{future::pending, sync::Arc, task::Context, time::Duration};

use sockeye_engine::{Application, CloseReason, Config, Engine, Message, Session, SessionHandler};
use tokio::time::{Instant, timeout};

/// Takes messages once its deadline has passed.
struct Late {
    session: Arc<Session>,
    ready_at: Option<Instant>,
}

struct Lateness(Duration);

impl Application for Lateness {
    type Handler = Late;

    fn open(&self, session: &Arc<Session>) -> Late {
        Late { session: session.clone(), ready_at: Some(Instant::now() + self.0) }
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

    fn deadline(&self) -> Option<Instant> {
        self.ready_at
    }

    fn timeout(&mut self, _: Instant) {
        self.ready_at = None;
    }

    fn closed(&mut self, _: CloseReason) {}
}

#[tokio::test(start_paused = true)]
async fn what_waited_is_handled_as_soon_as_the_handler_is_ready_again() {
    let lateness = Duration::from_secs(1);
    let engine = Engine::new(Config::default(), Lateness(lateness));
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
