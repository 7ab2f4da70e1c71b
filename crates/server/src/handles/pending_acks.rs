use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;
use sockeye_engine::Sid;
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError};
use tokio::sync::{mpsc, oneshot};

use crate::{EmitError, LimitError};

/// Why an acknowledgement failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client did not answer in time.
    #[error("operation has timed out: the client did not acknowledge the event in time")]
    TimedOut,
    /// The socket left before it answered.
    #[error("the socket has been disconnected before it acknowledged the event")]
    Disconnected,
    /// The client's handler failed, with this text: the answer is `{"error": text}` and not of the requested type.
    #[error("the client answered with an error: {0}")]
    Failed(String),
    /// The arguments of the answer could not be deserialised into the requested type.
    #[error("the arguments of the acknowledgement do not have the requested type")]
    Arguments(#[from] ArgumentError),
}

/// One socket's answer to a broadcast, or why there is none.
pub(crate) type Answer = Result<ArgsBuf, AckError>;

/// The channel to which sockets send their answers to a broadcast.
pub(crate) type Answers = mpsc::UnboundedSender<(Sid, Answer)>;

/// The unanswered acknowledgements of one socket.
#[derive(Debug, Default)]
pub(crate) struct PendingAcks {
    waiting: HashMap<u64, PendingAck>,
}

/// The receiver of an acknowledgement.
#[derive(Debug)]
pub(crate) enum PendingAck {
    One(oneshot::Sender<ArgsBuf>),
    Broadcast(Sid, Answers),
}

/// The ids of a server's acknowledgements. All sockets share them, for two reasons. First, all recipients of a
/// broadcast receive the same encoded packet. Second, a client may answer an event after it has reconnected with a new
/// socket; the server must not take this answer for an answer to an event of the new socket.
#[derive(Debug, Default)]
pub(crate) struct AckIds(AtomicU32);

impl AckIds {
    /// The next id. It fits into a signed 32-bit integer, because the Java client accepts no larger one.
    pub(crate) fn next(&self) -> u64 {
        u64::from(self.0.fetch_add(1, Ordering::Relaxed) & (u32::MAX >> 1))
    }
}

impl PendingAcks {
    pub(crate) fn expect(&mut self, id: u64, ack: PendingAck, limit: usize) -> Result<(), LimitError> {
        if self.waiting.len() >= limit {
            return Err(LimitError::PendingAcks { limit });
        }
        self.waiting.insert(id, ack);
        Ok(())
    }

    pub(crate) fn take(&mut self, id: u64) -> Option<PendingAck> {
        self.waiting.remove(&id)
    }

    /// Fails all acknowledgements with [`AckError::Disconnected`].
    pub(crate) fn disconnected(self) {
        self.waiting.into_values().for_each(PendingAck::disconnected);
    }
}

impl PendingAck {
    /// Fails the acknowledgement with [`AckError::Disconnected`].
    pub(crate) fn disconnected(self) {
        match self {
            Self::One(answer) => drop(answer),
            // The receiver may have been dropped.
            Self::Broadcast(sid, answers) => drop(answers.send((sid, Err(AckError::Disconnected)))),
        }
    }

    pub(crate) fn resolve(self, args: ArgsBuf) {
        // The receiver may just have been dropped.
        match self {
            Self::One(answer) => drop(answer.send(args)),
            Self::Broadcast(sid, answers) => drop(answers.send((sid, Ok(args)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_wrap_around_before_they_exceed_a_signed_32_bit_integer() {
        let ids = AckIds(AtomicU32::new(i32::MAX as u32));
        assert_eq!([ids.next(), ids.next()], [i32::MAX as u64, 0]);
        let ids = AckIds(AtomicU32::new(u32::MAX));
        assert_eq!([ids.next(), ids.next()], [i32::MAX as u64, 0]);
    }
}
