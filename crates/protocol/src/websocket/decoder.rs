use std::{ops::Range, str};

use super::{
    DecodeError, Event, Limits, Opcode, Role, apply_mask,
    close::decode_close,
    head::{FrameHead, MAX_CONTROL, MAX_HEAD},
    inline::InlineBytes,
    message::Message,
};

/// Decodes one direction of a connection.
///
/// It owns no memory while nothing is incomplete, so that an idle connection costs two words.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    role: Role,
    /// Whether a Close frame or an error has ended this direction.
    ended: bool,
}

impl Decoder {
    /// A decoder for the frames that a peer of `role` receives.
    pub const fn new(role: Role) -> Self {
        Self { partial: None, role, ended: false }
    }

    /// Decodes the next event from `input`, which it unmasks in place. Returns the number of bytes it consumed and the
    /// event. Without an event it has consumed all of the input and needs more. Never pass consumed bytes again.
    ///
    /// A message that lies in the input as one frame is borrowed from there. Any other is collected, and its buffer is
    /// freed by the next call or by [`release`](Self::release).
    ///
    /// After a Close or an error nothing more is decoded: further input is consumed and ignored (RFC 6455 §5.5.1).
    ///
    /// # Errors
    /// The peer breaks RFC 6455 or exceeds `limits`. The error comes with the first byte that proves it. Close the
    /// connection with [`DecodeError::close_code`].
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &Limits,
    ) -> Result<(usize, Option<Event<'a>>), DecodeError> {
        self.release();
        if self.ended {
            return Ok((input.len(), None));
        }
        let (consumed, found) = match self.advance(input, limits) {
            Ok((consumed, Some(found))) => (consumed, found),
            Ok((consumed, None)) => return Ok((consumed, None)),
            Err(error) => {
                self.end();
                return Err(error);
            }
        };
        let event = match found {
            Found::Frame(opcode, payload) => {
                let event = frame_event(opcode, input.get(payload).unwrap_or_default());
                if matches!(event, Err(_) | Ok(Event::Close(_))) {
                    self.end();
                }
                Some(event?)
            }
            Found::Control(opcode) => {
                self.ended = opcode == Opcode::Close;
                self.partial.as_deref().map(|partial| frame_event(opcode, &partial.control)).transpose()?
            }
            Found::Message => self.partial.as_deref().and_then(|partial| partial.message.as_ref()).map(Message::event),
        };
        Ok((consumed, event))
    }

    /// How many bytes of memory an incomplete message takes.
    pub fn memory(&self) -> usize {
        let Some(partial) = &self.partial else { return 0 };
        size_of::<Partial>() + partial.message.as_ref().map_or(0, Message::capacity)
    }

    /// Frees the buffer of the event that [`decode`](Self::decode) returned last. The next `decode` frees it, too; call
    /// this when there is no more input, so that an idle connection does not keep its last large message.
    pub fn release(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.message.take_if(|message| message.is_complete());
            if partial.is_empty() {
                self.partial = None;
            }
        }
    }

    /// Reads frames until one completes an event or the input ends.
    fn advance(&mut self, input: &mut [u8], limits: &Limits) -> Result<(usize, Option<Found>), DecodeError> {
        let mut consumed = 0;
        loop {
            let mut frame = match self.partial.as_mut().and_then(|partial| partial.frame.take()) {
                Some(frame) => frame,
                None => {
                    let rest = input.get(consumed..).unwrap_or_default();
                    let Some((head, size)) = self.read_head(rest)? else { return Ok((input.len(), None)) };
                    consumed += size;
                    self.begin_frame(head, limits)?
                }
            };
            let start = consumed;
            consumed = input.len().min(start.saturating_add(frame.remaining));
            let part = input.get_mut(start..consumed).unwrap_or_default();
            if let Some(mask) = frame.head.mask {
                apply_mask(part, mask, frame.received);
            }
            let is_first = frame.received == 0;
            frame.received += part.len();
            frame.remaining -= part.len();
            if is_first && frame.remaining == 0 && frame.head.is_self_contained() {
                self.release();
                return Ok((consumed, Some(Found::Frame(frame.head.opcode, start..consumed))));
            }
            let partial = self.partial.get_or_insert_default();
            let found = if frame.received > 0 || frame.remaining == 0 { partial.collect(&frame, part)? } else { None };
            if frame.remaining > 0 {
                partial.frame = Some(frame);
                return Ok((consumed, None));
            }
            if found.is_some() {
                return Ok((consumed, found));
            }
        }
    }

    /// Reads the head of the next frame. `None` means that the head is incomplete; the decoder has kept its bytes.
    fn read_head(&mut self, input: &[u8]) -> Result<Option<(FrameHead, usize)>, DecodeError> {
        let known = self.partial.as_deref().map_or(InlineBytes::EMPTY, |partial| partial.head);
        if known.is_empty() {
            let head = FrameHead::parse(input, self.role)?;
            if head.is_none() && !input.is_empty() {
                self.partial.get_or_insert_default().head.append(input);
            }
            return Ok(head);
        }
        let mut bytes = known;
        bytes.append(input);
        let head = FrameHead::parse(&bytes, self.role)?;
        if let Some(partial) = &mut self.partial {
            partial.head = if head.is_some() { InlineBytes::EMPTY } else { bytes };
        }
        Ok(head.map(|(head, size)| (head, size.saturating_sub(known.len()))))
    }

    /// Checks that RFC 6455 allows this frame here and that its length is within the limit.
    fn begin_frame(&mut self, head: FrameHead, limits: &Limits) -> Result<Frame, DecodeError> {
        let message = self.partial.as_mut().and_then(|partial| partial.message.as_mut());
        let mut before = 0;
        match (head.opcode, message) {
            (Opcode::Continuation, None) => return Err(DecodeError::UnexpectedContinuation),
            (Opcode::Continuation, Some(message)) => {
                message.begin_fragment(limits)?;
                before = message.len();
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(DecodeError::InterruptedMessage),
            (Opcode::Text | Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
        }
        let room = if head.opcode.is_control() { MAX_CONTROL } else { limits.max_message.saturating_sub(before) };
        match usize::try_from(head.len) {
            Ok(remaining) if remaining <= room => Ok(Frame { head, received: 0, remaining }),
            _ => {
                let before = u64::try_from(before).unwrap_or(u64::MAX);
                let size = head.len.saturating_add(before);
                Err(DecodeError::MessageTooBig { size, limit: limits.max_message })
            }
        }
    }

    fn end(&mut self) {
        self.partial = None;
        self.ended = true;
    }
}

/// What [`Decoder::advance`] found, and where its bytes are.
enum Found {
    /// A frame that is a complete event, with the range of its payload in the input.
    Frame(Opcode, Range<usize>),
    /// A control frame whose payload was collected.
    Control(Opcode),
    /// A message whose parts were collected.
    Message,
}

/// A frame whose payload is still being received.
#[derive(Debug)]
struct Frame {
    head: FrameHead,
    received: usize,
    remaining: usize,
}

/// What the decoder keeps while a frame or message is incomplete.
#[derive(Debug)]
struct Partial {
    /// The beginning of a frame's head.
    head: InlineBytes<MAX_HEAD>,
    frame: Option<Frame>,
    /// The payload of the current or the last control frame.
    control: InlineBytes<MAX_CONTROL>,
    message: Option<Message>,
}

impl Default for Partial {
    fn default() -> Self {
        Self { head: InlineBytes::EMPTY, frame: None, control: InlineBytes::EMPTY, message: None }
    }
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Adds a part of a frame's payload; `frame` has counted its bytes already.
    fn collect(&mut self, frame: &Frame, part: &[u8]) -> Result<Option<Found>, DecodeError> {
        let opcode = frame.head.opcode;
        if opcode.is_control() {
            if frame.received == part.len() {
                self.control = InlineBytes::EMPTY;
            }
            self.control.append(part);
            return Ok((frame.remaining == 0).then_some(Found::Control(opcode)));
        }
        let message = self.message.get_or_insert_with(|| Message::new(opcode));
        message.append(part, frame.remaining)?;
        if frame.remaining > 0 || !frame.head.fin {
            return Ok(None);
        }
        message.finish()?;
        Ok(Some(Found::Message))
    }
}

fn frame_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, DecodeError> {
    Ok(match opcode {
        Opcode::Text => Event::Text(str::from_utf8(payload).map_err(|_| DecodeError::InvalidUtf8)?),
        Opcode::Continuation | Opcode::Binary => Event::Binary(payload),
        Opcode::Close => Event::Close(decode_close(payload)?),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{encode_frame, encode_head};

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    const LIMITS: Limits = Limits { max_message: 1 << 20, max_fragments: 4 };
    const UNLIMITED: Limits = Limits { max_message: usize::MAX, max_fragments: usize::MAX };

    fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut bytes = encode_head(fin, opcode, payload.len() as u64, Some(MASK)).to_vec();
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        apply_mask(&mut bytes[start..], MASK, 0);
        bytes
    }

    fn server() -> Decoder {
        Decoder::new(Role::Server)
    }

    /// Decodes the first event or error.
    fn first(mut input: Vec<u8>, limits: &Limits) -> Result<bool, DecodeError> {
        server().decode(&mut input, limits).map(|(_, event)| event.is_some())
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Decoder>() <= 16, "{} bytes", size_of::<Decoder>());
    }

    #[test]
    fn borrows_a_whole_frame_from_the_input() {
        let mut input = frame(true, Opcode::Text, b"hello");
        input.extend(frame(true, Opcode::Binary, &[7; 300]));
        let bounds = input.as_ptr_range();
        let mut decoder = server();
        let (consumed, event) = decoder.decode(&mut input, &LIMITS).unwrap();
        assert_eq!(consumed, 11);
        let Some(Event::Text(text)) = event else { panic!("{event:?}") };
        assert_eq!(text, "hello");
        assert!(bounds.contains(&text.as_ptr()));
        let (consumed, event) = decoder.decode(&mut input[11..], &LIMITS).unwrap();
        assert_eq!((consumed, event), (308, Some(Event::Binary(&[7; 300]))));
        assert!(decoder.partial.is_none());
    }

    #[test]
    fn borrows_from_the_input_when_only_the_head_came_before() {
        let input = frame(true, Opcode::Binary, &[7; 300]);
        for head in 1..=8 {
            let mut decoder = server();
            assert_eq!(decoder.decode(&mut input[..head].to_vec(), &LIMITS), Ok((head, None)));
            let mut rest = input[head..].to_vec();
            assert_eq!(decoder.decode(&mut rest, &LIMITS), Ok((308 - head, Some(Event::Binary(&[7; 300])))));
            assert!(decoder.partial.is_none());
        }
    }

    #[test]
    fn takes_control_frames_between_fragments_and_within_reads() {
        let mut input = frame(false, Opcode::Text, b"Hel");
        input.extend(frame(true, Opcode::Ping, b"?"));
        input.extend(frame(false, Opcode::Continuation, b""));
        input.extend(frame(true, Opcode::Pong, b""));
        input.extend(frame(true, Opcode::Continuation, b"lo"));
        input.extend(frame(true, Opcode::Close, b"\x03\xe8bye"));
        for size in 1..=input.len() {
            let mut decoder = server();
            let mut events = Vec::new();
            for chunk in input.clone().chunks_mut(size) {
                let mut at = 0;
                while at < chunk.len() {
                    let (consumed, event) = decoder.decode(&mut chunk[at..], &LIMITS).unwrap();
                    events.extend(event.map(|event| format!("{event:?}")));
                    at += consumed;
                }
            }
            assert_eq!(
                events,
                ["Ping([63])", "Pong([])", r#"Text("Hello")"#, r#"Close(Some((CloseCode(1000), "bye")))"#],
                "in chunks of {size}"
            );
            decoder.release();
            assert!(decoder.partial.is_none());
        }
    }

    #[test]
    fn frees_what_it_collected() {
        let mut input = frame(true, Opcode::Binary, &vec![1; 1 << 20]);
        let (head, tail) = input.split_at_mut(1 << 19);
        let mut decoder = server();
        assert_eq!(decoder.decode(head, &LIMITS), Ok((1 << 19, None)));
        let (consumed, event) = decoder.decode(tail, &LIMITS).unwrap();
        assert!(matches!(event, Some(Event::Binary(bytes)) if bytes == vec![1; 1 << 20]));
        assert_eq!(consumed, tail.len());
        assert!(decoder.partial.is_some());
        decoder.release();
        assert!(decoder.partial.is_none());
    }

    #[test]
    fn frees_a_finished_message_with_the_next_input() {
        let mut input = frame(false, Opcode::Text, b"a");
        input.extend(frame(true, Opcode::Continuation, b"b"));
        let mut decoder = server();
        assert_eq!(decoder.decode(&mut input, &LIMITS), Ok((14, Some(Event::Text("ab")))));
        assert_eq!(decoder.decode(&mut [], &LIMITS), Ok((0, None)));
        assert!(decoder.partial.is_none());
    }

    #[test]
    fn allocates_nothing_for_an_announcement() {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let mut head = encode_head(true, opcode, 1 << 62, Some(MASK)).to_vec();
            let mut decoder = server();
            let error = DecodeError::MessageTooBig { size: 1 << 62, limit: 1 << 20 };
            assert_eq!(decoder.decode(&mut head, &LIMITS), Err(error));
            assert!(decoder.partial.is_none());

            let capacity =
                |decoder: &Decoder| decoder.partial.as_ref().unwrap().message.as_ref().map_or(0, Message::capacity);
            let mut decoder = server();
            assert_eq!(decoder.decode(&mut head, &UNLIMITED), Ok((MAX_HEAD, None)));
            assert_eq!(capacity(&decoder), 0);
            let mut part = vec![0; 1000];
            apply_mask(&mut part, MASK, 0);
            assert_eq!(decoder.decode(&mut part, &UNLIMITED), Ok((1000, None)));
            assert!(capacity(&decoder) <= 2000, "{} bytes for 1000", capacity(&decoder));
        }
    }

    #[test]
    fn never_buffers_more_than_was_announced() {
        let mut input = frame(true, Opcode::Binary, &[1; 1000]);
        let last = input.len() - 1;
        let mut decoder = server();
        for byte in &mut input[..last] {
            assert_eq!(decoder.decode(std::slice::from_mut(byte), &LIMITS), Ok((1, None)));
        }
        let capacity = decoder.partial.as_ref().unwrap().message.as_ref().unwrap().capacity();
        assert!(capacity <= 1000, "{capacity} bytes for 1000");
    }

    #[test]
    fn refuses_a_message_that_is_too_big_before_its_payload() {
        let limits = Limits { max_message: 10, ..LIMITS };
        let mut input = frame(false, Opcode::Text, b"123456");
        let second = encode_head(true, Opcode::Continuation, 5, Some(MASK));
        let exact = encode_head(true, Opcode::Continuation, 4, Some(MASK));
        assert_eq!(first([&*input, &exact].concat(), &limits), Ok(false));
        input.extend_from_slice(&second);
        assert_eq!(first(input, &limits), Err(DecodeError::MessageTooBig { size: 11, limit: 10 }));
        // A control frame is no message.
        assert_eq!(first(frame(true, Opcode::Ping, &[0; 125]), &limits), Ok(true));
    }

    #[test]
    fn counts_empty_fragments() {
        let mut input = frame(false, Opcode::Text, b"");
        for _ in 0..3 {
            input.extend(frame(false, Opcode::Continuation, b""));
        }
        assert_eq!(first(input.clone(), &LIMITS), Ok(false));
        input.extend(frame(true, Opcode::Continuation, b""));
        assert_eq!(first(input, &LIMITS), Err(DecodeError::TooManyFragments { limit: 4 }));
        let none = Limits { max_fragments: 0, ..LIMITS };
        assert_eq!(first(frame(true, Opcode::Text, b"whole"), &none), Ok(true));
    }

    #[test]
    fn refuses_frames_out_of_order() {
        let fragment = frame(false, Opcode::Binary, b"a");
        for opcode in [Opcode::Text, Opcode::Binary] {
            for fin in [false, true] {
                let input = [fragment.clone(), frame(fin, opcode, b"b")].concat();
                assert_eq!(first(input, &LIMITS), Err(DecodeError::InterruptedMessage));
            }
        }
        for fin in [false, true] {
            let input = frame(fin, Opcode::Continuation, b"b");
            assert_eq!(first(input, &LIMITS), Err(DecodeError::UnexpectedContinuation));
        }
    }

    #[test]
    fn ignores_what_follows_a_close_or_an_error() {
        let text = frame(true, Opcode::Text, b"late");
        let closing = [frame(true, Opcode::Close, b""), frame(true, Opcode::Close, b"\x03\xe8")];
        for close in &closing {
            for split in 1..=close.len() {
                let mut decoder = server();
                let (mut head, mut tail) = (close[..split].to_vec(), close[split..].to_vec());
                let early = matches!(decoder.decode(&mut head, &LIMITS), Ok((_, Some(Event::Close(_)))));
                assert!(early || matches!(decoder.decode(&mut tail, &LIMITS), Ok((_, Some(Event::Close(_))))));
                assert_eq!(decoder.decode(&mut text.clone(), &LIMITS), Ok((text.len(), None)));
                assert!(decoder.partial.is_none());
            }
        }
        for fault in [vec![0xff], frame(true, Opcode::Text, b"\xff"), frame(true, Opcode::Close, b"\x00")] {
            let mut decoder = server();
            decoder.decode(&mut fault.clone(), &LIMITS).unwrap_err();
            assert_eq!(decoder.decode(&mut text.clone(), &LIMITS), Ok((text.len(), None)));
        }
    }

    #[test]
    fn the_client_takes_unmasked_frames() {
        let mut input = Vec::new();
        encode_frame(&mut input, Opcode::Text, b"hi", None);
        let mut decoder = Decoder::new(Role::Client);
        assert_eq!(decoder.decode(&mut input, &LIMITS), Ok((4, Some(Event::Text("hi")))));
    }
}
