use super::packet::{Packet, PacketError, Revision};

/// Stands between two packets of a revision 4 payload.
const SEPARATOR: char = '\x1e';

/// More digits than this can't be a length that fits into memory.
const MAX_LENGTH_DIGITS: usize = 15;

/// Why a payload could not be read. The packets before the fault have been handed out already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// One of its packets is malformed.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A length is missing, not a decimal number, or beyond reason.
    #[error("a packet length in the payload is missing or not a decimal number")]
    InvalidLength,
    /// A length points beyond the end of the payload or into the middle of a character.
    #[error("a packet length in the payload does not match the data that follows it")]
    LengthMismatch,
    /// A packet of a binary payload is marked neither as text (0) nor as binary (1).
    #[error("unknown packet marker {0} in a binary payload: expected 0 for text or 1 for binary")]
    InvalidMarker(u8),
}

/// The packets of one payload. The iterator ends after its first error.
///
/// It reads a packet when it is asked for one, so that a caller can stop and go on later with what is
/// [left](Self::remaining).
#[derive(Clone, Debug)]
pub struct Packets<'a>(Rest<'a>);

/// What has not been read yet.
#[derive(Clone, Debug)]
enum Rest<'a> {
    /// Revision 4. `None` behind the last packet; an empty text is one more packet, which is malformed.
    V4(Option<&'a str>),
    V3Text(&'a str),
    V3Binary(&'a [u8]),
}

/// Reads a payload of revision 4: packets joined by the record separator, U+001E. An empty body holds one malformed
/// packet.
pub fn decode_v4(body: &str) -> Packets<'_> {
    Packets(Rest::V4(Some(body)))
}

/// Reads a textual payload of revision 3: `<length>:<packet>` repeated, the length in UTF-16 code units. An empty body
/// holds no packet.
pub fn decode_v3_text(body: &str) -> Packets<'_> {
    Packets(Rest::V3Text(body))
}

/// Reads a binary payload of revision 3: `0x00` (text) or `0x01` (binary), the length in bytes as one decimal digit
/// (0 to 9) per byte, `0xFF`, the packet; repeated. An empty body holds no packet.
pub fn decode_v3_binary(body: &[u8]) -> Packets<'_> {
    Packets(Rest::V3Binary(body))
}

impl Packets<'_> {
    /// How many bytes at the end of the payload hold the packets that have not been read yet; `None` behind the last
    /// one and after an error. Those bytes are a payload of the same kind.
    pub fn remaining(&self) -> Option<usize> {
        match self.0 {
            Rest::V4(rest) => rest.map(str::len),
            Rest::V3Text(rest) => Some(rest.len()).filter(|&length| length > 0),
            Rest::V3Binary(rest) => Some(rest.len()).filter(|&length| length > 0),
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining()?;
        // Left like this by an error, so that nothing is read after it.
        let rest = std::mem::replace(&mut self.0, Rest::V4(None));
        Some(rest.cut().map(|(packet, rest)| {
            self.0 = rest;
            packet
        }))
    }
}

impl<'a> Rest<'a> {
    /// Cuts the next packet off.
    fn cut(self) -> Result<(Packet<'a>, Self), PayloadError> {
        match self {
            Self::V4(body) => {
                let body = body.unwrap_or_default();
                let (packet, rest) =
                    body.split_once(SEPARATOR).map_or((body, None), |(packet, rest)| (packet, Some(rest)));
                Ok((Packet::parse_text(packet, Revision::V4)?, Self::V4(rest)))
            }
            Self::V3Text(body) => {
                let (packet, rest) = cut_v3_text(body)?;
                Ok((Packet::parse_text(packet, Revision::V3)?, Self::V3Text(rest)))
            }
            Self::V3Binary(body) => cut_v3_binary(body).map(|(packet, rest)| (packet, Self::V3Binary(rest))),
        }
    }
}

/// Appends one packet to a body of revision 4, which must hold nothing but such packets.
pub fn encode_v4(packet: &Packet<'_>, body: &mut Vec<u8>) {
    if !body.is_empty() {
        body.push(0x1e);
    }
    packet.encode_text(Revision::V4, body);
}

/// Appends one packet to a textual body of revision 3.
pub fn encode_v3_text(packet: &Packet<'_>, body: &mut Vec<u8>) {
    let length = match packet {
        // `b4` and four characters for every three bytes begun.
        Packet::Binary(data) => 2 + data.len().div_ceil(3) * 4,
        _ => 1 + text_data(packet).encode_utf16().count(),
    };
    append_digits(length, b'0', body);
    body.push(b':');
    packet.encode_text(Revision::V3, body);
}

/// Appends one packet to a binary body of revision 3.
pub fn encode_v3_binary(packet: &Packet<'_>, body: &mut Vec<u8>) {
    if let Packet::Binary(data) = packet {
        body.push(1);
        append_digits(1 + data.len(), 0, body);
        body.extend_from_slice(&[0xff, 4]);
        body.extend_from_slice(data);
    } else {
        body.push(0);
        append_digits(1 + text_data(packet).len(), 0, body);
        body.push(0xff);
        packet.encode_text(Revision::V3, body);
    }
}

fn cut_v3_text(body: &str) -> Result<(&str, &str), PayloadError> {
    let (digits, rest) = body.split_once(':').ok_or(PayloadError::InvalidLength)?;
    let units = parse_digits(digits.bytes().map(|byte| byte.wrapping_sub(b'0')))?;
    let mut left = units;
    let mut end = 0;
    for character in rest.chars() {
        if left == 0 {
            break;
        }
        left = left.checked_sub(character.len_utf16()).ok_or(PayloadError::LengthMismatch)?;
        end += character.len_utf8();
    }
    if left > 0 {
        return Err(PayloadError::LengthMismatch);
    }
    rest.split_at_checked(end).ok_or(PayloadError::LengthMismatch)
}

fn cut_v3_binary(body: &[u8]) -> Result<(Packet<'_>, &[u8]), PayloadError> {
    let (&marker, rest) = body.split_first().ok_or(PayloadError::InvalidLength)?;
    let end = rest.iter().take(MAX_LENGTH_DIGITS + 1).position(|&byte| byte == 0xff);
    let (digits, rest) = end.and_then(|end| rest.split_at_checked(end)).ok_or(PayloadError::InvalidLength)?;
    let length = parse_digits(digits.iter().copied())?;
    let rest = rest.get(1..).unwrap_or_default();
    let (data, rest) = rest.split_at_checked(length).ok_or(PayloadError::LengthMismatch)?;
    let packet = match marker {
        0 => Packet::parse_text(str::from_utf8(data).map_err(|_| PacketError::InvalidUtf8)?, Revision::V3)?,
        1 => Packet::parse_binary(data, Revision::V3)?,
        marker => return Err(PayloadError::InvalidMarker(marker)),
    };
    Ok((packet, rest))
}

fn parse_digits(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, PayloadError> {
    if digits.len() == 0 || digits.len() > MAX_LENGTH_DIGITS {
        return Err(PayloadError::InvalidLength);
    }
    let mut number = 0_usize;
    for digit in digits {
        if digit > 9 {
            return Err(PayloadError::InvalidLength);
        }
        let next = number.checked_mul(10).and_then(|number| number.checked_add(usize::from(digit)));
        number = next.ok_or(PayloadError::InvalidLength)?;
    }
    Ok(number)
}

/// Appends the decimal digits of `number`, each increased by `zero`.
fn append_digits(number: usize, zero: u8, out: &mut Vec<u8>) {
    let mut divisor = 1;
    while number / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        let digit = number / divisor % 10;
        out.push(zero + u8::try_from(digit).unwrap_or_default());
        divisor /= 10;
    }
}

fn text_data<'a>(packet: &Packet<'a>) -> &'a str {
    match packet {
        Packet::Open(data) | Packet::Ping(data) | Packet::Pong(data) | Packet::Text(data) => data,
        Packet::Close | Packet::Binary(_) | Packet::Upgrade | Packet::Noop => "",
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn binary(data: &[u8]) -> Packet<'_> {
        Packet::Binary(Cow::Borrowed(data))
    }

    #[test]
    fn revision_4_payloads_are_cut_at_separators() {
        let packets: Vec<_> = decode_v4("4hello\x1e2\x1ebAQIDBA==").collect();
        assert_eq!(packets, [Ok(Packet::Text("hello")), Ok(Packet::Ping("")), Ok(binary(&[1, 2, 3, 4]))]);
        assert_eq!(decode_v4("").collect::<Vec<_>>(), [Err(PayloadError::Packet(PacketError::Empty))]);
        assert_eq!(decode_v4("4a\x1e").last(), Some(Err(PayloadError::Packet(PacketError::Empty))));
    }

    #[test]
    fn lengths_of_revision_3_count_utf16_code_units() {
        let packets: Vec<_> = decode_v3_text("2:4€3:4😀1:26:b4AQID").collect();
        assert_eq!(
            packets,
            [Ok(Packet::Text("€")), Ok(Packet::Text("😀")), Ok(Packet::Ping("")), Ok(binary(&[1, 2, 3]))]
        );
    }

    #[test]
    fn the_iterator_ends_with_its_first_error() {
        let rows = [
            ("4:4ab", PayloadError::LengthMismatch),
            ("2:4😀", PayloadError::LengthMismatch),
            (":4", PayloadError::InvalidLength),
            ("4", PayloadError::InvalidLength),
            ("-1:4", PayloadError::InvalidLength),
            ("+1:4", PayloadError::InvalidLength),
            ("1e1:4", PayloadError::InvalidLength),
            ("99999999999999999999:4", PayloadError::InvalidLength),
            ("999999999999999:4", PayloadError::LengthMismatch),
            ("0:1:2", PayloadError::Packet(PacketError::Empty)),
            ("1:91:2", PayloadError::Packet(PacketError::UnknownType('9'))),
        ];
        for (body, error) in rows {
            assert_eq!(decode_v3_text(body).collect::<Vec<_>>(), [Err(error)], "{body}");
        }
    }

    #[test]
    fn binary_payloads_of_revision_3_are_read() {
        let body = [0, 6, 0xff, b'4', b'h', 0xe2, 0x82, 0xac, b'!', 1, 4, 0xff, 4, 1, 2, 3, 0, 1, 0xff, b'2'];
        let packets: Vec<_> = decode_v3_binary(&body).collect();
        assert_eq!(packets, [Ok(Packet::Text("h€!")), Ok(binary(&[1, 2, 3])), Ok(Packet::Ping(""))]);
    }

    #[test]
    fn malformed_binary_payloads_are_refused() {
        let rows: [(&[u8], PayloadError); 8] = [
            (&[0], PayloadError::InvalidLength),
            (&[0, 0xff, b'2'], PayloadError::InvalidLength),
            (&[0, 1, b'2'], PayloadError::InvalidLength),
            (&[0, 10, 0xff, b'2'], PayloadError::InvalidLength),
            (&[0, 2, 0xff, b'2'], PayloadError::LengthMismatch),
            (&[0, 2, 0xff, b'2', 0xe2], PayloadError::Packet(PacketError::InvalidUtf8)),
            (&[2, 1, 0xff, b'2'], PayloadError::InvalidMarker(2)),
            (&[0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0xff, b'2'], PayloadError::InvalidLength),
        ];
        for (body, error) in rows {
            assert_eq!(decode_v3_binary(body).collect::<Vec<_>>(), [Err(error)], "{body:?}");
        }
    }

    #[test]
    fn base64_with_line_ends_is_read_in_every_payload() {
        // As Java and Android clients write it: folded at 76 characters, with a line end behind the last line.
        assert_eq!(
            decode_v4("451-[\"a\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID\n").last(),
            Some(Ok(binary(&[1, 2, 3])))
        );
        assert_eq!(decode_v4("bAQ\r\nID\r\n\x1e2").collect::<Vec<_>>(), [Ok(binary(&[1, 2, 3])), Ok(Packet::Ping(""))]);
        assert_eq!(decode_v3_text("7:b4AQID\n1:2").collect::<Vec<_>>(), [Ok(binary(&[1, 2, 3])), Ok(Packet::Ping(""))]);
        let in_binary = [&[0, 7, 0xff][..], b"b4AQID\n"].concat();
        assert_eq!(decode_v3_binary(&in_binary).collect::<Vec<_>>(), [Ok(binary(&[1, 2, 3]))]);
    }

    #[test]
    fn a_payload_can_be_read_in_parts() {
        let body = "4a\x1e4b\x1e4c";
        let mut packets = decode_v4(body);
        assert_eq!(packets.next(), Some(Ok(Packet::Text("a"))));
        let rest = &body[body.len() - packets.remaining().unwrap()..];
        assert_eq!(decode_v4(rest).collect::<Vec<_>>(), [Ok(Packet::Text("b")), Ok(Packet::Text("c"))]);
        let mut packets = decode_v4("2\x1e");
        assert_eq!(
            (packets.next(), packets.remaining()),
            (Some(Ok(Packet::Ping(""))), Some(0)),
            "an empty packet is left"
        );
        assert_eq!((packets.next(), packets.remaining()), (Some(Err(PacketError::Empty.into())), None));
        let mut packets = decode_v3_text("2:4a2:4b");
        assert_eq!((packets.next(), packets.remaining()), (Some(Ok(Packet::Text("a"))), Some(4)));
        assert_eq!((packets.next(), packets.remaining()), (Some(Ok(Packet::Text("b"))), None));
        let mut packets = decode_v3_binary(&[0, 1, 0xff, b'2', 0, 1, 0xff, b'6']);
        assert_eq!((packets.next(), packets.remaining()), (Some(Ok(Packet::Ping(""))), Some(4)));
        assert_eq!((packets.next(), packets.remaining()), (Some(Ok(Packet::Noop)), None));
    }

    #[test]
    fn bodies_are_written_as_the_reference_does() {
        let packets = [Packet::Text("€😀"), binary(&[1, 2, 3, 4]), Packet::Pong("probe")];
        let [mut v4, mut v3_text, mut v3_binary] = [const { Vec::new() }; 3];
        for packet in &packets {
            encode_v4(packet, &mut v4);
            encode_v3_text(packet, &mut v3_text);
            encode_v3_binary(packet, &mut v3_binary);
        }
        assert_eq!(str::from_utf8(&v4).unwrap(), "4€😀\x1ebAQIDBA==\x1e3probe");
        assert_eq!(str::from_utf8(&v3_text).unwrap(), "4:4€😀10:b4AQIDBA==6:3probe");
        let mut expected = vec![0, 8, 0xff];
        expected.extend("4€😀".bytes());
        expected.extend([1, 5, 0xff, 4, 1, 2, 3, 4, 0, 6, 0xff]);
        expected.extend(b"3probe");
        assert_eq!(v3_binary, expected);
    }

    #[test]
    fn long_lengths_take_one_byte_for_each_digit() {
        let data = vec![7; 1_204];
        let mut body = Vec::new();
        encode_v3_binary(&binary(&data), &mut body);
        assert_eq!(body[..7], [1, 1, 2, 0, 5, 0xff, 4]);
    }
}
