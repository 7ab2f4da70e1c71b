use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// A revision of the Engine.IO protocol, the `EIO` parameter of a request. The enum is exhaustive, because each revision
/// is read and written in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// `EIO=3`, spoken by Socket.IO 1 and 2.
    V3,
    /// `EIO=4`, spoken by Socket.IO 3 and later.
    V4,
}

/// One Engine.IO packet, borrowed from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the handshake, as JSON.
    Open(&'a str),
    /// `1`: the session ends.
    Close,
    /// `2`: a heartbeat or, as `2probe`, the question whether an upgrade works.
    Ping(&'a str),
    /// `3`: the answer to a ping, with the same data.
    Pong(&'a str),
    /// `4`: a text message.
    Text(&'a str),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// `5`: the upgrade is completed.
    Upgrade,
    /// `6`: nothing; ends a poll that is waiting.
    Noop,
}

/// Why a packet could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The packet has no type character.
    #[error("the Engine.IO packet is empty: it must start with a type from 0 to 6")]
    Empty,
    /// The type is none of 0 to 6, or not one that may carry binary data.
    #[error("unknown Engine.IO packet type {0:?}: types are 0 to 6, and b for base64")]
    UnknownType(char),
    /// A binary message in textual form is not base64.
    #[error("the binary Engine.IO packet is not valid base64 (RFC 4648 section 4 or 5); it may have been cut off")]
    InvalidBase64,
    /// A control packet in a binary frame is not UTF-8.
    #[error("the Engine.IO packet is not valid UTF-8; text must be sent as UTF-8")]
    InvalidUtf8,
}

impl<'a> Packet<'a> {
    /// Reads the textual form: `4hello`, `b<base64>` in revision 4, `b4<base64>` in revision 3.
    ///
    /// Data after a type that has none (`1`, `5`, `6`) is ignored, as the reference implementation does. The base64 may
    /// lack its padding, be folded into lines, and use the URL-safe alphabet.
    pub fn parse_text(text: &'a str, revision: Revision) -> Result<Self, PacketError> {
        let mut chars = text.chars();
        let kind = chars.next().ok_or(PacketError::Empty)?;
        let data = chars.as_str();
        if kind != 'b' {
            return Self::from_type(kind, data);
        }
        let data = match revision {
            Revision::V4 => data,
            Revision::V3 => match data.strip_prefix('4') {
                Some(data) => data,
                None => return Err(data.chars().next().map_or(PacketError::Empty, PacketError::UnknownType)),
            },
        };
        Ok(Self::Binary(Cow::Owned(decode_base64(data)?)))
    }

    /// Reads a binary WebSocket frame: in revision 4 the message itself, in revision 3 the type as a byte (4 for a
    /// message) and the data.
    pub fn parse_binary(data: &'a [u8], revision: Revision) -> Result<Self, PacketError> {
        if revision == Revision::V4 {
            return Ok(Self::Binary(Cow::Borrowed(data)));
        }
        match data.split_first() {
            None => Err(PacketError::Empty),
            Some((4, data)) => Ok(Self::Binary(Cow::Borrowed(data))),
            Some((kind @ 0..=6, data)) => {
                let data = str::from_utf8(data).map_err(|_| PacketError::InvalidUtf8)?;
                Self::from_type(char::from(b'0' + kind), data)
            }
            Some((&kind, _)) => Err(PacketError::UnknownType(char::from(kind))),
        }
    }

    /// Appends the textual form, a binary message as base64.
    pub fn encode_text(&self, revision: Revision, out: &mut Vec<u8>) {
        let (kind, data) = match self {
            Self::Open(data) => (b'0', *data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', *data),
            Self::Pong(data) => (b'3', *data),
            Self::Text(data) => (b'4', *data),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
            Self::Binary(data) => {
                out.push(b'b');
                if revision == Revision::V3 {
                    out.push(b'4');
                }
                append_base64(data, out);
                return;
            }
        };
        out.reserve(1 + data.len());
        out.push(kind);
        out.extend_from_slice(data.as_bytes());
    }

    fn from_type(kind: char, data: &'a str) -> Result<Self, PacketError> {
        Ok(match kind {
            '0' => Self::Open(data),
            '1' => Self::Close,
            '2' => Self::Ping(data),
            '3' => Self::Pong(data),
            '4' => Self::Text(data),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            kind => return Err(PacketError::UnknownType(kind)),
        })
    }
}

/// Reads base64 as clients write it. The reference decodes with Node's `Buffer`, on which clients rely: Java's encoders
/// add line ends, others leave out the padding or write `-` and `_` (RFC 4648 section 5).
///
/// `Buffer` also skips every other character and ignores all that follows the first `=`. Those are refused here,
/// because such a packet was damaged on its way and would be handed on with bytes missing.
fn decode_base64(data: &str) -> Result<Vec<u8>, PacketError> {
    if let Ok(bytes) = BASE64.decode(data) {
        return Ok(bytes);
    }
    let characters = data.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t'));
    let standard = characters.map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    });
    BASE64.decode(standard.collect::<Vec<u8>>()).map_err(|_| PacketError::InvalidBase64)
}

/// Padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn append_base64(data: &[u8], out: &mut Vec<u8>) {
    // A multiple of three bytes encodes without padding, so the chunks join seamlessly in a buffer on the stack.
    let mut buffer = [0; 1024];
    for chunk in data.chunks(768) {
        if let Ok(length) = BASE64.encode_slice(chunk, &mut buffer) {
            out.extend(buffer.iter().take(length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_packets_are_read() {
        let rows: [(&str, Revision, Result<Packet<'_>, PacketError>); 20] = [
            ("0{}", Revision::V4, Ok(Packet::Open("{}"))),
            ("1", Revision::V4, Ok(Packet::Close)),
            ("1x", Revision::V4, Ok(Packet::Close)),
            ("2", Revision::V4, Ok(Packet::Ping(""))),
            ("2probe", Revision::V3, Ok(Packet::Ping("probe"))),
            ("3probe", Revision::V4, Ok(Packet::Pong("probe"))),
            ("4", Revision::V4, Ok(Packet::Text(""))),
            ("4€", Revision::V3, Ok(Packet::Text("€"))),
            ("5", Revision::V4, Ok(Packet::Upgrade)),
            ("6", Revision::V4, Ok(Packet::Noop)),
            ("bAQID", Revision::V4, Ok(Packet::Binary(Cow::Borrowed(&[1, 2, 3])))),
            ("bAQI=", Revision::V4, Ok(Packet::Binary(Cow::Borrowed(&[1, 2])))),
            ("bAQI", Revision::V4, Ok(Packet::Binary(Cow::Borrowed(&[1, 2])))),
            ("b4AQID", Revision::V3, Ok(Packet::Binary(Cow::Borrowed(&[1, 2, 3])))),
            ("b", Revision::V3, Err(PacketError::Empty)),
            ("b2AQID", Revision::V3, Err(PacketError::UnknownType('2'))),
            ("b*", Revision::V4, Err(PacketError::InvalidBase64)),
            ("", Revision::V4, Err(PacketError::Empty)),
            ("7", Revision::V4, Err(PacketError::UnknownType('7'))),
            ("ä", Revision::V3, Err(PacketError::UnknownType('ä'))),
        ];
        for (text, revision, expected) in rows {
            assert_eq!(Packet::parse_text(text, revision), expected, "{text} {revision:?}");
        }
    }

    #[test]
    fn base64_is_read_as_every_stack_writes_it() {
        let data: Vec<u8> = (0..=255).collect();
        let mut encoded = Vec::new();
        append_base64(&data, &mut encoded);
        let encoded = String::from_utf8(encoded).unwrap();
        let folded = |end: &str| {
            let lines: Vec<_> = encoded.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
            lines.join(end) + end
        };
        for text in [
            folded("\n"),
            folded("\r\n"),
            folded("\r\n "),
            format!("{encoded}\n"),
            encoded.trim_end_matches('=').to_owned(),
            encoded.trim_end_matches('=').to_owned() + "\n",
            encoded.replace('+', "-").replace('/', "_"),
            encoded.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
        ] {
            for (packet, revision) in [(format!("b{text}"), Revision::V4), (format!("b4{text}"), Revision::V3)] {
                assert_eq!(Packet::parse_text(&packet, revision), Ok(Packet::Binary(Cow::Borrowed(&data))), "{packet}");
            }
        }
        for damaged in ["bAQI*", "bAQ==ID", "bAQIDB", "bAQ\u{e9}ID", "bAQ\0ID"] {
            assert_eq!(Packet::parse_text(damaged, Revision::V4), Err(PacketError::InvalidBase64), "{damaged}");
        }
    }

    #[test]
    fn binary_frames_are_read() {
        let rows: [(&[u8], Revision, Result<Packet<'_>, PacketError>); 7] = [
            (&[4, 1], Revision::V4, Ok(Packet::Binary(Cow::Borrowed(&[4, 1])))),
            (&[], Revision::V4, Ok(Packet::Binary(Cow::Borrowed(&[])))),
            (&[4, 1], Revision::V3, Ok(Packet::Binary(Cow::Borrowed(&[1])))),
            (&[2, b'x'], Revision::V3, Ok(Packet::Ping("x"))),
            (&[2, 0xff], Revision::V3, Err(PacketError::InvalidUtf8)),
            (&[7], Revision::V3, Err(PacketError::UnknownType('\u{7}'))),
            (&[], Revision::V3, Err(PacketError::Empty)),
        ];
        for (data, revision, expected) in rows {
            assert_eq!(Packet::parse_binary(data, revision), expected, "{data:?} {revision:?}");
        }
    }

    #[test]
    fn long_binary_data_is_padded_only_at_its_end() {
        let data: Vec<u8> = (0..=255).cycle().take(2_000).collect();
        let mut out = Vec::new();
        Packet::Binary(Cow::Borrowed(&data)).encode_text(Revision::V4, &mut out);
        let text = str::from_utf8(&out).unwrap();
        assert_eq!(text.find('='), Some(text.len() - 1));
        assert_eq!(Packet::parse_text(text, Revision::V4), Ok(Packet::Binary(Cow::Borrowed(&data))));
    }
}
