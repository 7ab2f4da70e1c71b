use std::ops::Deref;

use super::{DecodeError, Opcode, Role, apply_mask, inline::InlineBytes};

/// The longest head of a frame: two bytes, a length of eight and a mask of four.
pub const MAX_HEAD: usize = 14;

/// The longest head of a frame from a server, which never masks.
pub const MAX_SERVER_HEAD: usize = 10;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// The encoded head of one frame; it dereferences to its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head(InlineBytes<MAX_HEAD>);

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Makes the head of a frame whose payload has `len` bytes. A client passes a fresh random `mask` for every frame and
/// masks the payload with it ([`apply_mask`]), a server passes none.
///
/// The caller must keep the rules of RFC 6455 §5.5: a control frame has `fin` set and at most 125 bytes.
pub fn encode_head(fin: bool, opcode: Opcode, len: u64, mask: Option<[u8; 4]>) -> Head {
    let first = if fin { FIN } else { 0 } | opcode.bits();
    let masked = if mask.is_some() { MASKED } else { 0 };
    let mut head = InlineBytes::EMPTY;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..=MAX_SHORT), _) => head.append(&[first, masked | len]),
        (_, Ok(len)) => {
            head.append(&[first, masked | LENGTH_16]);
            head.append(&len.to_be_bytes());
        }
        _ => {
            head.append(&[first, masked | LENGTH_64]);
            head.append(&len.to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        head.append(&mask);
    }
    Head(head)
}

/// Appends a final frame to `out`. If `mask` is given, it masks the copy of `payload` (see [`encode_head`]).
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let head = encode_head(true, opcode, u64::try_from(payload.len()).unwrap_or(u64::MAX), mask);
    out.reserve(head.len() + payload.len());
    out.extend_from_slice(&head);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(mask), Some(copy)) = (mask, out.get_mut(start..)) {
        apply_mask(copy, mask, 0);
    }
}

/// A decoded head that is valid on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) len: u64,
    pub(super) mask: Option<[u8; 4]>,
}

impl FrameHead {
    /// Whether the frame is a whole event: a control frame or an unfragmented message.
    pub(super) fn is_self_contained(&self) -> bool {
        self.fin && self.opcode != Opcode::Continuation
    }

    /// Decodes the head at the start of `input` and returns its length in bytes. `None` means that the head is
    /// incomplete. An error comes with the first byte that proves it.
    pub(super) fn parse(input: &[u8], role: Role) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some((first, input)) = input.split_first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(DecodeError::ReservedBits);
        }
        let bits = first & OPCODE;
        let opcode = Opcode::from_bits(bits).ok_or(DecodeError::ReservedOpcode(bits))?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(DecodeError::FragmentedControl(opcode));
        }

        let Some((second, input)) = input.split_first() else { return Ok(None) };
        let masked = second & MASKED != 0;
        match role {
            Role::Server if !masked => return Err(DecodeError::Unmasked),
            Role::Client if masked => return Err(DecodeError::Masked),
            _ => {}
        }
        let short = second & !MASKED;
        if opcode.is_control() && short > MAX_SHORT {
            return Err(DecodeError::LongControl(opcode));
        }

        let (len, input, length_size) = match short {
            LENGTH_16 => {
                let Some((bytes, input)) = input.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*bytes)), input, 2)
            }
            LENGTH_64 => {
                let Some((bytes, input)) = input.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*bytes), input, 8)
            }
            short => (u64::from(short), input, 0),
        };
        if len > MAX_LENGTH {
            return Err(DecodeError::LengthOutOfRange(len));
        }
        let minimal = match length_size {
            2 => len > u64::from(MAX_SHORT),
            8 => len > u64::from(u16::MAX),
            _ => true,
        };
        if !minimal {
            return Err(DecodeError::LengthNotMinimal(len));
        }

        let (mask, mask_size) = if masked {
            let Some((mask, _)) = input.split_first_chunk() else { return Ok(None) };
            (Some(*mask), 4)
        } else {
            (None, 0)
        };
        Ok(Some((Self { fin, opcode, len, mask }, 2 + length_size + mask_size)))
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// The longest length that fits into the second byte.
const MAX_SHORT: u8 = 125;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// RFC 6455 §5.2: the most significant bit of a length must be 0.
const MAX_LENGTH: u64 = u64::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn encodes_heads() {
        let cases: [(Head, &[u8]); 8] = [
            (encode_head(true, Opcode::Text, 0, None), &[0x81, 0]),
            (encode_head(false, Opcode::Binary, 125, None), &[0x02, 125]),
            (encode_head(true, Opcode::Continuation, 126, None), &[0x80, 126, 0, 126]),
            (encode_head(true, Opcode::Binary, 65_535, None), &[0x82, 126, 0xff, 0xff]),
            (encode_head(true, Opcode::Binary, 65_536, None), &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (encode_head(true, Opcode::Close, 2, Some(MASK)), &[0x88, 0x82, 1, 2, 3, 4]),
            (encode_head(true, Opcode::Ping, 0, Some(MASK)), &[0x89, 0x80, 1, 2, 3, 4]),
            (encode_head(true, Opcode::Text, 65_536, Some(MASK)), &[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]),
        ];
        for (head, bytes) in cases {
            assert_eq!(*head, *bytes);
        }
        assert_eq!(encode_head(true, Opcode::Text, u64::MAX, None).len(), MAX_SERVER_HEAD);
        assert_eq!(encode_head(true, Opcode::Text, u64::MAX, Some(MASK)).len(), MAX_HEAD);
    }

    #[test]
    fn parses_what_it_encodes_and_waits_for_every_byte() {
        for opcode in (0..16).filter_map(Opcode::from_bits) {
            let lengths: &[u64] = if opcode.is_control() {
                &[0, 125]
            } else {
                &[0, 1, 125, 126, 65_535, 65_536, i64::MAX.unsigned_abs()]
            };
            for &len in lengths {
                for (role, mask) in [(Role::Server, Some(MASK)), (Role::Client, None)] {
                    let head = FrameHead { fin: true, opcode, len, mask };
                    let bytes = encode_head(true, opcode, len, mask);
                    assert_eq!(FrameHead::parse(&bytes, role), Ok(Some((head, bytes.len()))));
                    for end in 0..bytes.len() {
                        assert_eq!(FrameHead::parse(&bytes[..end], role), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_a_faulty_head_at_its_first_faulty_byte() {
        use DecodeError::*;
        let cases: [(Role, &[u8], DecodeError); 16] = [
            (Role::Server, &[0xc1], ReservedBits),
            (Role::Server, &[0xa1], ReservedBits),
            (Role::Server, &[0x91], ReservedBits),
            (Role::Server, &[0x83], ReservedOpcode(3)),
            (Role::Server, &[0x8b], ReservedOpcode(11)),
            (Role::Server, &[0x8f], ReservedOpcode(15)),
            (Role::Server, &[0x08], FragmentedControl(Opcode::Close)),
            (Role::Server, &[0x09], FragmentedControl(Opcode::Ping)),
            (Role::Server, &[0x81, 0x05], Unmasked),
            (Role::Client, &[0x81, 0x85], Masked),
            (Role::Client, &[0x89, 126], LongControl(Opcode::Ping)),
            (Role::Client, &[0x8a, 127], LongControl(Opcode::Pong)),
            (Role::Client, &[0x82, 126, 0, 125], LengthNotMinimal(125)),
            (Role::Client, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], LengthNotMinimal(65_535)),
            (Role::Client, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], LengthOutOfRange(1 << 63)),
            (Role::Server, &[0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0], LengthOutOfRange(0xff << 56)),
        ];
        for (role, bytes, error) in cases {
            assert_eq!(FrameHead::parse(bytes, role), Err(error), "{bytes:x?}");
            assert_eq!(FrameHead::parse(&bytes[..bytes.len() - 1], role), Ok(None), "{bytes:x?}");
        }
    }

    #[test]
    fn encodes_a_frame_behind_what_is_there() {
        let mut out = b"x".to_vec();
        encode_frame(&mut out, Opcode::Text, b"Hello", None);
        assert_eq!(out, b"x\x81\x05Hello");
        // The masked text of RFC 6455 §5.7.
        out.clear();
        encode_frame(&mut out, Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
