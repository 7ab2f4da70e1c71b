use std::time::Instant;

use super::{
    close_reason::CloseReason,
    farewell::Peer,
    machine::Session,
    output::GetAnswer,
    role::Role,
    stage::{Stage, Transport},
    transport_kind::TransportKind,
};

/// Why a server refuses a request of a session that polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The session has ended.
    #[error("the session is closed")]
    Closed,
    /// The session uses a WebSocket.
    #[error("the session has moved to another transport")]
    Moved,
    /// A GET waits already. The session ends by that, as in the reference.
    #[error("another poll of this session is waiting already")]
    SecondGet,
    /// A POST is under way already. The session ends by that, as in the reference.
    #[error("another POST of this session is under way already")]
    SecondPost,
}

/// A server's side of polling.
impl Session {
    /// A GET has come.
    ///
    /// # Errors
    /// If it is refused.
    pub fn handle_get(&mut self, now: Instant) -> Result<(), RequestError> {
        match &mut self.stage {
            Stage::Open(Transport::Polling(polling))
            | Stage::Farewell { transport: Transport::Polling(polling), .. } => {
                if !std::mem::replace(&mut polling.get, true) {
                    return Ok(());
                }
                self.end(CloseReason::TransportError, None, Peer::Gone, now);
                Err(RequestError::SecondGet)
            }
            Stage::Ended { .. } => Err(RequestError::Closed),
            Stage::Open(Transport::WebSocket) | Stage::Farewell { .. } | Stage::HangingUp { .. } => {
                Err(RequestError::Moved)
            }
        }
    }

    /// What the waiting GET is answered with, if it is to be answered now; `waiting` says whether packets wait for it.
    /// The GET counts as answered then. After [`GetAnswer::Waiting`] the driver calls
    /// [`handle_flushed`](Self::handle_flushed) if the answer took all.
    pub fn answer_get(&mut self, waiting: bool) -> Option<GetAnswer> {
        let answer = match &mut self.stage {
            Stage::Open(Transport::Polling(polling))
            | Stage::Farewell { transport: Transport::Polling(polling), .. } => {
                if waiting {
                    GetAnswer::Waiting
                } else if polling.noop_due {
                    GetAnswer::Noop
                } else if let Some(answer) = self.last_answer() {
                    self.finish();
                    return Some(answer);
                } else {
                    return None;
                }
            }
            Stage::Ended { transport: TransportKind::Polling, reason } => match reason {
                CloseReason::TransportClose => GetAnswer::Noop,
                CloseReason::ServerShuttingDown => GetAnswer::Gone,
                _ => GetAnswer::Close,
            },
            _ => GetAnswer::Moved,
        };
        if let Some(polling) = self.stage.polling() {
            (polling.get, polling.noop_due) = (false, false);
        }
        Some(answer)
    }

    /// The waiting GET has gone away unanswered.
    pub fn handle_get_lost(&mut self, now: Instant) {
        if let Some(polling) = self.stage.polling() {
            polling.get = false;
            self.end(CloseReason::TransportClose, None, Peer::Gone, now);
        }
    }

    /// A POST has come.
    ///
    /// # Errors
    /// If it is refused.
    pub fn handle_post(&mut self, now: Instant) -> Result<(), RequestError> {
        match &mut self.stage {
            Stage::Open(Transport::Polling(polling)) => {
                if !std::mem::replace(&mut polling.post, true) {
                    return Ok(());
                }
                self.end(CloseReason::TransportError, None, Peer::Gone, now);
                Err(RequestError::SecondPost)
            }
            Stage::Open(Transport::WebSocket) => Err(RequestError::Moved),
            Stage::Farewell { .. } | Stage::HangingUp { .. } | Stage::Ended { .. } => Err(RequestError::Closed),
        }
    }

    /// The POST under way is answered.
    pub fn handle_post_finished(&mut self) {
        if let Some(polling) = self.stage.polling() {
            polling.post = false;
        }
    }

    /// The POST under way has gone away before it was handled.
    pub fn handle_post_lost(&mut self, now: Instant) {
        if let Some(polling) = self.stage.polling() {
            polling.post = false;
            self.end(CloseReason::TransportClose, None, Peer::Gone, now);
        }
    }

    /// Whether the peer would get a packet at once, as far as its transport goes: a server that polls needs a waiting
    /// GET.
    pub fn is_writable(&self) -> bool {
        match &self.stage {
            Stage::Open(Transport::Polling(polling)) => self.role == Role::Client || polling.get,
            Stage::Open(Transport::WebSocket) => true,
            Stage::Farewell { .. } | Stage::HangingUp { .. } | Stage::Ended { .. } => false,
        }
    }
}

/// A client's side of polling.
impl Session {
    /// Whether to send a GET now, which then counts as sent.
    pub fn begin_get(&mut self) -> bool {
        match &mut self.stage {
            Stage::Open(Transport::Polling(polling)) if !polling.upgrade.is_pausing() => {
                !std::mem::replace(&mut polling.get, true)
            }
            _ => false,
        }
    }

    /// The GET is answered, and all its packets are handled.
    pub fn handle_get_answered(&mut self, now: Instant) {
        if let Some(polling) = self.stage.polling() {
            polling.get = false;
            self.finish_pause(now);
        }
    }

    /// Whether to POST what waits now, as much as fits; the POST then counts as sent. To be asked while something waits.
    pub fn begin_post(&mut self) -> bool {
        match self.stage.polling() {
            Some(polling) if !polling.upgrade.is_pausing() => !std::mem::replace(&mut polling.post, true),
            _ => false,
        }
    }

    /// The POST is answered. If nothing more waits, the driver calls [`handle_flushed`](Self::handle_flushed).
    pub fn handle_post_answered(&mut self, now: Instant) {
        if let Some(polling) = self.stage.polling() {
            polling.post = false;
            self.finish_pause(now);
        }
    }

    /// A request failed, so that packets may be lost.
    pub fn handle_request_failed(&mut self, now: Instant) {
        if let Stage::Farewell { transport: Transport::Polling(_), .. } = self.stage {
            self.finish();
        } else if self.stage.polling().is_some() {
            self.end(CloseReason::TransportError, None, Peer::Gone, now);
        }
    }
}
