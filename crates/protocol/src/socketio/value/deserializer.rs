use std::borrow::Cow;

use indexmap::map;
use serde::de::value::{MapAccessDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Map, Value};
use crate::socketio::binary::visit_binary_as_seq;
use crate::socketio::error::ValueError;
use crate::socketio::extension::{Extension, VALUE};
use crate::socketio::map_key::MapKey;

impl<'de> IntoDeserializer<'de, ValueError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Null | Self::Undefined => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => number.visit(visitor),
            Self::String(text) => visitor.visit_string(text),
            Self::Binary(bytes) => visitor.visit_byte_buf(bytes.into()),
            Self::Date(date) => visitor.visit_string(date.to_string()),
            Self::Array(items) => {
                let mut access = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut access)?;
                access.end()?;
                Ok(value)
            }
            Self::Object(map) => visitor.visit_map(Members::new(map)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Null | Self::Undefined => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self {
            Self::Undefined if name == VALUE => Extension::Undefined.visit(visitor),
            Self::Date(date) if name == VALUE => Extension::Date(date.unix_milliseconds()).visit(visitor),
            value => visitor.visit_newtype_struct(value),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self {
            Self::String(variant) => visitor.visit_enum(StringDeserializer::new(variant)),
            Self::Object(map) if map.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(Members::new(map))),
            _ => Err(ValueError::custom("an enum is a string or an object with one member, the variant")),
        }
    }

    /// Binary data also deserialises as a sequence of numbers, for a `Vec<u8>`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Binary(bytes) => visit_binary_as_seq(&bytes, visitor),
            value => value.deserialize_any(visitor),
        }
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

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_unit(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit map struct identifier
        ignored_any
    }
}

/// Gives the members of an object to serde.
struct Members {
    members: map::IntoIter<String, Value>,
    value: Option<Value>,
}

impl Members {
    fn new(map: Map) -> Self {
        Self { members: map.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(MapKey(Cow::Owned(key))).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ValueError> {
        let value = self.value.take().ok_or_else(|| ValueError::custom("a value was asked for before its key"))?;
        seed.deserialize(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}
