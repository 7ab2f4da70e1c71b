use sockeye_protocol::socketio::ArgsBuf;
use tokio::sync::oneshot;

use super::Socket;
use crate::{
    EmitError, LimitError,
    handles::pending_acks::{AckError, Answers, PendingAck},
};

/// The acknowledgements that the server waits for.
impl Socket {
    /// Expects the client to acknowledge the event with this id. The answer goes to the returned receiver.
    pub(crate) fn expect_ack(&self, id: u64) -> Result<oneshot::Receiver<ArgsBuf>, LimitError> {
        let (sender, answer) = oneshot::channel();
        let limit = self.namespace().config().max_pending_acks;
        let expected = self.0.shared.lock().acks.get_or_insert_default().expect(id, PendingAck::One(sender), limit);
        expected.map(|()| answer).map_err(|limit| self.namespace().limit_hit(limit))
    }

    /// Expects this socket to acknowledge a broadcast and returns true. If it cannot, this sends the reason to
    /// `answers` and returns false.
    pub(crate) fn expect_broadcast_ack(&self, id: u64, answers: &Answers) -> bool {
        let expected = {
            let mut shared = self.0.shared.lock();
            match shared.leaving {
                None => {
                    let ack = PendingAck::Broadcast(self.id().clone(), answers.clone());
                    let limit = self.namespace().config().max_pending_acks;
                    Some(shared.acks.get_or_insert_default().expect(id, ack, limit))
                }
                // The socket may already have failed its acknowledgements, so that nothing would answer a new one.
                Some(_) => None,
            }
        };
        let why = match expected {
            Some(Ok(())) => return true,
            Some(Err(limit)) => EmitError::from(self.namespace().limit_hit(limit)).into(),
            None => AckError::Disconnected,
        };
        // The caller holds the receiver, so that sending cannot fail.
        let _asking = answers.send((self.id().clone(), Err(why)));
        false
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        if let Some(acks) = &mut self.0.shared.lock().acks {
            drop(acks.take(id));
        }
    }

    pub(crate) fn resolve_ack(&self, id: u64, args: ArgsBuf) {
        let waiting = self.0.shared.lock().acks.as_mut().and_then(|acks| acks.take(id));
        match waiting {
            Some(waiting) => waiting.resolve(args),
            None => tracing::debug!(sid = self.id().short(), id, "ignored an acknowledgement that nobody waits for"),
        }
    }
}
