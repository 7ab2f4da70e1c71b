use std::borrow::Cow;
use std::cell::Cell;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, Serializer};

use super::args::{Args, Repr};
use super::error::{DecodeError, ValueError};
use super::json::{MAX_DEPTH, SYNTAX, Scanner};
use super::msgpack_data::{Reader, Token};
use super::placeholder;
use super::transcode::{self, Members};
use super::value::{Number, Value};

/// One value as JSON or MessagePack: checked, but not decoded.
///
/// Serialising it writes it in another encoding without building values.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a>(Repr<'a>);

impl<'a> Encoded<'a> {
    /// Checks JSON text that is one value, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError::InvalidPayload`] if it is not JSON, [`DecodeError::TooDeep`] beyond `max_depth` levels, at most 120.
    pub fn json(text: &'a str, max_depth: usize) -> Result<Self, DecodeError> {
        let mut scanner = Scanner::new(text, max_depth);
        let value = scanner.value()?;
        if scanner.rest().is_empty() { Ok(Self::of_json(value)) } else { Err(SYNTAX) }
    }

    /// Checks bytes that are one MessagePack value, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError::InvalidPayload`] if they are not, [`DecodeError::TooDeep`] beyond `max_depth` levels, at most 120.
    pub fn message_pack(bytes: &'a [u8], max_depth: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = reader.skip_value(max_depth.min(MAX_DEPTH))?;
        if reader.rest().is_empty() {
            Ok(Self(Repr::MessagePack(value)))
        } else {
            Err(DecodeError::InvalidPayload("bytes follow the MessagePack value"))
        }
    }

    /// The same JSON with attachments for its placeholders. MessagePack stays as it is.
    ///
    /// # Errors
    /// [`DecodeError::IllegalPlaceholders`] if a placeholder names none of them, [`DecodeError::AttachmentsTooLarge`] if
    /// they are named so often that decoding could take more memory than `max_bytes` and than all of them together.
    pub fn with_attachments(self, attachments: &'a [Bytes], max_bytes: usize) -> Result<Self, DecodeError> {
        let Repr::Json { elements, .. } = self.0 else { return Ok(self) };
        let named = placeholder::named_attachments(elements, attachments.len())?;
        let bytes = |attachment: &Bytes| attachment.len();
        let named: usize = named.iter().filter_map(|&index| attachments.get(index)).map(bytes).sum();
        let limit = max_bytes.max(attachments.iter().map(bytes).sum());
        if named > limit {
            return Err(DecodeError::AttachmentsTooLarge { limit });
        }
        Ok(Self(Repr::Json { elements, attachments }))
    }

    /// Whether it is `null`, or MessagePack's `undefined`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match self.0 {
            Repr::Json { elements, .. } => elements == "null",
            Repr::MessagePack(_) => matches!(self.token(), Some(Token::Nil | Token::Undefined)),
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Repr::Json { elements: "true", .. } => Some(true),
            Repr::Json { elements: "false", .. } => Some(false),
            Repr::Json { .. } => None,
            Repr::MessagePack(_) => match self.token()? {
                Token::Bool(value) => Some(value),
                _ => None,
            },
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<Number> {
        match self.0 {
            // Only a number starts so; what the text of other values would parse to is not asked.
            Repr::Json { elements, .. }
                if elements.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) =>
            {
                Number::parse(elements)
            }
            Repr::Json { .. } => None,
            Repr::MessagePack(_) => match self.token()? {
                Token::Unsigned(number) => Some(number.into()),
                Token::Signed(number) => Some(number.into()),
                Token::Float(number) => Some(number.into()),
                _ => None,
            },
        }
    }

    /// The text, if it is a string. Half of a surrogate pair becomes U+FFFD.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        match self.0 {
            Repr::Json { elements, .. } => transcode::string(elements).ok(),
            Repr::MessagePack(_) => match self.token()? {
                Token::String(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
        }
    }

    /// The text of a string, or a number as JavaScript writes it for the key of a property.
    #[must_use]
    pub fn as_name(&self) -> Option<Cow<'a, str>> {
        self.as_str().or_else(|| self.as_number().map(|number| Cow::Owned(number.property_key())))
    }

    /// The binary data, if it is that. JSON has none.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self.token()? {
            Token::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Iterates over the members of an object or a map; `None` if it is neither. Keys that are no strings become text, as
    /// in JavaScript.
    pub fn members(&self) -> Option<impl Iterator<Item = (Cow<'a, str>, Self)> + use<'a>> {
        let members = match self.0 {
            Repr::Json { elements, attachments } => Members::of_json(elements, attachments),
            Repr::MessagePack(bytes) => Members::of_message_pack(bytes),
        };
        Some(members?.map(|(key, value)| (key, Self(value))))
    }

    /// The member `name` of an object or a map, the last of several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Self> {
        self.members()?.filter(|(key, _)| key == name).last().map(|(_, value)| value)
    }

    /// The items of an array, as arguments; `None` if it is no array.
    #[must_use]
    pub fn items(&self) -> Option<Args<'a>> {
        match self.0 {
            Repr::Json { elements, attachments } => {
                let mut scanner = Scanner::new(elements, MAX_DEPTH);
                if !scanner.eat(b'[') {
                    return None;
                }
                let items = scanner.rest().strip_suffix(']')?;
                let mut scanner = Scanner::new(items, MAX_DEPTH);
                let mut count = 0;
                while !scanner.rest().is_empty() {
                    scanner.value().ok()?;
                    scanner.eat(b',');
                    count += 1;
                }
                Some(Args::json(items, count, attachments))
            }
            Repr::MessagePack(bytes) => {
                let mut reader = Reader::new(bytes);
                match reader.token()? {
                    Token::Array(count) => Some(Args::message_pack(reader.rest(), count)),
                    _ => None,
                }
            }
        }
    }

    /// The value, as the only argument.
    #[must_use]
    pub const fn as_args(&self) -> Args<'a> {
        match self.0 {
            Repr::Json { elements, attachments } => Args::json(elements, 1, attachments),
            Repr::MessagePack(bytes) => Args::message_pack(bytes, 1),
        }
    }

    /// Decodes it.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        match self.0 {
            Repr::Json { elements, attachments: [] } => serde_json::from_str(elements)
                .or_else(|_| T::deserialize(Value::parse(elements).map_err(serde::de::Error::custom)?)),
            Repr::Json { .. } => T::deserialize(self.to_value()?),
            Repr::MessagePack(bytes) => T::deserialize(&mut Reader::new(bytes)),
        }
    }

    fn to_value(self) -> Result<Value, ValueError> {
        self.as_args().get(0).map_err(serde::de::Error::custom)
    }

    fn token(&self) -> Option<Token<'a>> {
        match self.0 {
            Repr::Json { .. } => None,
            Repr::MessagePack(bytes) => Reader::new(bytes).token(),
        }
    }

    const fn of_json(elements: &'a str) -> Self {
        Self(Repr::Json { elements, attachments: &[] })
    }
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Repr::Json { elements, attachments } => {
                transcode::Json { rest: &Cell::new(elements), attachments }.serialize(serializer)
            }
            Repr::MessagePack(bytes) => transcode::MessagePack { rest: &Cell::new(bytes) }.serialize(serializer),
        }
    }
}

impl<'a> Args<'a> {
    /// Iterates over the arguments, each still encoded.
    pub fn iter(&self) -> impl Iterator<Item = Encoded<'a>> + use<'a> {
        self.encoded_elements().map(Encoded)
    }

    /// The first argument, and the others.
    #[must_use]
    pub fn split_first(&self) -> Option<(Encoded<'a>, Self)> {
        let count = self.len().checked_sub(1)?;
        let first = self.iter().next()?;
        let others = match self.repr {
            Repr::Json { elements, attachments } => {
                let mut scanner = Scanner::new(elements, MAX_DEPTH);
                scanner.value().ok()?;
                scanner.eat(b',');
                Args::json(scanner.rest(), count, attachments)
            }
            Repr::MessagePack(elements) => {
                let mut reader = Reader::new(elements);
                reader.skip_value(usize::MAX).ok()?;
                Args::message_pack(reader.rest(), count)
            }
        };
        Some((first, others))
    }

    /// Whether there is binary data among the arguments, which JSON can hold only as attachments.
    #[must_use]
    pub fn has_binary(&self) -> bool {
        match self.repr {
            Repr::Json { attachments, .. } => !attachments.is_empty(),
            Repr::MessagePack(elements) => {
                let mut reader = Reader::new(elements);
                std::iter::from_fn(|| reader.token()).any(|token| matches!(token, Token::Binary(_)))
            }
        }
    }
}
