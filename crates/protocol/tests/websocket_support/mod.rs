//! What the tests of the WebSocket codec share.
use sockeye_protocol::websocket::{DecodeError, Decoder, Event, Limits, Opcode, Role, apply_mask, encode_head};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An [`Event`] that owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Event::Close(close) => Self::Close(close.map(|(code, reason)| (code.value(), reason.to_owned()))),
        }
    }
}

/// A frame for a peer of `role`. `first` is its first byte: FIN, reserved bits and opcode, valid or not.
pub(crate) fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = (role == Role::Server).then_some(MASK);
    let mut bytes = encode_head(true, Opcode::Text, payload.len() as u64, mask).to_vec();
    bytes[0] = first;
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut bytes[start..], mask, 0);
    }
    bytes
}

/// What a decoder makes of a stream that arrives in chunks of these sizes, over and over.
pub(crate) fn decode(
    role: Role,
    stream: &[u8],
    sizes: &[usize],
    limits: &Limits,
) -> (Vec<Owned>, Result<(), DecodeError>) {
    let mut decoder = Decoder::new(role);
    let mut events = Vec::new();
    let mut rest = stream.to_vec();
    let mut rest = rest.as_mut_slice();
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut chunk, later) = rest.split_at_mut(size.clamp(1, rest.len()));
        rest = later;
        while !chunk.is_empty() {
            let length = chunk.len();
            match decoder.decode(chunk, limits) {
                Err(error) => return (events, Err(error)),
                Ok((consumed, event)) => {
                    assert!(event.is_some() || consumed == length, "input was left without an event");
                    events.extend(event.map(Owned::from));
                    chunk = &mut chunk[consumed..];
                }
            }
        }
    }
    (events, Ok(()))
}
