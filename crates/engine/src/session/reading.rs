use std::{
    sync::Arc,
    task::{Context, Poll},
};

use sockeye_protocol::{
    engineio::{
        Packet, Revision,
        session::{CloseReason, Delivery as Destination, TransportKind},
    },
    websocket::{CloseCode, DecodeError, Event, Opcode, with_read_buffer},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Frame, Message, Session, SessionHandler,
    log_throttle::{log_limit, log_violation},
    session::{core::Delivery, driver::Driver},
    transport::{payload::Body, websocket::limits},
};

/// How many packets of a POST's body are handled as one read.
const PACKETS_A_READ: u64 = 1_024;

/// What has come from the peer, by whatever transport.
impl<H: SessionHandler> Driver<H> {
    /// Reads once and handles what has come. Pending says that there is nothing.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.websocket {
            Some(_) => self.read_websocket(cx),
            None => self.read_inbox(cx),
        }
    }

    fn read_websocket(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, handler, websocket, packets: all, broken_rule, .. } = self;
        let Some(websocket) = websocket else { return Poll::Pending };
        let limits = limits(&session.context().config);
        with_read_buffer(|buffer| {
            let count = match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return lost(session, CloseReason::TransportClose),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(_)) => return lost(session, CloseReason::TransportError),
            };
            let mut input = buffer.get_mut(..count).unwrap_or_default();
            let mut packets = 0;
            while !input.is_empty() && !session.is_ending() {
                if !handler.is_ready() {
                    websocket.put_back(input);
                    break;
                }
                let consumed = match websocket.decoder.decode(input, &limits) {
                    Err(error) => {
                        log_decode_error(session, &error);
                        *broken_rule = Some(error.close_code());
                        session.update_with(&error.to_string(), |core| {
                            core.state.close_with(CloseReason::TransportError, error.close_code(), now());
                        });
                        break;
                    }
                    Ok((consumed, event)) => {
                        if let Some(event) = event {
                            packets += 1;
                            on_frame(event, session, handler, cx);
                        }
                        consumed
                    }
                };
                input = input.get_mut(consumed..).unwrap_or_default();
            }
            websocket.decoder.release();
            session.received().add(packets, count - input.len());
            *all += packets;
            Poll::Ready(())
        })
    }

    /// Handles what HTTP requests have brought.
    fn read_inbox(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(delivery) = self.session.core().lock().inbox.pop_front() else { return Poll::Pending };
        match delivery {
            Delivery::Upgrade(websocket) => self.websocket = Some(*websocket),
            Delivery::Payload { body, answer } => self.read_body(body, answer, cx),
        }
        Poll::Ready(())
    }

    /// Handles the packets of a POST's body until the handler is not ready for more; the rest goes back to the inbox.
    ///
    /// The client is answered when all is handled or, if the handler is not ready, as soon as the rest is known to be
    /// valid: clients give up a request that is not answered for some seconds. Its next POST waits.
    fn read_body(&mut self, mut body: Body, mut answer: Option<oneshot::Sender<bool>>, cx: &mut Context<'_>) {
        let Self { session, handler, packets: all, .. } = self;
        let mut error = None;
        let mut count = 0;
        let mut packets = body.packets(session.revision());
        while count == 0 || (count < PACKETS_A_READ && handler.is_ready()) {
            let packet = match packets.next() {
                Some(Ok(packet)) => packet,
                invalid_or_end => {
                    error = invalid_or_end.and_then(Result::err);
                    break;
                }
            };
            count += 1;
            session.log_received(&packet);
            on_packet(packet, TransportKind::Polling, session, handler, cx);
            if session.is_ending() {
                break;
            }
        }
        let remaining = packets.remaining();
        let goes_on = !session.is_ending();
        if goes_on && remaining.is_some() && answer.is_some() && !handler.is_ready() {
            error = packets.find_map(Result::err);
        }
        session.received().add(count, body.advance_to(remaining.unwrap_or(0)));
        *all += count;
        if let Some(error) = &error {
            log_violation(session.id().short(), CloseReason::ParseError, error);
            session.update(|core| core.state.handle_invalid_packet(now()));
        }
        let is_left = goes_on && remaining.is_some() && error.is_none();
        if !is_left || !handler.is_ready() {
            // The request may have gone away, which its own guard takes care of.
            let _gone = answer.take().map(|answer| answer.send(error.is_none()));
        }
        if is_left {
            session.core().lock().inbox.push_front(Delivery::Payload { body, answer });
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn lost(session: &Session, reason: CloseReason) -> Poll<()> {
    session.update(|core| core.state.handle_websocket_lost(reason, now()));
    Poll::Ready(())
}

/// Logs why a WebSocket is closed whose frames cannot be read.
fn log_decode_error(session: &Session, error: &DecodeError) {
    let sid = session.id().short();
    match error {
        DecodeError::MessageTooBig { limit, .. } => {
            log_limit(sid, "max_payload", limit, "closed a WebSocket that sent a larger message");
        }
        DecodeError::TooManyFragments { limit } => {
            log_limit(sid, "max_fragments", limit, "closed a WebSocket that cut a message into more frames");
        }
        error => log_violation(sid, CloseReason::TransportError, error),
    }
}

fn on_frame<H: SessionHandler>(event: Event<'_>, session: &Arc<Session>, handler: &mut H, cx: &mut Context<'_>) {
    let revision = session.revision();
    let packet = match event {
        Event::Text(text) => {
            session.log_packet("received", false, text.as_bytes());
            if let Some(message) = text.strip_prefix('4') {
                return handler.message(Message::Text(message), cx);
            }
            Packet::parse_text(text, revision)
        }
        Event::Binary(data) => {
            session.log_packet("received", true, data);
            Packet::parse_binary(data, revision)
        }
        Event::Ping(payload) => {
            let _closed = session.send(Frame::control(Opcode::Pong, payload));
            return;
        }
        Event::Pong(_) => return,
        Event::Close(close) => {
            let code: Option<CloseCode> = close.map(|(code, _)| code);
            session.update(|core| core.state.handle_websocket_closed(code, now()));
            return;
        }
    };
    match packet {
        Ok(packet) => on_packet(packet, TransportKind::WebSocket, session, handler, cx),
        Err(error) => {
            log_violation(session.id().short(), CloseReason::ParseError, &error);
            session.update(|core| core.state.handle_invalid_packet(now()));
        }
    }
}

fn on_packet<H: SessionHandler>(
    packet: Packet<'_>,
    via: TransportKind,
    session: &Arc<Session>,
    handler: &mut H,
    cx: &mut Context<'_>,
) {
    match &packet {
        // As long as the session is open, messages are delivered without asking its state.
        Packet::Text(text) => return handler.message(Message::Text(text), cx),
        Packet::Binary(data) => return handler.message(Message::Binary(data), cx),
        _ => {}
    }
    if matches!((&packet, session.revision()), (Packet::Ping(_), Revision::V4) | (Packet::Pong(_), Revision::V3)) {
        let fault = "it sent a heartbeat packet that only servers of its revision send";
        log_violation(session.id().short(), CloseReason::TransportError, &fault);
    }
    let data = if let Packet::Ping(data) = packet { data } else { "" };
    let (destination, _) = session.update_with(data, |core| core.state.handle_packet(via, &packet, now()));
    debug_assert_eq!(destination, Destination::Done, "messages were delivered above");
}
