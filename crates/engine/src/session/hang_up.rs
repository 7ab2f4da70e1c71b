use std::{
    io,
    task::{Context, Poll, ready},
};

use sockeye_protocol::websocket::{Decoder, Event, Limits, with_read_buffer};

use crate::transport::websocket::{Source, WebSocket};

/// How the peer ended a WebSocket whose sending side is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HungUp {
    /// The peer's Close frame.
    Closed,
    /// The end of its input.
    Lost,
}

/// Waits for the peer's Close frame or the end of its input, and drops what it sends before: closing a connection with
/// unread input resets it, and the peer would lose our last frames.
pub(super) fn poll_hang_up(
    websocket: &mut WebSocket,
    limits: &Limits,
    cx: &mut Context<'_>,
) -> Poll<io::Result<HungUp>> {
    ready!(poll_shutdown(websocket, cx))?;
    with_read_buffer(|buffer| {
        loop {
            let count = ready!(websocket.poll_read(cx, buffer))?;
            if count == 0 {
                return Poll::Ready(Ok(HungUp::Lost));
            }
            if has_close_frame(&mut websocket.decoder, buffer.get_mut(..count).unwrap_or_default(), limits) {
                return Poll::Ready(Ok(HungUp::Closed));
            }
        }
    })
}

/// Shuts the sending side of a stream that only the session's task writes. Of a TCP connection it is shut already.
pub(super) fn poll_shutdown(websocket: &mut WebSocket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match &mut websocket.source {
        Source::Stream(stream) => stream.as_mut().poll_shutdown(cx),
        Source::Tcp(_) => Poll::Ready(Ok(())),
    }
}

/// Whether the next frames of a WebSocket that ends, which `input` holds, have a close frame among them.
fn has_close_frame(decoder: &mut Decoder, mut input: &mut [u8], limits: &Limits) -> bool {
    while !input.is_empty() {
        match decoder.decode(input, limits) {
            Ok((_, Some(Event::Close(_)))) => return true,
            Ok((consumed, _)) => input = input.get_mut(consumed..).unwrap_or_default(),
            // What breaks the protocol now is no longer of interest.
            Err(_) => return false,
        }
    }
    false
}
