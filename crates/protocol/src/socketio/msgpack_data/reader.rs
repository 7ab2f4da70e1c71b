use std::borrow::Cow;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::timestamp;
use crate::socketio::binary::visit_binary_as_seq;
use crate::socketio::date::Date;
use crate::socketio::error::{DecodeError, ValueError};
use crate::socketio::extension::{Extension, VALUE};
use crate::socketio::map_key::MapKey;
use crate::socketio::value::Number;

/// Reads MessagePack from a slice, without copying and without trusting an announced length.
///
/// The serde deserializer checks neither depth nor lengths: pass only bytes that [`Reader::skip_value`] has accepted.
#[derive(Clone, Debug)]
pub(in crate::socketio) struct Reader<'de> {
    rest: &'de [u8],
}

/// One marker byte with the bytes that belong to it, decoded.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::socketio) enum Token<'de> {
    Nil,
    /// JavaScript's `undefined`, which `notepack.io` writes as an extension.
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    String(&'de str),
    Binary(&'de [u8]),
    /// The time in milliseconds since 1970.
    Date(i64),
    /// The number of items that follow.
    Array(usize),
    /// The number of pairs that follow.
    Map(usize),
}

impl<'de> Token<'de> {
    /// The key of a map as text, which is what JavaScript makes of it.
    pub(in crate::socketio) fn into_key(self) -> Result<Cow<'de, str>, ValueError> {
        Ok(match self {
            Self::String(key) => key.into(),
            Self::Binary(bytes) => String::from_utf8_lossy(bytes),
            Self::Nil => "null".into(),
            Self::Undefined => "undefined".into(),
            Self::Bool(value) => value.to_string().into(),
            Self::Unsigned(number) => number.to_string().into(),
            Self::Signed(number) => number.to_string().into(),
            Self::Float(number) => Number::from(number).to_string().into(),
            Self::Date(_) | Self::Array(_) | Self::Map(_) => {
                return Err(ValueError::custom("the key of a map must be text, a number, a boolean or nil"));
            }
        })
    }
}

impl<'de> Reader<'de> {
    pub(in crate::socketio) const fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet read.
    pub(in crate::socketio) const fn rest(&self) -> &'de [u8] {
        self.rest
    }

    /// Checks one value, moves past it and returns its bytes.
    pub(in crate::socketio) fn skip_value(&mut self, max_depth: usize) -> Result<&'de [u8], DecodeError> {
        let start = self.rest;
        // The number of items left at each level. An explicit stack, so that `max_depth` is the only limit on the depth.
        let mut open = Vec::new();
        loop {
            let items = match self.token().ok_or(MALFORMED)? {
                Token::Array(items) => Some(items),
                Token::Map(pairs) => Some(pairs.checked_mul(2).ok_or(MALFORMED)?),
                _ => None,
            };
            if let Some(items) = items {
                if open.len() >= max_depth {
                    return Err(DecodeError::TooDeep { limit: max_depth });
                }
                open.push(items);
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            match open.last_mut() {
                Some(left) => *left -= 1,
                None => {
                    let length = start.len().saturating_sub(self.rest.len());
                    return start.get(..length).ok_or(MALFORMED);
                }
            }
        }
    }

    /// Reads the next token; `None` if the bytes are malformed or end within it.
    pub(in crate::socketio) fn token(&mut self) -> Option<Token<'de>> {
        let marker = self.u8()?;
        Some(match marker {
            0x00..=0x7f => Token::Unsigned(marker.into()),
            0x80..=0x8f => Token::Map(usize::from(marker & 0x0f)),
            0x90..=0x9f => Token::Array(usize::from(marker & 0x0f)),
            0xa0..=0xbf => self.string(usize::from(marker & 0x1f))?,
            0xc0 => Token::Nil,
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => self.u8().and_then(|length| self.binary(length.into()))?,
            0xc5 => self.u16().and_then(|length| self.binary(length.into()))?,
            0xc6 => self.length().and_then(|length| self.binary(length))?,
            0xc7 => self.u8().and_then(|length| self.extension(length.into()))?,
            0xc8 => self.u16().and_then(|length| self.extension(length.into()))?,
            0xc9 => self.length().and_then(|length| self.extension(length))?,
            0xca => Token::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Unsigned(self.u8()?.into()),
            0xcd => Token::Unsigned(self.u16()?.into()),
            0xce => Token::Unsigned(self.u32()?.into()),
            0xcf => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => Token::Signed(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Token::Signed(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Token::Signed(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Token::Signed(i64::from_be_bytes(self.array()?)),
            0xd4 => self.fixed_extension(1)?,
            0xd5 => self.fixed_extension(2)?,
            0xd6 => self.fixed_extension(4)?,
            0xd7 => self.fixed_extension(8)?,
            0xd8 => self.fixed_extension(16)?,
            0xd9 => self.u8().and_then(|length| self.string(length.into()))?,
            0xda => self.u16().and_then(|length| self.string(length.into()))?,
            0xdb => self.length().and_then(|length| self.string(length))?,
            0xdc => Token::Array(self.u16()?.into()),
            0xdd => Token::Array(self.length()?),
            0xde => Token::Map(self.u16()?.into()),
            0xdf => Token::Map(self.length()?),
            0xe0..=0xff => Token::Signed(i8::from_be_bytes([marker]).into()),
            0xc1 => return None,
        })
    }

    /// Reads an extension with a fixed length. `notepack.io` writes `undefined` and dates in this form.
    fn fixed_extension(&mut self, length: usize) -> Option<Token<'de>> {
        let [kind] = self.array()?;
        let data = self.take(length)?;
        Some(match kind {
            0 if length == 1 => Token::Undefined,
            0 => data.try_into().map_or(Token::Binary(data), |date| Token::Date(i64::from_be_bytes(date))),
            0xff => timestamp::milliseconds(data).map_or(Token::Binary(data), Token::Date),
            _ => Token::Binary(data),
        })
    }

    /// Reads an extension of any length: a timestamp, or else binary data, such as an `ArrayBuffer`.
    fn extension(&mut self, length: usize) -> Option<Token<'de>> {
        let [kind] = self.array()?;
        let data = self.take(length)?;
        let date = if kind == 0xff { timestamp::milliseconds(data) } else { None };
        Some(date.map_or(Token::Binary(data), Token::Date))
    }

    fn string(&mut self, length: usize) -> Option<Token<'de>> {
        str::from_utf8(self.take(length)?).ok().map(Token::String)
    }

    fn binary(&mut self, length: usize) -> Option<Token<'de>> {
        self.take(length).map(Token::Binary)
    }

    fn take(&mut self, length: usize) -> Option<&'de [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn next_token(&mut self) -> Result<Token<'de>, ValueError> {
        self.token().ok_or_else(|| ValueError::custom(MALFORMED))
    }

    fn peek_token(&self) -> Result<Token<'de>, ValueError> {
        self.clone().next_token()
    }
}

const MALFORMED: DecodeError = DecodeError::InvalidPayload("it is not valid MessagePack");

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.next_token()? {
            Token::Nil | Token::Undefined => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Unsigned(number) => visitor.visit_u64(number),
            Token::Signed(number) => visitor.visit_i64(number),
            Token::Float(number) => visitor.visit_f64(number),
            Token::String(text) => visitor.visit_borrowed_str(text),
            Token::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::Date(milliseconds) => visitor.visit_string(Date::from_unix_milliseconds(milliseconds).to_string()),
            Token::Array(left) => {
                let mut items = Items { reader: self, left };
                let value = visitor.visit_seq(&mut items)?;
                items.end(value)
            }
            Token::Map(left) => {
                let mut pairs = Items { reader: self, left };
                let value = visitor.visit_map(&mut pairs)?;
                pairs.end(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if matches!(self.peek_token()?, Token::Nil | Token::Undefined) {
            self.next_token()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if name != VALUE {
            return visitor.visit_newtype_struct(self);
        }
        let extension = match self.peek_token()? {
            Token::Undefined => Extension::Undefined,
            Token::Date(milliseconds) => Extension::Date(milliseconds),
            _ => return visitor.visit_newtype_struct(self),
        };
        self.next_token()?;
        extension.visit(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.next_token()? {
            Token::String(variant) => visitor.visit_enum(StrDeserializer::new(variant)),
            Token::Map(left @ 1) => visitor.visit_enum(MapAccessDeserializer::new(Items { reader: self, left })),
            _ => Err(ValueError::custom("an enum is a string or a map with one member, the variant")),
        }
    }

    /// Binary data is also a sequence of numbers, so that a `Vec<u8>` can take it.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if let Token::Binary(bytes) = self.peek_token()? {
            self.next_token()?;
            return visit_binary_as_seq(bytes, visitor);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct map struct
        identifier ignored_any
    }
}

/// The items of an array or the pairs of a map.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl Items<'_, '_> {
    /// Returns `value` if it consumed all items; otherwise the reader would take the rest for the next value.
    fn end<T>(&self, value: T) -> Result<T, ValueError> {
        if self.left == 0 { Ok(value) } else { Err(ValueError::custom("the data has more items than expected")) }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ValueError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(MapKey(self.reader.next_token()?.into_key()?)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ValueError> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
