use super::error::DecodeError;

/// The deepest nesting that any limit can allow: `serde_json` refuses more than 128 levels.
pub(super) const MAX_DEPTH: usize = 120;

/// Checks the grammar and depth of JSON text without building values.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    position: usize,
    limit: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, max_depth: usize) -> Self {
        Self { text, position: 0, limit: max_depth.min(MAX_DEPTH) }
    }

    /// Moves past one value and the white space around it. Returns the value's text.
    pub(super) fn value(&mut self) -> Result<&'a str, DecodeError> {
        self.skip_whitespace();
        let start = self.position;
        self.skip_value(0)?;
        let value = self.text.get(start..self.position).ok_or(SYNTAX)?;
        self.skip_whitespace();
        Ok(value)
    }

    /// Moves past `byte` and the white space after it, if `byte` is next. Returns whether it was.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.position += 1;
            self.skip_whitespace();
        }
        found
    }

    /// The text that is left.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    pub(super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.position += 1;
        }
    }

    fn skip_value(&mut self, depth: usize) -> Result<(), DecodeError> {
        match self.peek().ok_or(SYNTAX)? {
            b'"' => self.skip_string(),
            b'{' => self.skip_members(depth, b'}'),
            b'[' => self.skip_members(depth, b']'),
            b't' => self.skip_literal("true"),
            b'f' => self.skip_literal("false"),
            b'n' => self.skip_literal("null"),
            _ => self.skip_number(),
        }
    }

    /// Moves past an array or an object, whichever ends with `end`.
    fn skip_members(&mut self, depth: usize, end: u8) -> Result<(), DecodeError> {
        if depth >= self.limit {
            return Err(DecodeError::TooDeep { limit: self.limit });
        }
        self.position += 1;
        self.skip_whitespace();
        if self.peek() == Some(end) {
            self.position += 1;
            return Ok(());
        }
        loop {
            if end == b'}' {
                self.skip_string()?;
                self.skip_whitespace();
                if !self.eat(b':') {
                    return Err(SYNTAX);
                }
            }
            self.skip_value(depth + 1)?;
            self.skip_whitespace();
            if self.peek() == Some(end) {
                self.position += 1;
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(SYNTAX);
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), DecodeError> {
        if self.peek() != Some(b'"') {
            return Err(SYNTAX);
        }
        self.position += 1;
        loop {
            let rest = self.text.as_bytes().get(self.position..).ok_or(SYNTAX)?;
            self.position += plain_length(rest);
            match self.peek() {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(());
                }
                Some(b'\\') => self.skip_escape()?,
                // A control character, or the end of the text.
                _ => return Err(SYNTAX),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), DecodeError> {
        self.position += 1;
        let kind = self.peek();
        self.position += 1;
        match kind {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => {
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(SYNTAX);
                    }
                    self.position += 1;
                }
                Ok(())
            }
            _ => Err(SYNTAX),
        }
    }

    fn skip_literal(&mut self, literal: &str) -> Result<(), DecodeError> {
        if !self.rest().starts_with(literal) {
            return Err(SYNTAX);
        }
        self.position += literal.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), DecodeError> {
        if self.peek() == Some(b'-') {
            self.position += 1;
        }
        if self.peek() == Some(b'0') {
            self.position += 1;
        } else {
            self.skip_digits()?;
        }
        if self.peek() == Some(b'.') {
            self.position += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.position += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.position += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), DecodeError> {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
        if self.position == start { Err(SYNTAX) } else { Ok(()) }
    }
}

/// Returns how many bytes at the start of `bytes` stand for themselves in a JSON string. Looks at eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = tail.iter().position(|&byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(tail.len());
    words.len() * 8 + plain
}

/// Sets the highest bit of each byte of `word` that is a quote, a backslash or a control character. Bytes above the
/// lowest of these may be marked wrongly, because subtraction borrows from them.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGHEST
}

pub(super) const SYNTAX: DecodeError = DecodeError::InvalidPayload("it is not valid JSON");

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text, MAX_DEPTH);
        scanner.value().is_ok() && scanner.rest().is_empty()
    }

    #[test]
    fn it_agrees_with_serde_json() {
        let texts = [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.5e-3",
            "1E9",
            " [ ] ",
            "[1, 2]",
            "{}",
            r#"{"a":{"b":[]}}"#,
            r#""\u00e4\n\"\\\/\b\f\r\t""#,
            r#""\ud83d\ude00""#,
            "\"ä\"",
            "",
            " ",
            "nul",
            "nulls",
            "tru",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "1e+",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{1:2}",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\u{1}\"",
            "1 2",
            "[}",
            "{]",
            "NaN",
            "Infinity",
            "'a'",
            "\u{feff}1",
            "/**/1",
        ];
        for text in texts {
            assert_eq!(accepts(text), serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_special_byte_ends_the_plain_part_of_a_string_wherever_it_stands() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let special = matches!(byte, b'"' | b'\\' | ..0x20);
                    assert_eq!(
                        plain_length(&bytes),
                        if special { at } else { length },
                        "{byte:#x} at {at} of {length}"
                    );
                    bytes[0] = b'"';
                    assert_eq!(plain_length(&bytes), 0);
                }
            }
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Scanner::new(&nested(3), 3).value().is_ok());
        assert_eq!(Scanner::new(&nested(4), 3).value(), Err(DecodeError::TooDeep { limit: 3 }));
        assert_eq!(
            Scanner::new(&nested(1_000_000), usize::MAX).value(),
            Err(DecodeError::TooDeep { limit: MAX_DEPTH })
        );
        assert_eq!(Scanner::new("1", 0).value(), Ok("1"));
        assert_eq!(Scanner::new("{}", 0).value(), Err(DecodeError::TooDeep { limit: 0 }));
    }
}
