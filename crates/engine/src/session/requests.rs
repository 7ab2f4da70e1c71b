use std::{future::poll_fn, sync::Arc, task::Poll};

use sockeye_protocol::engineio::session::{GetAnswer, RequestError};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    Refusal,
    memory::RECHECK,
    session::{
        core::{Core, Delivery},
        handle::Session,
    },
    transport::{
        channel::Channel,
        payload::{Body, Payload},
    },
};

impl Session {
    /// Answers a GET of the polling transport: waits until there is something to say.
    ///
    /// `text_only` asks for a body without bytes, whatever the client could take otherwise.
    pub(crate) async fn poll_payload(self: &Arc<Self>, text_only: bool) -> Result<Payload, Refusal> {
        let mut waiting = WaitingGet::begin(self)?;
        let payload = loop {
            let taken = poll_fn(|cx| {
                self.update(|core| {
                    if self.holds_answer(core) {
                        return Poll::Ready(None);
                    }
                    let answer = self.take_payload(core, text_only);
                    if let (None, Channel::Polling(polling)) = (&answer, &mut core.channel) {
                        polling.get = Some(cx.waker().clone());
                    }
                    answer.map_or(Poll::Pending, |answer| Poll::Ready(Some(answer)))
                })
            });
            match taken.await {
                Some(answer) => break answer,
                None => sleep(RECHECK).await,
            }
        };
        waiting.finished = true;
        if let Ok(Payload { control: Some(packet), .. }) = payload {
            self.log_packet("sent", false, packet);
        }
        payload
    }

    /// Whether the answer must wait, because it would hold a copy of much that waits while `max_memory` is exceeded.
    fn holds_answer(&self, core: &Core) -> bool {
        let memory = &self.context().memory;
        core.outbox.memory() > SMALL_ANSWER && core.state.is_open() && memory.is_exceeded()
    }

    fn take_payload(&self, core: &mut Core, text_only: bool) -> Option<Result<Payload, Refusal>> {
        let revision = self.revision();
        Some(match core.state.answer_get(!core.outbox.is_empty())? {
            GetAnswer::Waiting => {
                let max_packets = match &core.channel {
                    Channel::Polling(polling) => polling.max_packets,
                    _ => usize::MAX,
                };
                let text_only = text_only || core.base64;
                let mut limit = self.context().config.max_payload;
                let memory = &self.context().memory;
                if memory.is_full() {
                    // What others share is held once more by an answer, until the client has read it.
                    limit = limit.min(memory.fair_share().max(SMALL_ANSWER));
                }
                let payload = Payload::drain(&mut core.outbox, revision, text_only, limit, max_packets);
                core.note_flushed();
                Ok(payload)
            }
            GetAnswer::Noop => Ok(Payload::noop(revision)),
            GetAnswer::Close => Ok(Payload::close(revision)),
            GetAnswer::Gone => Err(Refusal::ShuttingDown),
            GetAnswer::Moved => Err(MOVED),
        })
    }

    /// Hands the body of a POST to the session's task, and waits until all its packets are handled or are known to be
    /// valid and wait for the handler.
    pub(crate) async fn deliver(&self, body: Body) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        {
            let mut core = self.core().lock();
            if !core.takes_payloads() {
                return Err(Refusal::BadRequest("the session does not poll any more"));
            }
            core.deliver(Delivery::Payload { body, answer: Some(answer) });
        }
        match answered.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refusal::BadRequest("the payload holds an invalid packet")),
        }
    }
}

/// An answer of about so many bytes is given even if `max_memory` is exceeded.
const SMALL_ANSWER: usize = 8 * 1024;

const MOVED: Refusal = Refusal::BadRequest("the session has moved to another transport");

fn refused(error: RequestError) -> Refusal {
    match error {
        RequestError::Closed => Refusal::UnknownSession,
        RequestError::SecondGet => Refusal::BadRequest("another poll of this session is waiting already"),
        RequestError::SecondPost => Refusal::BadRequest("another POST of this session is under way already"),
        _ => MOVED,
    }
}

/// Represents the GET that waits. If it is dropped before it is answered, the client has closed the connection.
#[derive(Debug)]
struct WaitingGet {
    session: Arc<Session>,
    finished: bool,
}

impl WaitingGet {
    fn begin(session: &Arc<Session>) -> Result<Self, Refusal> {
        session.update(|core| core.state.handle_get(Instant::now().into_std())).map_err(refused)?;
        Ok(Self { session: session.clone(), finished: false })
    }
}

impl Drop for WaitingGet {
    fn drop(&mut self) {
        if !self.finished {
            self.session.update(|core| core.state.handle_get_lost(Instant::now().into_std()));
        }
    }
}

/// Represents the POST that is under way. If it is dropped before it is finished, the client has closed the connection.
#[derive(Debug)]
pub(crate) struct ActivePost {
    session: Arc<Session>,
    finished: bool,
}

impl ActivePost {
    pub(crate) fn begin(session: &Arc<Session>) -> Result<Self, Refusal> {
        session.update(|core| core.state.handle_post(Instant::now().into_std())).map_err(refused)?;
        Ok(Self { session: session.clone(), finished: false })
    }

    /// Notes how many bytes of the body have arrived, and waits as long as the session may not be read for want of memory.
    pub(crate) async fn note_arrived(session: Arc<Session>, bytes: usize) {
        session.update(|core| {
            if let Channel::Polling(polling) = &mut core.channel {
                polling.posted = bytes;
            }
        });
        if session.is_starved() {
            session.note_starved();
        }
        while session.is_starved() {
            sleep(RECHECK).await;
        }
    }

    /// Waits until the session is closed, so that the rest of the body is of no use.
    pub(crate) async fn session_closed(session: &Session) {
        poll_fn(|cx| {
            let mut core = session.core().lock();
            match &mut core.channel {
                Channel::Polling(polling) => polling.post = Some(cx.waker().clone()),
                // The session has moved to a WebSocket, and its state refuses the body.
                _ => return Poll::Pending,
            }
            if core.state.is_open() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for ActivePost {
    fn drop(&mut self) {
        self.session.update(|core| {
            if let Channel::Polling(polling) = &mut core.channel {
                (polling.post, polling.posted) = (None, 0);
            }
            match self.finished {
                true => core.state.handle_post_finished(),
                false => core.state.handle_post_lost(Instant::now().into_std()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::engineio::{Packet, Revision};

    use super::*;
    use crate::{Config, Engine, Sid, session::opening::Opening, silent::Silent};

    #[tokio::test]
    async fn a_request_that_breaks_off_closes_a_session_that_polls_and_no_other() {
        let engine = Engine::new(Config::default(), Silent);
        let request = http::Request::new(()).into_parts().0;
        for moved in [false, true] {
            for post in [false, true] {
                let permit = engine.take_permit(&request).unwrap();
                let handshake = engine.handshake(&request);
                let opening = Opening { id: Sid::random(), permit, revision: Revision::V4, base64: false, handshake };
                let session = engine.open_polling(opening).unwrap();
                let get = (!post).then(|| WaitingGet::begin(&session).unwrap());
                let post = post.then(|| ActivePost::begin(&session).unwrap());
                if moved {
                    session.update(|core| {
                        let now = Instant::now().into_std();
                        let probe = core.state.handle_probe_opened(now).unwrap();
                        core.state.handle_probe_packet(probe, &Packet::Upgrade, now);
                        core.adopt(Channel::Stream);
                    });
                }
                drop((get, post));
                assert_eq!(session.is_open(), moved);
            }
        }
    }
}
