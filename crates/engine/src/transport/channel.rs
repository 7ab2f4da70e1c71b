use std::{
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use tokio::net::tcp::OwnedWriteHalf;

use crate::outgoing::outbox::{Outbox, SLICES};

/// Where the packets of a session's outbox are written.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Into the answers of GET requests.
    Polling(Box<PollingChannel>),
    /// Into a TCP connection, by the thread that sends. `blocked` means that the kernel's send buffer is full.
    Tcp { half: OwnedWriteHalf, blocked: bool },
    /// Into a stream that only the session's task may write.
    Stream,
    /// Nowhere: the sending side of the WebSocket is shut down.
    Shut,
}

/// The tasks to wake when a session on polling has something to send.
#[derive(Debug)]
pub(crate) struct PollingChannel {
    /// The most packets that one answer may contain.
    pub(crate) max_packets: usize,
    /// The GET that waits for packets.
    pub(crate) get: Option<Waker>,
    /// The POST whose body is arriving.
    pub(crate) post: Option<Waker>,
    /// How many bytes of its body have arrived.
    pub(crate) posted: usize,
    /// The task of the WebSocket that upgrades the session.
    pub(crate) probe: Option<Waker>,
}

impl PollingChannel {
    pub(crate) fn new(max_packets: usize) -> Self {
        Self { max_packets, get: None, post: None, posted: 0, probe: None }
    }

    /// Wakes the waiting GET, so that it looks for packets again.
    pub(crate) fn wake_get(&mut self) {
        if let Some(waker) = self.get.take() {
            waker.wake();
        }
    }

    /// Has the POST whose body is arriving look whether the session has ended.
    pub(crate) fn wake_post(&mut self) {
        if let Some(waker) = self.post.take() {
            waker.wake();
        }
    }
}

impl Channel {
    /// Waits until a blocked TCP connection accepts bytes again. Stays pending if the connection is not blocked.
    pub(crate) fn poll_unblock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp { half, blocked } if *blocked => half.as_ref().poll_write_ready(cx).map(|_| *blocked = false),
            _ => Poll::Pending,
        }
    }
}

/// Writes the outbox until it is empty or the kernel accepts no more.
pub(crate) fn write_all(half: &OwnedWriteHalf, outbox: &mut Outbox) -> io::Result<()> {
    while !outbox.is_empty() {
        let written = match outbox.only_slice() {
            // A plain write is cheaper than a vectored one, and most outboxes have one slice.
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
