use std::{
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use tokio::net::tcp::OwnedWriteHalf;

use crate::outgoing::outbox::{Outbox, SLICES};

/// Where the packets go that wait in a session's outbox.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Into the answers of GET requests.
    Polling(Box<PollingChannel>),
    /// Straight into a TCP connection, by whoever sends. `blocked` says that the kernel takes no more at present.
    Tcp { half: OwnedWriteHalf, blocked: bool },
    /// Into a stream that only the session's task may write.
    Stream,
    /// Nowhere: the sending side of the WebSocket is shut.
    Shut,
}

/// Who is woken when there is something to do for a session that polls.
#[derive(Debug)]
pub(crate) struct PollingChannel {
    /// The most packets that one answer may have.
    pub(crate) max_packets: usize,
    /// The GET that waits for packets.
    pub(crate) get: Option<Waker>,
    /// The task of the WebSocket that is about to take over.
    pub(crate) probe: Option<Waker>,
}

impl PollingChannel {
    pub(crate) fn new(max_packets: usize) -> Self {
        Self { max_packets, get: None, probe: None }
    }

    /// Has the waiting GET look again.
    pub(crate) fn wake_get(&mut self) {
        if let Some(waker) = self.get.take() {
            waker.wake();
        }
    }
}

impl Channel {
    /// Waits until a blocked TCP connection takes bytes again. Ready says that it was blocked and is not any more.
    pub(crate) fn poll_unblock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp { half, blocked } if *blocked => half.as_ref().poll_write_ready(cx).map(|_| *blocked = false),
            _ => Poll::Pending,
        }
    }
}

/// Writes what waits until it is gone or the kernel takes no more.
pub(crate) fn write_all(half: &OwnedWriteHalf, outbox: &mut Outbox) -> io::Result<()> {
    while !outbox.is_empty() {
        let written = match outbox.only_slice() {
            // Plain sends are cheaper than vectored writes, and one slice is the rule.
            Some(slice) => half.try_write(slice)?,
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = outbox.slices(&mut slices);
                half.try_write_vectored(slices.get(..count).unwrap_or_default())?
            }
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outbox.advance(written);
    }
    Ok(())
}
