use std::{
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use sockeye_protocol::engineio::{
    Packet, Revision,
    payload::{self, PayloadError},
};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    CloseReason, Frame, Handshake, Refusal, Session,
    outgoing::outbox::Outbox,
    session::state::{Channel, Stage},
};

/// The state of a session whose packets travel in HTTP bodies.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// The most packets the client takes in one answer, if it is known to have a limit.
    max_packets: Option<usize>,
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

/// How many packets python-engineio takes in one answer. It ends the connection over a longer one, and cannot be told
/// otherwise but by its own process.
const PYTHON_TAKES: usize = 16;

impl Polling {
    /// The polling of the client that this handshake is from.
    pub(crate) fn of(handshake: &Handshake) -> Self {
        // So do requests and aiohttp name themselves, by which python-engineio polls.
        let is_python = |agent: &str| agent.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("python"));
        let max_packets = handshake.header("user-agent").filter(|agent| is_python(agent)).map(|_| PYTHON_TAKES);
        Self { max_packets, ..Self::default() }
    }

    /// The most packets that one answer may have.
    pub(crate) fn max_packets(&self) -> usize {
        self.max_packets.unwrap_or(usize::MAX)
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

/// Calls `each` with the packets of a POST's body, until one is invalid or `each` has had enough.
pub(crate) fn decode(
    body: &[u8],
    binary: bool,
    revision: Revision,
    max_packets: usize,
    mut each: impl FnMut(Packet<'_>) -> ControlFlow<()>,
) -> Result<(), InvalidPayload> {
    let mut all = |packets: &mut dyn Iterator<Item = Result<Packet<'_>, PayloadError>>| {
        for packet in packets {
            if each(packet?).is_break() {
                break;
            }
        }
        Ok(())
    };
    match (revision, binary) {
        (Revision::V3, true) => all(&mut payload::decode_v3_binary(body, max_packets)),
        (Revision::V3, false) => all(&mut payload::decode_v3_text(std::str::from_utf8(body)?, max_packets)),
        (Revision::V4, _) => all(&mut payload::decode_v4(std::str::from_utf8(body)?, max_packets)),
    }
}

/// Why a POST's body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPayload {
    #[error(transparent)]
    Packet(#[from] PayloadError),
    #[error("the body is not UTF-8: {0}")]
    Text(#[from] std::str::Utf8Error),
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
