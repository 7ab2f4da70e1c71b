//! Properties of the WebSocket codec: what is encoded comes back however it is cut, and tungstenite agrees.
mod websocket_support;

use std::io::{self, Read, Write};

use proptest::{collection::vec, prelude::*, sample::Index, test_runner::RngSeed};
use sockeye_protocol::websocket::{
    CloseCode, DecodeError, Limits, Opcode, Role, apply_mask, encode_close, encode_frame, encode_head,
};
use tungstenite::{Message, WebSocket, protocol::WebSocketConfig};
use websocket_support::{Owned, decode, frame};

const LIMITS: Limits = Limits { max_message: 1 << 20, max_fragments: usize::MAX };

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        rng_seed: RngSeed::Fixed(6455),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn events_survive_any_fragmentation_and_any_chunks(
        role in role(),
        events in vec((event(), vec(any::<Index>(), 0..4), any::<[u8; 4]>(), vec(any::<u8>(), 0..9)), 0..6),
        close in proptest::option::of(proptest::option::of((close_code(), "\\PC{0,30}"))),
        sizes in chunk_sizes(),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (event, cuts, mask, pong) in events {
            let mask = (role == Role::Server).then_some(mask);
            match &event {
                Owned::Text(text) => {
                    fragments(&mut stream, &mut expected, Opcode::Text, text.as_bytes(), &cuts, mask, &pong);
                }
                Owned::Binary(bytes) => {
                    fragments(&mut stream, &mut expected, Opcode::Binary, bytes, &cuts, mask, &pong);
                }
                Owned::Ping(bytes) => encode_frame(&mut stream, Opcode::Ping, bytes, mask),
                Owned::Pong(bytes) => encode_frame(&mut stream, Opcode::Pong, bytes, mask),
                Owned::Close(_) => unreachable!("no strategy makes one"),
            }
            expected.push(event);
        }
        if let Some(close) = close {
            let mask = (role == Role::Server).then_some([1, 2, 3, 4]);
            encode_close(&mut stream, close.as_ref().map(|(code, reason)| (*code, reason.as_str())), mask);
            expected.push(Owned::Close(close.map(|(code, reason)| (code.value(), reason))));
        }
        prop_assert_eq!(decode(role, &stream, &sizes, &LIMITS), (expected, Ok(())));
    }

    #[test]
    fn tungstenite_agrees_on_frames(role in role(), frames in vec(any_frame(), 0..12), sizes in chunk_sizes()) {
        let stream: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect();
        let (events, end) = decode(role, &stream, &sizes, &LIMITS);
        let (their_events, their_end) = tungstenite_decode(role, &stream, &sizes, &LIMITS);
        // Here every frame is whole, so that neither side can know more than the other.
        prop_assert_eq!(&events, &their_events);
        prop_assert_eq!(end.is_err(), their_end.is_err(), "we: {:?}, they: {:?}", end, their_end);
    }

    #[test]
    fn tungstenite_agrees_on_limits(
        role in role(),
        frames in vec((0..3_u8, any::<bool>(), 0..300_usize), 1..6),
        max_message in 125..500_usize,
        sizes in chunk_sizes(),
    ) {
        let limits = Limits { max_message, ..LIMITS };
        let first = |opcode: u8, fin: bool| if fin { 0x80 | opcode } else { opcode };
        let stream: Vec<u8> =
            frames.iter().flat_map(|(opcode, fin, len)| frame(role, first(*opcode, *fin), &vec![b'x'; *len])).collect();
        let (events, end) = decode(role, &stream, &sizes, &limits);
        let (their_events, their_end) = tungstenite_decode(role, &stream, &sizes, &limits);
        prop_assert_eq!(&events, &their_events);
        prop_assert_eq!(end.is_err(), their_end.is_err(), "we: {:?}, they: {:?}", end, their_end);
    }

    #[test]
    fn tungstenite_agrees_on_damaged_streams(
        role in role(),
        frames in vec(any_frame(), 1..6),
        damage in vec((any::<Index>(), any::<u8>()), 0..3),
        end in any::<Index>(),
        sizes in chunk_sizes(),
    ) {
        let mut stream: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect();
        for (position, byte) in damage {
            *position.get_mut(&mut stream) = byte;
        }
        stream.truncate(end.index(stream.len() + 1));
        let (events, end) = decode(role, &stream, &sizes, &LIMITS);
        let (their_events, their_end) = tungstenite_decode(role, &stream, &sizes, &LIMITS);
        match end {
            Ok(()) => {
                prop_assert_eq!(events, their_events);
                prop_assert!(their_end.is_ok(), "they: {:?}", their_end);
            }
            // tungstenite doesn't check that.
            Err(DecodeError::LengthNotMinimal(_)) => prop_assert!(their_events.starts_with(&events)),
            // It may be that only we know yet, tungstenite waiting for the rest of the frame.
            Err(_) => prop_assert_eq!(events, their_events),
        }
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn chunk_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![usize::MAX]), vec(1..8_usize, 1..6), vec(1..400_usize, 1..6)]
}

fn event() -> impl Strategy<Value = Owned> {
    prop_oneof![
        3 => "\\PC{0,200}".prop_map(Owned::Text),
        2 => vec(any::<u8>(), 0..400).prop_map(Owned::Binary),
        1 => (any::<u8>(), 65_500..65_600_usize).prop_map(|(byte, length)| Owned::Binary(vec![byte; length])),
        1 => vec(any::<u8>(), 0..=125).prop_map(Owned::Ping),
        1 => vec(any::<u8>(), 0..=125).prop_map(Owned::Pong),
    ]
}

fn close_code() -> impl Strategy<Value = CloseCode> {
    (1000..5000_u16).prop_filter_map("may not be sent", CloseCode::new)
}

/// The first byte and the payload of a frame that is likely, but not sure, to be valid where it stands.
fn any_frame() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let fin = prop_oneof![2 => Just(0x80_u8), 1 => Just(0)];
    let text = prop_oneof![
        6 => "\\PC{0,20}".prop_map(String::into_bytes),
        // A part of a character, so that fragments fit together sometimes.
        1 => prop_oneof![Just(vec![0xf0, 0x9f]), Just(vec![0x98, 0x80]), Just(vec![0xc3]), Just(vec![0xa9])],
        1 => vec(any::<u8>(), 0..6),
    ];
    let data = (fin, prop_oneof![3 => Just(0_u8), 2 => Just(1), 1 => Just(2)], text)
        .prop_map(|(fin, opcode, payload)| (fin | opcode, payload));
    let control = (prop_oneof![Just(0x89_u8), Just(0x8a)], vec(any::<u8>(), 0..10));
    // tungstenite takes 1014 for an invalid code.
    let code = prop_oneof![Just(1000_u16), 999..1017_u16, 2998..5002_u16].prop_filter("disputed", |code| *code != 1014);
    let reason = prop_oneof![4 => "\\PC{0,8}".prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..4)];
    let close = prop_oneof![
        1 => vec(any::<u8>(), 0..2),
        3 => (code, reason).prop_map(|(code, reason)| [&code.to_be_bytes()[..], &reason].concat()),
    ];
    prop_oneof![
        20 => data,
        6 => control,
        1 => close.prop_map(|payload| (0x88, payload)),
        1 => (any::<u8>(), vec(any::<u8>(), 0..130)),
    ]
}

/// Encodes a message cut at these places, a pong between its fragments.
fn fragments(
    stream: &mut Vec<u8>,
    expected: &mut Vec<Owned>,
    opcode: Opcode,
    payload: &[u8],
    cuts: &[Index],
    mask: Option<[u8; 4]>,
    pong: &[u8],
) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
    cuts.sort_unstable();
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([payload.len()]);
    for (number, (start, end)) in starts.zip(ends).enumerate() {
        let opcode = if number == 0 { opcode } else { Opcode::Continuation };
        let fin = number == cuts.len();
        stream.extend_from_slice(&encode_head(fin, opcode, (end - start) as u64, mask));
        let from = stream.len();
        stream.extend_from_slice(&payload[start..end]);
        if let Some(mask) = mask {
            apply_mask(&mut stream[from..], mask, 0);
        }
        if !fin {
            encode_frame(stream, Opcode::Pong, pong, mask);
            expected.push(Owned::Pong(pong.to_vec()));
        }
    }
}

/// What tungstenite makes of the stream: its events, and its error if it has one before the stream or a Close ends it.
fn tungstenite_decode(
    role: Role,
    stream: &[u8],
    sizes: &[usize],
    limits: &Limits,
) -> (Vec<Owned>, Result<(), tungstenite::Error>) {
    let role = match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let config =
        WebSocketConfig::default().max_message_size(Some(limits.max_message)).max_frame_size(Some(limits.max_message));
    let reader = Chunks { rest: stream, sizes: sizes.iter().copied().cycle() };
    let mut socket = WebSocket::from_raw_socket(reader, role, Some(config));
    let mut events = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Message::Text(text)) => Owned::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Owned::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Owned::Pong(bytes.to_vec()),
            Ok(Message::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                // It reports a forbidden code as a Close of its own making.
                let error = tungstenite::error::ProtocolError::InvalidCloseSequence;
                return (events, Err(tungstenite::Error::Protocol(error)));
            }
            Ok(Message::Close(close)) => {
                events.push(Owned::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned()))));
                return (events, Ok(()));
            }
            Ok(Message::Frame(frame)) => unreachable!("reading never yields a raw frame: {frame}"),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (events, Ok(())),
            Err(error) => return (events, Err(error)),
        };
        events.push(event);
    }
}

/// A stream that gives its bytes in chunks, then makes the reader wait, and takes whatever is written.
struct Chunks<'a, S> {
    rest: &'a [u8],
    sizes: S,
}

impl<S: Iterator<Item = usize>> Read for Chunks<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let size = self.sizes.next().unwrap_or(usize::MAX).clamp(1, self.rest.len());
        let count = self.rest.take(size as u64).read(buffer)?;
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

impl<S> Write for Chunks<'_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
