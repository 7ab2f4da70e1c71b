use std::str;

use super::{CloseCode, DecodeError, Opcode, encode_frame, head::MAX_CONTROL};

/// Appends a Close frame to `out`. The reason is cut, between characters, to the 123 bytes that fit.
pub fn encode_close(out: &mut Vec<u8>, close: Option<(CloseCode, &str)>, mask: Option<[u8; 4]>) {
    let Some((code, reason)) = close else { return encode_frame(out, Opcode::Close, &[], mask) };
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default();
    let mut payload = Vec::with_capacity(MAX_CONTROL);
    payload.extend_from_slice(&code.value().to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    encode_frame(out, Opcode::Close, &payload, mask);
}

/// Reads the payload of a Close frame.
pub(super) fn decode_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, DecodeError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(DecodeError::ShortClose) };
    };
    let code = u16::from_be_bytes(*code);
    let code = CloseCode::new(code).ok_or(DecodeError::InvalidCloseCode(code))?;
    let reason = str::from_utf8(reason).map_err(|_| DecodeError::InvalidUtf8)?;
    Ok(Some((code, reason)))
}

const MAX_REASON: usize = MAX_CONTROL - size_of::<u16>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_a_close() {
        let encoded = |close| {
            let mut out = Vec::new();
            encode_close(&mut out, close, None);
            out
        };
        assert_eq!(encoded(None), [0x88, 0]);
        assert_eq!(encoded(Some((CloseCode::NORMAL, ""))), [0x88, 2, 0x03, 0xe8]);
        assert_eq!(encoded(Some((CloseCode::AWAY, "bye"))), b"\x88\x05\x03\xe9bye");
    }

    #[test]
    fn cuts_a_long_reason_between_characters() {
        for (reason, kept) in
            [("x".repeat(123), 123), ("x".repeat(124), 123), ("é".repeat(70), 122), ("😀".repeat(40), 120)]
        {
            let mut out = Vec::new();
            encode_close(&mut out, Some((CloseCode::NORMAL, &reason)), None);
            let close = decode_close(&out[2..]).unwrap();
            assert_eq!(close, Some((CloseCode::NORMAL, &reason[..kept])));
            assert_eq!(usize::from(out[1]), 2 + kept);
        }
    }

    #[test]
    fn decodes_what_a_close_may_carry() {
        assert_eq!(decode_close(b""), Ok(None));
        assert_eq!(decode_close(b"\x03\xe8"), Ok(Some((CloseCode::NORMAL, ""))));
        assert_eq!(decode_close("\x03\u{0}é".as_bytes()), Err(DecodeError::InvalidCloseCode(0x0300)));
        assert_eq!(decode_close(b"\x0b\xb8\xc3\xa9"), Ok(CloseCode::new(3000).map(|code| (code, "é"))));
        assert_eq!(decode_close(b"\x03"), Err(DecodeError::ShortClose));
        assert_eq!(decode_close(b"\x03\xed"), Err(DecodeError::InvalidCloseCode(1005)));
        assert_eq!(decode_close(b"\x03\xe8\xc3"), Err(DecodeError::InvalidUtf8));
    }
}
