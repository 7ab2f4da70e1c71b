use std::str;

use super::{DecodeError, growth::room, inline::InlineBytes};

/// Text that arrives in parts, which may be cut within a character. It checks every byte once and fails with the first
/// byte that makes the text invalid.
#[derive(Debug)]
pub(super) struct Utf8Buffer {
    text: String,
    /// The first bytes of a character that is incomplete.
    cut: InlineBytes<4>,
}

impl Utf8Buffer {
    pub(super) const EMPTY: Self = Self { text: String::new(), cut: InlineBytes::EMPTY };

    pub(super) fn len(&self) -> usize {
        self.text.len() + self.cut.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Appends a part. `more` bytes of the frame have not arrived yet.
    pub(super) fn append(&mut self, mut part: &[u8], more: usize) -> Result<(), DecodeError> {
        while !self.cut.is_empty()
            && let Some((byte, rest)) = part.split_first()
        {
            part = rest;
            self.cut.append(&[*byte]);
            if let Some(character) = complete(&self.cut)? {
                self.text.push_str(character);
                self.cut = InlineBytes::EMPTY;
            }
        }
        let (whole, cut) = part.split_at_checked(cut_position(part)).unwrap_or((part, &[]));
        let whole = str::from_utf8(whole).map_err(|_| DecodeError::InvalidUtf8)?;
        self.text.reserve_exact(room(self.text.len(), self.text.capacity(), whole.len(), more));
        self.text.push_str(whole);
        if !cut.is_empty() {
            complete(cut)?;
            self.cut.append(cut);
        }
        Ok(())
    }

    /// Checks that the text doesn't end within a character.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        if self.cut.is_empty() { Ok(()) } else { Err(DecodeError::InvalidUtf8) }
    }

    /// The text so far, without a character that is cut.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Returns the character that `bytes` encode, or `None` if they are only the beginning of one.
fn complete(bytes: &[u8]) -> Result<Option<&str>, DecodeError> {
    match str::from_utf8(bytes) {
        Ok(character) => Ok(Some(character)),
        Err(error) if error.error_len().is_none() => Ok(None),
        Err(_) => Err(DecodeError::InvalidUtf8),
    }
}

/// Returns where the character begins that `part` cuts off at its end, or the end if it cuts none.
fn cut_position(part: &[u8]) -> usize {
    for (back, byte) in (1..=3).zip(part.iter().rev()) {
        let width = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x00..=0x7f => 1,
        };
        return if width > back { part.len() - back } else { part.len() };
    }
    part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append_all<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<String, DecodeError> {
        let mut buffer = Utf8Buffer::EMPTY;
        let mut length = 0;
        for part in parts {
            buffer.append(part, 0)?;
            length += part.len();
            assert_eq!(buffer.len(), length);
        }
        buffer.finish()?;
        Ok(buffer.as_str().to_owned())
    }

    #[test]
    fn joins_text_that_is_cut_anywhere() {
        let text = "aé€😀\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}z";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(append_all(parts).as_deref(), Ok(text));
            }
        }
        assert_eq!(append_all(text.as_bytes().chunks(1)).as_deref(), Ok(text));
    }

    #[test]
    fn agrees_with_the_standard_library_at_every_byte() {
        // Every class of byte: ASCII, continuations and the leads whose second byte is restricted.
        let bytes = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1,
            0xf4, 0xf5, 0xff,
        ];
        for a in bytes {
            for b in bytes {
                for c in bytes {
                    for d in bytes {
                        let input = [a, b, c, d];
                        for split in [0, 1, 2, 3] {
                            let mut buffer = Utf8Buffer::EMPTY;
                            let (first, rest) = input.split_at(split);
                            let mut taken = 0;
                            let refused = std::iter::once(first).chain(rest.chunks(1)).any(|part| {
                                taken += part.len();
                                buffer.append(part, 0).is_err()
                            });
                            match str::from_utf8(&input[..taken]) {
                                Ok(text) => assert!(!refused && buffer.finish().is_ok() && buffer.as_str() == text),
                                Err(error) if error.error_len().is_none() => {
                                    assert!(!refused && buffer.finish().is_err(), "{input:x?}");
                                }
                                Err(_) => {
                                    assert!(refused, "{input:x?}");
                                    let before = &input[..taken - 1];
                                    let was_possible =
                                        str::from_utf8(before).map_or_else(|e| e.error_len().is_none(), |_| true);
                                    assert!(was_possible || taken <= split, "{input:x?} was refused late");
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_text_that_ends_within_a_character() {
        assert_eq!(append_all([&b"a\xf0\x9f"[..]]), Err(DecodeError::InvalidUtf8));
        assert_eq!(append_all([&b"a\xf0"[..], b"\x9f", b"\x98"]), Err(DecodeError::InvalidUtf8));
    }
}
