use std::{
    collections::VecDeque,
    fmt,
    future::{Future, ready},
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use sockeye_protocol::engineio::{
    Packet, Revision,
    payload::{self, PayloadError},
    session::Session,
};

use super::Lost;
use crate::{
    ConnectError, DisconnectReason, Transport,
    connection::http::{self, Requests},
    connection::packet::{Kind, Outgoing, Queue},
    error::ConnectErrorKind,
};

/// HTTP long-polling: one GET that waits for packets, one POST at a time that carries some.
pub(crate) struct Polling {
    requests: Requests,
    revision: Revision,
    /// The largest body the server accepts.
    max_body: usize,
    get: Option<Request<Body>>,
    post: Option<Request<()>>,
    /// What the POST carries.
    in_flight: VecDeque<Outgoing>,
    /// What came behind the handshake.
    ahead: Option<Body>,
}

/// The most packets in one body: python-engineio refuses more by default.
const MAX_PACKETS: usize = 16;

type Request<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Why a request failed.
struct Failure {
    lost: Lost,
    /// Whether the server has certainly taken in nothing.
    untouched: bool,
}

/// The body of a polling answer.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) binary: bool,
    /// How many packets of it were handled already.
    pub(crate) handled: usize,
}

impl Body {
    /// Hands out its packets, until told to stop.
    pub(crate) fn decode(
        &self,
        revision: Revision,
        mut handle: impl FnMut(Packet<'_>) -> ControlFlow<()>,
    ) -> Result<(), PayloadError> {
        if self.binary && revision == Revision::V3 {
            return each(payload::decode_v3_binary(&self.bytes), self.handled, &mut handle);
        }
        let text = str::from_utf8(&self.bytes)
            .map_err(|_| PayloadError::Packet(sockeye_protocol::engineio::PacketError::InvalidUtf8))?;
        match revision {
            Revision::V3 => each(payload::decode_v3_text(text), self.handled, &mut handle),
            Revision::V4 => each(payload::decode_v4(text), self.handled, &mut handle),
        }
    }
}

fn each<'a>(
    packets: impl Iterator<Item = Result<Packet<'a>, PayloadError>>,
    skip: usize,
    handle: &mut impl FnMut(Packet<'_>) -> ControlFlow<()>,
) -> Result<(), PayloadError> {
    for packet in packets.skip(skip) {
        if handle(packet?).is_break() {
            break;
        }
    }
    Ok(())
}

impl Polling {
    /// Begins with the requests of a session and what came along with its opening.
    pub(crate) fn new(requests: Requests, max_payload: Option<u64>, ahead: Body) -> Self {
        let max_body = max_payload.and_then(|bytes| usize::try_from(bytes).ok()).filter(|&bytes| bytes > 0);
        Self {
            revision: requests.config().engine_version.revision(),
            max_body: max_body.unwrap_or(1_000_000),
            requests,
            get: None,
            post: None,
            in_flight: VecDeque::new(),
            ahead: Some(ahead),
        }
    }

    /// Asks for a new session.
    pub(crate) async fn handshake(requests: &Requests) -> Result<Body, ConnectError> {
        const TRANSPORT: Transport = Transport::Polling;
        let config = requests.config();
        let failed = |error| http::request_failed(error, config, TRANSPORT);
        let response = requests.request(Method::GET, TRANSPORT).send().await.map_err(failed)?;
        requests.received(&response);
        if !response.status().is_success() {
            return Err(http::refused(response, TRANSPORT).await);
        }
        let binary = is_binary(response.headers().get(CONTENT_TYPE));
        match http::read_body(response, config.max_payload).await.map_err(failed)? {
            Some(bytes) => Ok(Body { bytes, binary, handled: 0 }),
            None => {
                let hint = "it is longer than `max_payload` allows";
                Err(ConnectErrorKind::NotEngineIo { transport: TRANSPORT, body: String::new(), hint }.into())
            }
        }
    }

    /// Takes what came behind the handshake for the answer to the first GET.
    pub(crate) fn begin(&mut self, session: &mut Session) {
        if let Some(body) = self.ahead.take()
            && session.begin_get()
        {
            self.get = Some(Box::pin(ready(Ok(body))));
        }
    }

    /// The next body that has arrived, asking for one if none is under way and the session allows it.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, session: &mut Session) -> Poll<Result<Body, Lost>> {
        if self.get.is_none() && session.begin_get() {
            self.get = Some(Box::pin(get(self.requests.clone())));
        }
        let Some(request) = &mut self.get else { return Poll::Pending };
        let body = ready!(request.as_mut().poll(cx));
        self.get = None;
        Poll::Ready(body.map_err(|failure| failure.lost))
    }

    /// Sends what is in the queue; ready when everything has been taken by the server.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut Queue,
        session: &mut Session,
    ) -> Poll<Result<(), Lost>> {
        loop {
            if let Some(request) = &mut self.post {
                let result = ready!(request.as_mut().poll(cx));
                self.post = None;
                let Err(failure) = result else {
                    self.in_flight.clear();
                    session.handle_post_answered(Instant::now());
                    continue;
                };
                if !failure.untouched {
                    self.in_flight.clear();
                }
                return Poll::Ready(Err(failure.lost));
            }
            if queue.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !session.begin_post() {
                return Poll::Pending;
            }
            let body = self.take_body(queue);
            self.post = Some(Box::pin(post(self.requests.clone(), body)));
        }
    }

    /// How many bytes are on their way to the server.
    pub(crate) fn backlog(&self) -> usize {
        self.in_flight.iter().map(Outgoing::len).sum()
    }

    /// The requests of this session.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The messages that cannot have reached the server, in order.
    pub(crate) fn take_unsent(&mut self) -> VecDeque<Outgoing> {
        let in_flight = std::mem::take(&mut self.in_flight);
        if self.post.is_some() { VecDeque::new() } else { in_flight }
    }

    /// Puts as much of the queue into one body as servers accept, but at least one message.
    fn take_body(&mut self, queue: &mut Queue) -> Vec<u8> {
        let mut body = Vec::new();
        let mut packets = 0;
        while let Some(packet) = queue.pop() {
            let start = body.len();
            self.encode(&packet, &mut body);
            packets += 1 + packet.attachments.len();
            if (body.len() > self.max_body || packets > MAX_PACKETS) && start > 0 {
                body.truncate(start);
                queue.push_front(packet);
                break;
            }
            self.requests.config().packet_log().sent(Transport::Polling, &packet);
            self.in_flight.push_back(packet);
        }
        body
    }

    fn encode(&self, packet: &Outgoing, body: &mut Vec<u8>) {
        let mut append = |packet: &Packet<'_>| match self.revision {
            Revision::V3 => payload::encode_v3_text(packet, body),
            Revision::V4 => payload::encode_v4(packet, body),
        };
        if packet.kind == Kind::Binary {
            append(&Packet::Binary(packet.head.as_slice().into()));
        } else if let Ok(packet) = str::from_utf8(&packet.head).map(|text| Packet::parse_text(text, self.revision)) {
            // It was encoded by this side, so that it can always be read.
            packet.iter().for_each(&mut append);
        }
        for attachment in &packet.attachments {
            append(&Packet::Binary(attachment.as_ref().into()));
        }
    }
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("backlog", &self.backlog()).finish_non_exhaustive()
    }
}

async fn get(requests: Requests) -> Result<Body, Failure> {
    let response = requests.request(Method::GET, Transport::Polling).send().await?;
    if !response.status().is_success() {
        let error = http::refused(response, Transport::Polling).await;
        return Err(Failure { lost: Lost::by(DisconnectReason::TransportError, error), untouched: false });
    }
    requests.received(&response);
    let binary = is_binary(response.headers().get(CONTENT_TYPE));
    match http::read_body(response, requests.config().max_payload).await? {
        Some(bytes) => Ok(Body { bytes, binary, handled: 0 }),
        None => {
            let error = "the server sent more in one answer than `max_payload` allows";
            Err(Failure { lost: Lost::by(DisconnectReason::TransportError, error), untouched: false })
        }
    }
}

async fn post(requests: Requests, body: Vec<u8>) -> Result<(), Failure> {
    let request = requests.request(Method::POST, Transport::Polling);
    let response = request.header(CONTENT_TYPE, "text/plain;charset=UTF-8").body(body).send().await?;
    if response.status().is_success() {
        return Ok(());
    }
    let error = http::refused(response, Transport::Polling).await;
    let untouched = matches!(
        error.kind(),
        ConnectErrorKind::Http { body, .. } if body.contains("Session ID unknown") || body.contains("Invalid session")
    );
    Err(Failure { lost: Lost::by(DisconnectReason::TransportError, error), untouched })
}

fn is_binary(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"))
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let untouched = error.is_connect();
        Self { lost: Lost::by(DisconnectReason::TransportError, error.without_url()), untouched }
    }
}
