use std::{future::poll_fn, ops::ControlFlow};

use sockeye_handler::with_causes;
use sockeye_protocol::{
    engineio::{Handshake, Packet, Revision},
    websocket::Event,
};

use super::{Input, Polling, WebSocket};
use crate::{
    ConnectError, Transport,
    connection::http::{self, Requests},
    error::ConnectErrorKind,
};

/// A session that the server has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) handshake: Handshake,
    pub(crate) transport: OpenTransport,
}

/// The transport it was opened on.
#[derive(Debug)]
pub(crate) enum OpenTransport {
    Polling(Polling),
    WebSocket(WebSocket),
}

impl OpenTransport {
    pub(crate) fn kind(&self) -> Transport {
        match self {
            Self::Polling(_) => Transport::Polling,
            Self::WebSocket(_) => Transport::WebSocket,
        }
    }
}

/// Opens a session on the first transport, or on the first that works.
pub(crate) async fn open(requests: Requests) -> Result<Opened, ConnectError> {
    let config = requests.config().clone();
    let attempts = if config.try_all { config.transports.len() } else { 1 };
    let mut failure = None;
    for &transport in config.transports.iter().take(attempts) {
        let opened = match transport {
            Transport::Polling => open_polling(&requests).await,
            Transport::WebSocket => open_websocket(&requests).await,
        };
        match opened {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                tracing::debug!(%transport, error = with_causes(&error), "a transport could not be opened");
                // The first transport is the one the user expects to work.
                failure.get_or_insert(error);
            }
        }
    }
    Err(failure.unwrap_or_else(|| ConnectErrorKind::Build.into()))
}

async fn open_polling(requests: &Requests) -> Result<Opened, ConnectError> {
    let mut body = Polling::handshake(requests).await?;
    let config = requests.config();
    let revision = config.engine_version;
    let mut handshake = None;
    let decoded = body.decode(revision, |packet| {
        config.log_received(Transport::Polling, &packet);
        handshake = handshake_in(&packet);
        ControlFlow::Break(())
    });
    let (Ok(()), Some(handshake)) = (decoded, handshake) else {
        return Err(not_engine_io(Transport::Polling, &body.bytes, revision));
    };
    body.handled = 1;
    let transport = Polling::new(requests.with_sid(&handshake.sid), handshake.max_payload, body);
    Ok(Opened { handshake, transport: OpenTransport::Polling(transport) })
}

async fn open_websocket(requests: &Requests) -> Result<Opened, ConnectError> {
    const TRANSPORT: Transport = Transport::WebSocket;
    let mut websocket = WebSocket::connect(requests).await?;
    let config = requests.config();
    let handshake = loop {
        let handshake = poll_fn(|cx| {
            websocket.poll_event(cx, |input| match input {
                Input::Event(Event::Ping(_) | Event::Pong(_)) => None,
                Input::Event(Event::Text(text)) => {
                    let packet = Packet::parse_text(text, config.engine_version).ok();
                    packet.iter().for_each(|packet| config.log_received(TRANSPORT, packet));
                    let wrong = || not_engine_io(TRANSPORT, text.as_bytes(), config.engine_version);
                    Some(packet.as_ref().and_then(handshake_in).ok_or_else(wrong))
                }
                Input::Event(Event::Binary(data)) => Some(Err(not_engine_io(TRANSPORT, data, config.engine_version))),
                Input::Event(Event::Close(_)) | Input::End => {
                    Some(Err(ConnectErrorKind::Broken { transport: TRANSPORT }.into()))
                }
                Input::Broken(error) => {
                    Some(Err(ConnectError::with_source(ConnectErrorKind::Broken { transport: TRANSPORT }, error)))
                }
                // The reference implementation refuses a WebSocket after it has been opened, with an answer of HTTP.
                Input::Invalid(_, answer) if answer.starts_with(b"HTTP/1.") => Some(Err(late_refusal(answer))),
                Input::Invalid(error, _) => {
                    let hint = "it is not WebSocket either";
                    let kind = ConnectErrorKind::NotEngineIo { transport: TRANSPORT, body: String::new(), hint };
                    Some(Err(ConnectError::with_source(kind, error)))
                }
            })
        });
        if let Some(handshake) = handshake.await {
            break handshake?;
        }
    };
    Ok(Opened { handshake, transport: OpenTransport::WebSocket(websocket) })
}

fn handshake_in(packet: &Packet<'_>) -> Option<Handshake> {
    match packet {
        Packet::Open(json) => serde_json::from_str(json).ok(),
        _ => None,
    }
}

fn not_engine_io(transport: Transport, body: &[u8], revision: Revision) -> ConnectError {
    let body = http::excerpt(&String::from_utf8_lossy(body));
    let hint = match revision {
        // Revision 3 has the length before each packet.
        Revision::V4 if body.contains(":0{\"sid\"") => "it speaks revision 3 of Engine.IO: set `engine_version` to V3",
        Revision::V3 if body.starts_with("0{\"sid\"") => {
            "it speaks revision 4 of Engine.IO: set `engine_version` to V4"
        }
        _ => http::hint(200, &body, transport),
    };
    ConnectErrorKind::NotEngineIo { transport, body, hint }.into()
}

fn late_refusal(answer: &[u8]) -> ConnectError {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(400);
    let body = http::excerpt(text.split_once("\r\n\r\n").map_or("", |(_, body)| body));
    let hint = http::hint(status, &body, Transport::WebSocket);
    ConnectErrorKind::Http { transport: Transport::WebSocket, status, body, hint }.into()
}
