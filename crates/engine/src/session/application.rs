use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use crate::{CloseReason, session::handle::Session};

/// What travels over the sessions: it is told of every new one and gives it a handler.
pub trait Application: Send + Sync + 'static {
    /// The handler of one session.
    type Handler: SessionHandler;

    /// A session has opened; its open packet is sent already.
    fn open(&self, session: &Arc<Session>) -> Self::Handler;
}

/// One message of a client, borrowed from the connection's read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// The application's side of one session. All its methods are called by the session's own task, one at a time, in the
/// order things happened.
pub trait SessionHandler: Send + Unpin + 'static {
    /// A message has come. To end the session, close it; what comes after is not delivered any more.
    ///
    /// Work that the message begins may be polled with `cx` at once; [`poll`](Self::poll) is called afterwards anyway.
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>);

    /// Advances whatever earlier messages began. `Ready` means that nothing is under way.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Whether another message may come now. While it may not, nothing more is read from the peer, and the rest of a POST's
    /// body waits.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether its own work is what keeps it from being [ready](Self::is_ready). As long as that is so, a peer is not
    /// taken for dead because of a pong that nobody has read, and afterwards it has the whole ping timeout again.
    fn is_behind(&self) -> bool {
        false
    }

    /// When [`timeout`](Self::timeout) is to be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The session has ended. [`poll`](Self::poll) is called on until it is ready.
    fn closed(&mut self, reason: CloseReason);
}
