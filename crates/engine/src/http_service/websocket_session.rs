use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::upgrade::OnUpgrade;

use crate::{
    Application, Engine,
    session::{driver::Driver, opening::Opening},
    transport::connection::Connection,
};

/// The task of a session that begins on a WebSocket: it waits for the connection, then drives the session.
///
/// It is written by hand because an `async` block would keep the memory of the first part while the second part runs.
pub(crate) enum WebSocketSession<A: Application> {
    Waiting { on_upgrade: OnUpgrade, engine: Engine<A>, opening: Option<Box<Opening>> },
    Running(Driver<A::Handler>),
}

impl<A: Application> WebSocketSession<A> {
    pub(crate) fn new(on_upgrade: OnUpgrade, engine: Engine<A>, opening: Opening) -> Self {
        Self::Waiting { on_upgrade, engine, opening: Some(Box::new(opening)) }
    }
}

impl<A: Application> Future for WebSocketSession<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let driver = match this {
                Self::Running(driver) => return Pin::new(driver).poll(cx),
                Self::Waiting { on_upgrade, engine, opening } => {
                    let upgraded = ready!(Pin::new(on_upgrade).poll(cx));
                    // A client that left before the answer was sent gets no session.
                    let (Ok(upgraded), Some(opening)) = (upgraded, opening.take()) else { return Poll::Ready(()) };
                    let mut connection = Connection::new(upgraded);
                    let answer = connection.take_answer();
                    let (channel, websocket) = connection.into_parts();
                    match engine.open_websocket(*opening, channel, websocket, answer) {
                        Ok(driver) => driver,
                        // Another session has taken the identifier in the meantime.
                        Err(refusal) => {
                            tracing::debug!(%refusal, context = refusal.context(), "cannot open a session on a WebSocket");
                            return Poll::Ready(());
                        }
                    }
                }
            };
            *this = Self::Running(driver);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{CloseReason, Message, Session, SessionHandler};

    /// An application whose handlers are as large as those of Socket.IO.
    struct Sized;

    #[derive(Default)]
    struct Handler {
        _state: [u64; 18],
    }

    impl Application for Sized {
        type Handler = Handler;

        fn open(&self, _: &Arc<Session>) -> Handler {
            Handler::default()
        }
    }

    impl SessionHandler for Handler {
        fn message(&mut self, _: Message<'_>, _: &mut Context<'_>) {}

        fn closed(&mut self, _: CloseReason) {}
    }

    /// Stands for the task, to see what the runtime makes of it.
    struct Still([u8; size_of::<WebSocketSession<Sized>>()]);

    impl Future for Still {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if self.0.contains(&1) { Poll::Pending } else { Poll::Ready(()) }
        }
    }

    /// Every connection has one. The runtime adds 96 bytes, and takes a multiple of 128.
    #[tokio::test]
    async fn the_task_of_a_session_takes_384_bytes() {
        assert!(size_of::<WebSocketSession<Sized>>() <= 280, "{} bytes", size_of::<WebSocketSession<Sized>>());
        let still = Still([0; size_of::<WebSocketSession<Sized>>()]);
        let taken = allocation_counter::measure(|| drop(tokio::spawn(still)));
        assert_eq!(taken.bytes_max, 384);
    }
}
