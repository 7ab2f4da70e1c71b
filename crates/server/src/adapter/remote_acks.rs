use std::task::{Context, Poll};

use sockeye_protocol::socketio::ArgsBuf;
use tokio::sync::mpsc;

/// The acknowledgements of clients of other servers, as an adapter collects them.
#[derive(Debug)]
pub struct RemoteAcks {
    events: mpsc::UnboundedReceiver<RemoteAck>,
}

/// What an adapter learns about the acknowledgements of clients of other servers.
#[derive(Debug)]
#[non_exhaustive]
pub enum RemoteAck {
    /// This many clients of one server have been asked.
    Asked(usize),
    /// A client has answered.
    Answer(ArgsBuf),
    /// This many servers have not answered in time, so that their clients are not known.
    ServersMissing(usize),
}

impl RemoteAcks {
    /// Makes a collection of what is sent through the returned sender. It ends when the sender is dropped.
    pub fn channel() -> (mpsc::UnboundedSender<RemoteAck>, Self) {
        let (sender, events) = mpsc::unbounded_channel();
        (sender, Self { events })
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<RemoteAck>> {
        self.events.poll_recv(cx)
    }
}
