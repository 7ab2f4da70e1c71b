use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use base64::Engine as _;
use reqwest::{
    Method, StatusCode, Upgraded,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use sockeye_protocol::{
    engineio::Revision,
    websocket::{self, Decoder, Event, Limits, Opcode, Role, accept_key, with_read_buffer},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    ConnectError, Transport,
    connection::{
        http::{self, Requests},
        packet::{Kind, Outgoing},
        queue::Queue,
    },
    error::ConnectErrorKind,
    random::random_bytes,
    settings::builder::Config,
};

/// A WebSocket. While nothing is under way it owns no buffer.
pub(crate) struct WebSocket {
    stream: Upgraded,
    pub(crate) decoder: Decoder,
    config: Arc<Config>,
    /// What was read but is not to be decoded yet.
    ahead: Vec<u8>,
    /// Frames that are being written, and how much of them the kernel has taken.
    out: Vec<u8>,
    taken: usize,
    /// The messages in `out` that the kernel has not taken wholly, each with its end there.
    sending: VecDeque<(usize, Outgoing)>,
    /// The payload of the ping frame that is to be answered.
    ping: Option<Vec<u8>>,
}

/// What a WebSocket brings.
pub(crate) enum Input<'a> {
    Event(Event<'a>),
    /// The server has closed its side.
    End,
    Broken(io::Error),
    /// What was read is not WebSocket.
    Invalid(websocket::DecodeError, &'a [u8]),
}

/// As many bytes of frames are put together for one write.
const BATCH: usize = 32 * 1024;

impl WebSocket {
    /// Opens a WebSocket (RFC 6455 §4.1) for a new session, or for the one the requests belong to.
    pub(crate) async fn connect(requests: &Requests) -> Result<Self, ConnectError> {
        const TRANSPORT: Transport = Transport::WebSocket;
        let key = base64::engine::general_purpose::STANDARD.encode(random_bytes::<16>());
        let request = requests
            .request(Method::GET, TRANSPORT)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let config = requests.config();
        let response = request.send().await.map_err(|error| http::request_failed(error, config, TRANSPORT))?;
        requests.received(&response);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(http::refused(response, TRANSPORT).await);
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|value| value.to_str().ok());
        if accept != Some(accept_key(&key).as_str()) {
            let hint = "it did not answer to this handshake's key; is a cache between?";
            return Err(ConnectErrorKind::NotEngineIo { transport: TRANSPORT, body: String::new(), hint }.into());
        }
        let stream = response.upgrade().await.map_err(|error| http::request_failed(error, config, TRANSPORT))?;
        Ok(Self {
            stream,
            decoder: Decoder::new(Role::Client),
            config: config.clone(),
            ahead: Vec::new(),
            out: Vec::new(),
            taken: 0,
            sending: VecDeque::new(),
            ping: None,
        })
    }

    /// What the server may make us hold.
    pub(crate) fn limits(&self) -> Limits {
        Limits { max_message: self.config.max_payload, max_fragments: 4096 }
    }

    /// Reads into `buffer`; 0 means that the server has closed its side.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.len());
            let rest = self.ahead.split_off(count);
            if let Some(start) = buffer.get_mut(..count) {
                start.copy_from_slice(&self.ahead);
            }
            self.ahead = rest;
            return Poll::Ready(Ok(count));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads one event, or why there is none, and hands it to `handle`. What follows the event is left unread.
    pub(crate) fn poll_event<R>(&mut self, cx: &mut Context<'_>, handle: impl FnOnce(Input<'_>) -> R) -> Poll<R> {
        let limits = self.limits();
        with_read_buffer(|buffer| {
            loop {
                let count = match ready!(self.poll_read(cx, buffer)) {
                    Ok(0) => return Poll::Ready(handle(Input::End)),
                    Ok(count) => count,
                    Err(error) => return Poll::Ready(handle(Input::Broken(error))),
                };
                let input = buffer.get_mut(..count).unwrap_or_default();
                let (consumed, result) = match self.decoder.decode(input, &limits) {
                    Ok((_, None)) => continue,
                    Ok((consumed, Some(event))) => (consumed, handle(Input::Event(event))),
                    Err(error) => return Poll::Ready(handle(Input::Invalid(error, input))),
                };
                self.decoder.release();
                self.put_back(input.get(consumed..).unwrap_or_default());
                return Poll::Ready(result);
            }
        })
    }

    /// Puts bytes back that were read but not decoded.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        let mut all = bytes.to_vec();
        all.append(&mut self.ahead);
        self.ahead = all;
    }

    /// Writes what is in the queue; ready when everything is written.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, queue: &mut Queue) -> Poll<io::Result<()>> {
        loop {
            if self.taken == self.out.len() {
                self.out.clear();
                self.taken = 0;
                if let Some(payload) = self.ping.take() {
                    websocket::encode_frame(&mut self.out, Opcode::Pong, &payload, Some(mask()));
                }
                while self.out.len() < BATCH
                    && let Some(packet) = queue.pop()
                {
                    self.config.log_sent(Transport::WebSocket, &packet);
                    self.encode(&packet);
                    self.sending.push_back((self.out.len(), packet));
                }
                if self.out.is_empty() {
                    (self.out, self.sending) = (Vec::new(), VecDeque::new());
                    return Pin::new(&mut self.stream).poll_flush(cx);
                }
            }
            let rest = self.out.get(self.taken..).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.taken += count,
            }
            while self.sending.front().is_some_and(|(end, _)| *end <= self.taken) {
                self.sending.pop_front();
            }
        }
    }

    /// How many bytes were taken from the queue and are not written yet.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len() - self.taken + self.ping.as_ref().map_or(0, |payload| 1 + payload.len())
    }

    /// Answers a ping frame with the next write. Only the newest one needs an answer (RFC 6455 §5.5.3).
    pub(crate) fn pong(&mut self, payload: Vec<u8>) {
        self.ping = Some(payload);
    }

    /// Shuts this side down, after everything was written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// The messages that cannot have reached the server, in order.
    pub(crate) fn take_unsent(&mut self) -> VecDeque<Outgoing> {
        self.sending.drain(..).map(|(_, packet)| packet).collect()
    }

    fn encode(&mut self, packet: &Outgoing) {
        match packet.kind {
            Kind::Text => websocket::encode_frame(&mut self.out, Opcode::Text, &packet.head, Some(mask())),
            Kind::Binary => self.encode_binary(&packet.head),
            Kind::Close => websocket::encode_frame(&mut self.out, Opcode::Close, &packet.head, Some(mask())),
        }
        for attachment in &packet.attachments {
            self.encode_binary(attachment);
        }
    }

    fn encode_binary(&mut self, data: &[u8]) {
        match self.config.engine_version {
            Revision::V4 => websocket::encode_frame(&mut self.out, Opcode::Binary, data, Some(mask())),
            Revision::V3 => {
                let mut packet = Vec::with_capacity(1 + data.len());
                packet.push(4);
                packet.extend_from_slice(data);
                websocket::encode_frame(&mut self.out, Opcode::Binary, &packet, Some(mask()));
            }
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("backlog", &self.backlog()).finish_non_exhaustive()
    }
}

thread_local! {
    static MASKS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An unpredictable masking key (RFC 6455 §10.3). The system is asked for the random bytes of many keys at once.
fn mask() -> [u8; 4] {
    MASKS.with_borrow_mut(|masks| {
        if masks.len() < 4 {
            *masks = random_bytes::<1024>().to_vec();
        }
        let mut mask = [0; 4];
        for (byte, random) in mask.iter_mut().zip(masks.drain(masks.len() - 4..)) {
            *byte = random;
        }
        mask
    })
}
