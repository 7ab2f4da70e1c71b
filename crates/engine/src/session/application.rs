use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use crate::{CloseReason, session::handle::Session};

/// Handles the sessions of an engine: it creates a handler for each new session.
pub trait Application: Send + Sync + 'static {
    /// The handler of one session.
    type Handler: SessionHandler;

    /// A session has opened; its open packet is sent already.
    fn open(&self, session: &Arc<Session>) -> Self::Handler;
}

/// One message of a client, borrowed from the connection's read buffer. The enum is exhaustive, because Engine.IO has
/// only these two kinds of messages.
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
    /// Handles a message. To end the session, close it; later messages are not delivered then.
    ///
    /// Work that the message begins may be polled with `cx` at once; [`poll`](Self::poll) is called afterwards anyway.
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>);

    /// Advances the work that earlier messages began. `Ready` means that none is left.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Whether another message may come now. While it may not, nothing more is read from the peer, and the rest of a POST's
    /// body waits.
    fn is_ready(&self) -> bool {
        true
    }

    /// About how many bytes of what has come from the peer the handler holds, beyond a kilobyte or so. It counts against
    /// [`max_memory`](crate::Config::max_memory). Asked often, so that it must be quick to tell.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Whether the handler's own work keeps it from being [ready](Self::is_ready). While it does, the peer's pongs are not
    /// read and it is not taken for dead; afterwards it has the whole ping timeout again.
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
