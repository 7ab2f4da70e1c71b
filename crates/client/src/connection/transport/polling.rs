use std::{
    collections::VecDeque,
    fmt,
    future::{Future, ready},
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use reqwest::{Method, header::CONTENT_TYPE};
use sockeye_protocol::engineio::{
    Packet, PacketError, Revision,
    payload::{self, PayloadError},
    session::Session,
};

use super::Lost;
use crate::{
    ConnectError, Transport,
    connection::{
        http::{self, Requests},
        packet::{Kind, Outgoing},
        queue::Queue,
    },
    error::ConnectErrorKind,
};

/// HTTP long-polling: one GET that waits for packets, one POST at a time that carries some.
pub(crate) struct Polling {
    requests: Requests,
    /// The largest body the server accepts.
    max_body: usize,
    get: Option<Request<Body, Lost>>,
    post: Option<Request<(), Failure>>,
    /// What the POST carries.
    in_flight: VecDeque<Outgoing>,
}

/// The most packets in one body: python-engineio refuses more by default.
const MAX_PACKETS: usize = 16;

type Request<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Why a POST failed.
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
        let text = str::from_utf8(&self.bytes).map_err(|_| PayloadError::Packet(PacketError::InvalidUtf8))?;
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
    /// Begins with the requests of a session. What came behind the handshake is the answer to the first GET.
    pub(crate) fn new(requests: Requests, max_payload: Option<u64>, ahead: Body) -> Self {
        let max_body = max_payload.and_then(|bytes| usize::try_from(bytes).ok()).filter(|&bytes| bytes > 0);
        Self {
            max_body: max_body.unwrap_or(1_000_000),
            requests,
            get: Some(Box::pin(ready(Ok(ahead)))),
            post: None,
            in_flight: VecDeque::new(),
        }
    }

    /// Asks for a new session.
    pub(crate) async fn handshake(requests: &Requests) -> Result<Body, ConnectError> {
        get(requests, |error| http::request_failed(error, requests.config(), Transport::Polling)).await
    }

    /// The next body that has arrived, asking for one if none is under way and the session allows it.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, session: &mut Session) -> Poll<Result<Body, Lost>> {
        if self.get.is_none() && session.begin_get() {
            let requests = self.requests.clone();
            self.get = Some(Box::pin(async move { get(&requests, Lost::from).await }));
        }
        let Some(request) = &mut self.get else { return Poll::Pending };
        let body = ready!(request.as_mut().poll(cx));
        self.get = None;
        Poll::Ready(body)
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

    /// How many bytes the messages count that are on their way to the server.
    pub(crate) fn backlog(&self) -> usize {
        self.in_flight.iter().map(Outgoing::size).sum()
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
            self.requests.config().log_sent(Transport::Polling, &packet);
            self.in_flight.push_back(packet);
        }
        body
    }

    fn encode(&self, packet: &Outgoing, body: &mut Vec<u8>) {
        let revision = self.requests.config().engine_version;
        let mut append = |packet: &Packet<'_>| match revision {
            Revision::V3 => payload::encode_v3_text(packet, body),
            Revision::V4 => payload::encode_v4(packet, body),
        };
        if packet.kind == Kind::Binary {
            append(&Packet::Binary(packet.head.as_slice().into()));
        } else if let Ok(packet) = str::from_utf8(&packet.head).map(|text| Packet::parse_text(text, revision)) {
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

async fn get<E: From<ConnectError>>(requests: &Requests, failed: impl Fn(reqwest::Error) -> E) -> Result<Body, E> {
    const TRANSPORT: Transport = Transport::Polling;
    let response = requests.request(Method::GET, TRANSPORT).send().await.map_err(&failed)?;
    requests.received(&response);
    if !response.status().is_success() {
        return Err(http::refused(response, TRANSPORT).await.into());
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    let binary = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"));
    match http::read_body(response, requests.config().max_payload).await.map_err(failed)? {
        Some(bytes) => Ok(Body { bytes, binary, handled: 0 }),
        None => {
            let hint = "it is longer than `max_payload` allows";
            let kind = ConnectErrorKind::NotEngineIo { transport: TRANSPORT, body: String::new(), hint };
            Err(ConnectError::from(kind).into())
        }
    }
}

async fn post(requests: Requests, body: Vec<u8>) -> Result<(), Failure> {
    let request = requests.request(Method::POST, Transport::Polling);
    let sent = request.header(CONTENT_TYPE, "text/plain;charset=UTF-8").body(body).send().await;
    let response = sent.map_err(|error| Failure { untouched: error.is_connect(), lost: error.into() })?;
    if response.status().is_success() {
        return Ok(());
    }
    let error = http::refused(response, Transport::Polling).await;
    let untouched = matches!(
        error.kind(),
        ConnectErrorKind::Http { body, .. } if body.contains("Session ID unknown") || body.contains("Invalid session")
    );
    Err(Failure { lost: error.into(), untouched })
}
