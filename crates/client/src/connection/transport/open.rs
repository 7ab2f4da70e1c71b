use std::{future::poll_fn, ops::ControlFlow, task::Poll};

use sockeye_protocol::{
    engineio::{Handshake, Packet, Revision},
    websocket::{Event, with_read_buffer},
};

use super::{Polling, WebSocket};
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
                tracing::debug!(%transport, %error, "a transport could not be opened");
                // The first transport is the one the user expects to work.
                failure.get_or_insert(error);
            }
        }
    }
    Err(failure.unwrap_or_else(|| ConnectErrorKind::Build.into()))
}

async fn open_polling(requests: &Requests) -> Result<Opened, ConnectError> {
    let mut body = Polling::handshake(requests).await?;
    let revision = requests.config().engine_version.revision();
    let mut handshake = None;
    let decoded = body.decode(revision, |packet| {
        requests.config().packet_log().received(Transport::Polling, &packet);
        if let Packet::Open(json) = packet {
            handshake = serde_json::from_str::<Handshake>(json).ok();
        }
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
    let revision = requests.config().engine_version.revision();
    let handshake = poll_fn(|cx| {
        with_read_buffer(|buffer| {
            loop {
                let count = match websocket.poll_read(cx, buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(ConnectErrorKind::Broken { transport: TRANSPORT }.into()));
                    }
                    Poll::Ready(Ok(count)) => count,
                    Poll::Ready(Err(error)) => {
                        let kind = ConnectErrorKind::Broken { transport: TRANSPORT };
                        return Poll::Ready(Err(ConnectError::with_source(kind, error)));
                    }
                };
                let input = buffer.get_mut(..count).unwrap_or_default();
                // The reference implementation refuses a WebSocket after it has been opened, with an answer of HTTP.
                if input.starts_with(b"HTTP/1.") {
                    return Poll::Ready(Err(late_refusal(input)));
                }
                let limits = websocket.limits();
                let (consumed, handshake) = match websocket.decoder.decode(input, &limits) {
                    Ok((_, None)) => continue,
                    Ok((consumed, Some(Event::Ping(_) | Event::Pong(_)))) => {
                        websocket.put_back(input.get(consumed..).unwrap_or_default());
                        continue;
                    }
                    Ok((consumed, Some(Event::Text(text)))) => {
                        let packet = Packet::parse_text(text, revision).ok();
                        packet.iter().for_each(|packet| requests.config().packet_log().received(TRANSPORT, packet));
                        let handshake = match packet {
                            Some(Packet::Open(json)) => serde_json::from_str::<Handshake>(json).ok(),
                            _ => None,
                        };
                        let wrong = || not_engine_io(TRANSPORT, text.as_bytes(), revision);
                        (consumed, handshake.ok_or_else(wrong))
                    }
                    Ok((_, Some(Event::Close(_)))) => {
                        return Poll::Ready(Err(ConnectErrorKind::Broken { transport: TRANSPORT }.into()));
                    }
                    Ok((consumed, Some(Event::Binary(data)))) => {
                        (consumed, Err(not_engine_io(TRANSPORT, data, revision)))
                    }
                    Err(error) => {
                        let hint = "it is not WebSocket either";
                        let kind = ConnectErrorKind::NotEngineIo { transport: TRANSPORT, body: String::new(), hint };
                        return Poll::Ready(Err(ConnectError::with_source(kind, error)));
                    }
                };
                websocket.decoder.release();
                websocket.put_back(input.get(consumed..).unwrap_or_default());
                return Poll::Ready(handshake);
            }
        })
    })
    .await?;
    Ok(Opened { handshake, transport: OpenTransport::WebSocket(websocket) })
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
