//! Serialises encoded data as it is read, so that it is written in another encoding without building values.
use std::borrow::Cow;
use std::cell::Cell;

use bytes::Bytes;
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use super::args::Repr;
use super::date::Date;
use super::error::DecodeError;
use super::extension::UNDEFINED;
use super::json::{MAX_DEPTH, SYNTAX, Scanner};
use super::msgpack_data::{Reader, Token};
use super::placeholder;
use super::surrogates;
use super::value::{Number, Value};

/// The value at the start of JSON text that was checked. Serialising moves past it.
pub(super) struct Json<'c, 'a> {
    pub(super) rest: &'c Cell<&'a str>,
    pub(super) attachments: &'a [Bytes],
}

/// The value at the start of MessagePack that was checked. Serialising moves past it.
pub(super) struct MessagePack<'c, 'a> {
    pub(super) rest: &'c Cell<&'a [u8]>,
}

/// The text of a JSON string, which is given with its quotes. Half of a surrogate pair becomes U+FFFD.
pub(super) fn string(json: &str) -> Result<Cow<'_, str>, DecodeError> {
    match json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        Some(_) => surrogates::parse(json).map(Cow::Owned).map_err(|_| SYNTAX),
        None => Err(SYNTAX),
    }
}

impl<'a> Json<'_, 'a> {
    fn scanner(&self) -> Scanner<'a> {
        let mut scanner = Scanner::new(self.rest.get(), MAX_DEPTH);
        scanner.skip_whitespace();
        scanner
    }

    /// Moves past `byte`, if it is next.
    fn eat(&self, byte: u8) -> bool {
        let mut scanner = self.scanner();
        let found = scanner.eat(byte);
        self.rest.set(scanner.rest());
        found
    }

    fn text(&self) -> Result<&'a str, DecodeError> {
        let mut scanner = self.scanner();
        let text = scanner.value()?;
        self.rest.set(scanner.rest());
        Ok(text)
    }

    /// Moves past a comma (true) or past the end of the array or object (false).
    fn has_next(&self, end: u8) -> Result<bool, DecodeError> {
        if self.eat(b',') {
            Ok(true)
        } else if self.eat(end) {
            Ok(false)
        } else {
            Err(SYNTAX)
        }
    }

    /// The object that is next, if it is a placeholder.
    fn placeholder(&self) -> Result<Option<Value>, DecodeError> {
        if self.attachments.is_empty() {
            return Ok(None);
        }
        let members = Members::of_json(self.rest.get(), self.attachments);
        if !members.into_iter().flatten().any(|(key, _)| key == "_placeholder") {
            return Ok(None);
        }
        let mut value = Value::parse(self.scanner().value()?)?;
        placeholder::fill(&mut value, self.attachments)?;
        Ok((!matches!(value, Value::Object(_))).then_some(value))
    }
}

impl Serialize for Json<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.scanner().peek() {
            Some(b'{') => {
                if let Some(value) = self.placeholder().map_err(S::Error::custom)? {
                    self.text().map_err(S::Error::custom)?;
                    return value.serialize(serializer);
                }
                let mut map = serializer.serialize_map(None)?;
                self.eat(b'{');
                let mut more = !self.eat(b'}');
                while more {
                    let key = self.text().and_then(string).map_err(S::Error::custom)?;
                    self.eat(b':');
                    map.serialize_entry(&key, self)?;
                    more = self.has_next(b'}').map_err(S::Error::custom)?;
                }
                map.end()
            }
            Some(b'[') => {
                let mut seq = serializer.serialize_seq(None)?;
                self.eat(b'[');
                let mut more = !self.eat(b']');
                while more {
                    seq.serialize_element(self)?;
                    more = self.has_next(b']').map_err(S::Error::custom)?;
                }
                seq.end()
            }
            _ => match self.text().map_err(S::Error::custom)? {
                "null" => serializer.serialize_unit(),
                "true" => serializer.serialize_bool(true),
                "false" => serializer.serialize_bool(false),
                text if text.starts_with('"') => serializer.serialize_str(&string(text).map_err(S::Error::custom)?),
                number => Number::parse(number).ok_or_else(|| S::Error::custom(SYNTAX))?.serialize(serializer),
            },
        }
    }
}

impl<'a> MessagePack<'_, 'a> {
    fn token(&self) -> Result<Token<'a>, DecodeError> {
        let mut reader = Reader::new(self.rest.get());
        let token = reader.token().ok_or(MALFORMED)?;
        self.rest.set(reader.rest());
        Ok(token)
    }
}

impl Serialize for MessagePack<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.token().map_err(S::Error::custom)? {
            Token::Nil => serializer.serialize_unit(),
            Token::Undefined => serializer.serialize_unit_struct(UNDEFINED),
            Token::Bool(value) => serializer.serialize_bool(value),
            Token::Unsigned(number) => serializer.serialize_u64(number),
            Token::Signed(number) => serializer.serialize_i64(number),
            Token::Float(number) => serializer.serialize_f64(number),
            Token::String(text) => serializer.serialize_str(text),
            Token::Binary(bytes) => serializer.serialize_bytes(bytes),
            Token::Date(milliseconds) => Date::from_unix_milliseconds(milliseconds).serialize(serializer),
            Token::Array(count) => {
                let mut seq = serializer.serialize_seq(Some(count))?;
                for _ in 0..count {
                    seq.serialize_element(self)?;
                }
                seq.end()
            }
            Token::Map(count) => {
                let mut map = serializer.serialize_map(Some(count))?;
                for _ in 0..count {
                    let key = self.token().map_err(S::Error::custom)?;
                    map.serialize_entry(&key.into_key().map_err(S::Error::custom)?, self)?;
                }
                map.end()
            }
        }
    }
}

/// Iterates over the members of an object or a map that was checked: keys, and values still encoded.
pub(super) enum Members<'a> {
    Json { scanner: Scanner<'a>, attachments: &'a [Bytes] },
    MessagePack { reader: Reader<'a>, left: usize },
}

impl<'a> Members<'a> {
    /// `None` if the text is no object.
    pub(super) fn of_json(text: &'a str, attachments: &'a [Bytes]) -> Option<Self> {
        let mut scanner = Scanner::new(text, MAX_DEPTH);
        scanner.skip_whitespace();
        scanner.eat(b'{').then_some(Self::Json { scanner, attachments })
    }

    /// `None` if the value is no map.
    pub(super) fn of_message_pack(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        match reader.token()? {
            Token::Map(left) => Some(Self::MessagePack { reader, left }),
            _ => None,
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Repr<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Json { scanner, attachments } => {
                if scanner.peek()? == b'}' {
                    return None;
                }
                let key = string(scanner.value().ok()?).ok()?;
                scanner.eat(b':');
                let value = scanner.value().ok()?;
                scanner.eat(b',');
                Some((key, Repr::Json { elements: value, attachments }))
            }
            Self::MessagePack { reader, left } => {
                *left = left.checked_sub(1)?;
                let key = reader.token()?.into_key().ok()?;
                Some((key, Repr::MessagePack(reader.skip_value(usize::MAX).ok()?)))
            }
        }
    }
}

const MALFORMED: DecodeError = DecodeError::InvalidPayload("it is not valid MessagePack");
