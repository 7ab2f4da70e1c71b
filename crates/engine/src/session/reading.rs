use std::{
    sync::Arc,
    task::{Context, Poll},
};

use sockeye_protocol::{
    engineio::{
        Packet, Revision,
        session::{CloseReason, Delivery as Destination, TransportKind},
    },
    websocket::{CloseCode, DecodeError, Event, with_read_buffer},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Message, Session, SessionHandler,
    log_throttle::{log_limit, log_violation},
    session::{core::Delivery, driver::Driver, turn::Turn},
    transport::{
        payload::Body,
        websocket::{Ahead, WebSocket, limits},
    },
};

/// What has come from the peer, by whatever transport.
impl<H: SessionHandler> Driver<H> {
    /// Reads once and handles what has come, as far as the turn's budget goes and the session may be read. Pending says
    /// that there is nothing.
    pub(super) fn poll_read(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Poll<()> {
        match self.websocket {
            Some(_) => self.read_websocket(turn, cx),
            None => self.read_inbox(turn, cx),
        }
    }

    /// Whether nothing more is to be read for now: the handler takes nothing, too much waits for the peer, or
    /// memory is short.
    pub(super) fn is_held(&self) -> bool {
        self.is_starved || self.session().is_congested() || !self.handler.is_ready()
    }

    fn read_websocket(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Poll<()> {
        let mut ahead = self.websocket.as_mut().map(WebSocket::take_ahead).unwrap_or_default();
        if !ahead.left().is_empty() {
            let decoded = self.decode(ahead.left(), turn, cx);
            ahead.advance(decoded);
            self.put_back(ahead);
            return Poll::Ready(());
        }
        with_read_buffer(|buffer| {
            let Some(websocket) = &mut self.websocket else { return Poll::Pending };
            let count = match websocket.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return lost(self.session(), CloseReason::TransportClose),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(_)) => return lost(self.session(), CloseReason::TransportError),
            };
            let input = buffer.get_mut(..count).unwrap_or_default();
            let decoded = self.decode(input, turn, cx);
            if let Some(left @ [_, ..]) = input.get(decoded..) {
                self.put_back(Ahead::new(left));
            }
            Poll::Ready(())
        })
    }

    fn put_back(&mut self, ahead: Ahead) {
        if let Some(websocket) = &mut self.websocket {
            websocket.put_back(ahead);
        }
    }

    /// Decodes and handles frames, as far as the turn's budget goes and the session may be read. Returns how many bytes
    /// of the input are done with.
    fn decode(&mut self, input: &mut [u8], turn: &mut Turn, cx: &mut Context<'_>) -> usize {
        let limits = limits(&self.session().context().config);
        let (mut decoded, packets) = (0, turn.packets);
        while decoded < input.len() && !self.session().is_ending() && !turn.is_spent() && !self.is_held() {
            let Self { guard, handler, websocket: Some(websocket), broken_rule, .. } = self else { break };
            let session = guard.session();
            match websocket.decoder.decode(input.get_mut(decoded..).unwrap_or_default(), &limits) {
                Err(error) => {
                    log_decode_error(session, &error);
                    *broken_rule = Some(error.close_code());
                    session.update_with(&error.to_string(), |core| {
                        core.state.close_with(CloseReason::TransportError, error.close_code(), now());
                    });
                }
                Ok((consumed, event)) => {
                    decoded += consumed;
                    if let Some(event) = event {
                        turn.packets += 1;
                        on_frame(event, session, handler, cx);
                    }
                }
            }
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.decoder.release();
        }
        turn.bytes += decoded;
        self.session().received().add(turn.packets - packets, decoded);
        // What comes behind the end of the session is dropped.
        if self.session().is_ending() { input.len() } else { decoded }
    }

    /// Handles what HTTP requests have brought.
    fn read_inbox(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Poll<()> {
        let Some(delivery) = self.session().core().lock().take_delivery() else { return Poll::Pending };
        match delivery {
            Delivery::Upgrade(websocket) => self.websocket = Some(*websocket),
            Delivery::Payload { body, answer } => self.read_body(body, answer, turn, cx),
        }
        Poll::Ready(())
    }

    /// Handles the packets of a POST's body, as far as the turn's budget goes and the session may be read; the rest goes
    /// back to the inbox.
    ///
    /// The client is answered when all is handled or, if the session may not be read, as soon as the rest is known to be
    /// valid: clients give up a request that is not answered for some seconds. Its next POST waits.
    fn read_body(
        &mut self,
        mut body: Body,
        mut answer: Option<oneshot::Sender<bool>>,
        turn: &mut Turn,
        cx: &mut Context<'_>,
    ) {
        let session = self.session().clone();
        let mut error = None;
        let before = turn.packets;
        let mut packets = body.packets(session.revision());
        while turn.packets == before || !(turn.is_spent() || self.is_held()) {
            let packet = match packets.next() {
                Some(Ok(packet)) => packet,
                invalid_or_end => {
                    error = invalid_or_end.and_then(Result::err);
                    break;
                }
            };
            turn.packets += 1;
            session.log_received(&packet);
            on_packet(packet, TransportKind::Polling, &session, &mut self.handler, cx);
            if session.is_ending() {
                break;
            }
        }
        let remaining = packets.remaining();
        let (goes_on, is_held) = (!session.is_ending(), self.is_held());
        if goes_on && remaining.is_some() && answer.is_some() && is_held {
            error = packets.find_map(Result::err);
        }
        let read = body.advance_to(remaining.unwrap_or(0));
        turn.bytes += read;
        session.received().add(turn.packets - before, read);
        if let Some(error) = &error {
            log_violation(session.id().short(), CloseReason::ParseError, error);
            session.update(|core| core.state.handle_invalid_packet(now()));
        }
        let is_left = goes_on && remaining.is_some() && error.is_none();
        if !is_left || is_held {
            // The request may have gone away, which its own guard takes care of.
            let _gone = answer.take().map(|answer| answer.send(error.is_none()));
        }
        if is_left {
            session.core().lock().put_back(Delivery::Payload { body, answer });
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
            session.send_pong(payload);
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
