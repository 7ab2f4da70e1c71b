use std::{
    future::Future,
    pin::Pin,
    string::FromUtf8Error,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use sockeye_protocol::engineio::{Packet, Revision, payload};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    CloseReason, Frame, Handshake, Refusal, Session,
    outgoing::outbox::Outbox,
    session::state::{Channel, Stage},
};

/// The state of a session whose packets travel in HTTP bodies.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// Whether the client has shown that it takes any number of packets in one answer.
    takes_any_number: bool,
    get: Get,
    post_active: bool,
    /// Whether a WebSocket is about to take over; only one may try at a time.
    probed: bool,
    /// Set while a WebSocket probes: when the waiting GET is next answered with a noop, so that the client can pause.
    noop_at: Option<Instant>,
    noop_timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Default)]
enum Get {
    #[default]
    None,
    Waiting(Option<Waker>),
}

/// While a WebSocket probes, waiting polls are answered this often.
const NOOP_INTERVAL: Duration = Duration::from_millis(100);

/// How many packets python-engineio takes in one answer. It ends the session over a longer one, and only its own process
/// can raise that limit (`Payload.max_decode_packets`).
const MAX_PACKETS_OF_PYTHON: usize = 16;

impl Polling {
    /// The polling of the client that sent this handshake.
    pub(crate) fn of(handshake: &Handshake) -> Self {
        Self { takes_any_number: !may_be_python(handshake), ..Self::default() }
    }

    /// The most packets that one answer may have.
    pub(crate) fn max_packets(&self) -> usize {
        if self.takes_any_number { usize::MAX } else { MAX_PACKETS_OF_PYTHON }
    }

    /// Whether a GET waits for packets.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.get, Get::Waiting(_))
    }

    /// Has `cx` woken when there is something to look at.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        self.get = Get::Waiting(Some(cx.waker().clone()));
    }

    /// Has the waiting GET look again.
    pub(crate) fn wake(&mut self) {
        if let Get::Waiting(waker) = &mut self.get
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }

    /// Lets a WebSocket try to take over, unless another one is at it.
    pub(crate) fn begin_probe(&mut self) -> bool {
        !std::mem::replace(&mut self.probed, true)
    }

    /// The probe is answered: from now on polls must not wait, so that the client can pause.
    pub(crate) fn probe_answered(&mut self) {
        self.noop_at = Some(Instant::now());
        self.wake();
    }

    /// The WebSocket has failed.
    pub(crate) fn end_probe(&mut self) {
        self.probed = false;
        self.noop_at = None;
    }

    /// Waits as a GET without packets, until it is time for a noop.
    pub(crate) fn poll_noop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wait(cx);
        let Some(at) = self.noop_at else { return Poll::Pending };
        let timer = self.noop_timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.noop_at = Some(Instant::now() + NOOP_INTERVAL);
        Poll::Ready(())
    }
}

/// Whether python-engineio may have sent this handshake. Its users can set every header, but not the parameter `t` that
/// it adds behind all others to defeat caches: a decimal number of seconds, or nothing if it is told to leave it out.
/// The other clients, those of browsers among them, write a number in base 36 or 64 there, which begins with a letter.
fn may_be_python(handshake: &Handshake) -> bool {
    let timestamp = handshake.query().filter(|(name, _)| name == "t").last();
    timestamp.is_none_or(|(_, value)| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// What a GET is answered with.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) body: Vec<u8>,
    /// Whether the body is revision 3's binary form.
    pub(crate) binary: bool,
    /// The packet, if it is one that was in no outbox.
    pub(crate) control: Option<&'static [u8]>,
}

impl Payload {
    /// Takes packets from the outbox until the body has `limit` bytes or `max_packets`; at least one, if there is one.
    pub(crate) fn drain(
        outbox: &mut Outbox,
        revision: Revision,
        text_only: bool,
        limit: usize,
        max_packets: usize,
    ) -> Self {
        let mut frames = Vec::new();
        let mut length = 0;
        while !outbox.is_empty()
            && (frames.is_empty() || (length + outbox.front_len() <= limit && frames.len() < max_packets))
        {
            length += outbox.front_len();
            let Some(frame) = outbox.pop() else { break };
            frames.push(frame);
        }
        let binary = revision == Revision::V3 && !text_only && frames.iter().any(Frame::is_binary);
        let mut body = Vec::with_capacity(length);
        for frame in &frames {
            append(&mut body, frame, revision, binary);
        }
        Self { body, binary, control: None }
    }

    /// The packet that only ends a poll.
    pub(crate) fn noop(revision: Revision) -> Self {
        Self::single(revision, b"6")
    }

    /// The packet that ends the session.
    pub(crate) fn close(revision: Revision) -> Self {
        Self::single(revision, b"1")
    }

    fn single(revision: Revision, packet: &'static [u8]) -> Self {
        let mut body = Vec::new();
        append(&mut body, &Frame::text(packet), revision, false);
        Self { body, binary: false, control: Some(packet) }
    }
}

fn append(body: &mut Vec<u8>, frame: &Frame, revision: Revision, binary: bool) {
    let packet = if frame.is_binary() {
        Packet::Binary(frame.packet().into())
    } else {
        // Frames are made here, from packets that are text.
        let text = std::str::from_utf8(frame.packet()).unwrap_or_default();
        match Packet::parse_text(text, revision) {
            Ok(packet) => packet,
            Err(error) => return tracing::error!(%error, "a packet that cannot be sent was left out"),
        }
    };
    match (revision, binary) {
        (Revision::V4, _) => payload::encode_v4(&packet, body),
        (Revision::V3, true) => payload::encode_v3_binary(&packet, body),
        (Revision::V3, false) => payload::encode_v3_text(&packet, body),
    }
}

/// The body of a POST, of which a part may have been read already.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    /// How many bytes at its end have not been read yet.
    remaining: usize,
}

#[derive(Debug)]
enum Content {
    Text(String),
    /// Revision 3's binary form.
    Binary(Bytes),
}

impl Body {
    /// # Errors
    /// If it must be text and is not UTF-8.
    pub(crate) fn new(bytes: Bytes, binary: bool) -> Result<Self, FromUtf8Error> {
        Ok(if binary {
            Self { remaining: bytes.len(), content: Content::Binary(bytes) }
        } else {
            String::from_utf8(bytes.into())?.into()
        })
    }

    /// The packets that have not been read yet.
    pub(crate) fn packets(&self, revision: Revision) -> payload::Packets<'_> {
        let text = match &self.content {
            Content::Binary(bytes) => {
                let begin = bytes.len() - self.remaining;
                return payload::decode_v3_binary(bytes.get(begin..).unwrap_or_default());
            }
            Content::Text(text) => text.get(text.len() - self.remaining..).unwrap_or_default(),
        };
        match revision {
            Revision::V3 => payload::decode_v3_text(text),
            Revision::V4 => payload::decode_v4(text),
        }
    }

    /// Notes that so many bytes at the end have not been read yet, and returns how many were read since last time.
    pub(crate) fn advance_to(&mut self, remaining: usize) -> usize {
        std::mem::replace(&mut self.remaining, remaining) - remaining
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self { remaining: text.len(), content: Content::Text(text) }
    }
}

/// Stands for the one GET that may wait. Dropped before it is finished, the client has gone away.
#[derive(Debug)]
pub(crate) struct WaitingGet {
    session: Arc<Session>,
    finished: bool,
}

impl WaitingGet {
    pub(crate) fn begin(session: &Arc<Session>) -> Result<Self, Refusal> {
        let mut core = session.core().lock();
        if matches!(core.stage, Stage::Closed(_)) {
            return Err(Refusal::UnknownSession);
        }
        match &mut core.channel {
            Channel::Polling(polling) if polling.is_waiting() => {
                core.close(CloseReason::TransportError);
                Err(Refusal::BadRequest("another poll of this session is waiting already"))
            }
            Channel::Polling(polling) => {
                polling.get = Get::Waiting(None);
                Ok(Self { session: session.clone(), finished: false })
            }
            _ => Err(Refusal::BadRequest("the session has moved to another transport")),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for WaitingGet {
    fn drop(&mut self) {
        let mut core = self.session.core().lock();
        // A session that has moved to a WebSocket in the meantime does not depend on this request.
        let Channel::Polling(polling) = &mut core.channel else { return };
        polling.get = Get::None;
        if !self.finished {
            core.close(CloseReason::TransportClose);
        }
    }
}

/// Stands for the one POST that may be under way. Dropped before it is finished, the client has gone away.
#[derive(Debug)]
pub(crate) struct ActivePost {
    session: Arc<Session>,
    finished: bool,
}

impl ActivePost {
    pub(crate) fn begin(session: &Arc<Session>) -> Result<Self, Refusal> {
        let mut core = session.core().lock();
        if core.stage != Stage::Open {
            return Err(Refusal::UnknownSession);
        }
        match &mut core.channel {
            Channel::Polling(polling) if polling.post_active => {
                core.close(CloseReason::TransportError);
                Err(Refusal::BadRequest("another POST of this session is under way already"))
            }
            Channel::Polling(polling) => {
                polling.post_active = true;
                Ok(Self { session: session.clone(), finished: false })
            }
            _ => Err(Refusal::BadRequest("the session has moved to another transport")),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for ActivePost {
    fn drop(&mut self) {
        let mut core = self.session.core().lock();
        // A session that has moved to a WebSocket in the meantime does not depend on this request.
        let Channel::Polling(polling) = &mut core.channel else { return };
        polling.post_active = false;
        if !self.finished {
            core.close(CloseReason::TransportClose);
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::engineio::Revision;

    use super::*;
    use crate::{Config, Engine, Sid, session::opening::Opening, silent::Silent};

    #[tokio::test]
    async fn a_request_that_breaks_off_closes_a_session_that_polls_and_no_other() {
        let engine = Engine::new(Config::default(), Silent);
        let request = http::Request::new(()).into_parts().0;
        for moved in [false, true] {
            for post in [false, true] {
                let seat = engine.take_seat(&request).unwrap();
                let handshake = Handshake::from_parts(&request);
                let opening = Opening { id: Sid::random(), seat, revision: Revision::V4, base64: false, handshake };
                let session = engine.open_polling(opening).unwrap();
                let get = (!post).then(|| WaitingGet::begin(&session).unwrap());
                let post = post.then(|| ActivePost::begin(&session).unwrap());
                if moved {
                    session.core().lock().adopt(Channel::Stream, Revision::V4);
                }
                drop((get, post));
                assert_eq!(session.is_open(), moved);
            }
        }
    }
}
