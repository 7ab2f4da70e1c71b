mod deserialize;
mod deserializer;
mod number;
mod parse;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::ser::{Serialize, Serializer};

pub use self::number::Number;
use super::date::Date;
use super::error::ValueError;
use super::extension::UNDEFINED;

/// The members of an object, in the order they were written.
pub type Map = IndexMap<String, Value>;

/// Data of any shape: JSON's kinds of value, binary data, and what only MessagePack has, `undefined` and dates.
///
/// A value that was received and is sent again arrives as it came, with these exceptions; forward [`Args`](super::Args)
/// where even they matter:
///
/// * Of a JSON number, 64-bit integers keep all digits. Other numbers become `f64` and may lose their last digits; beyond
///   the range of `f64` they become infinite, as in JavaScript.
/// * Half of a surrogate pair, which JavaScript writes if it cuts a string through an emoji, becomes U+FFFD.
/// * An `ArrayBuffer` or an extension type of MessagePack becomes binary data.
/// * In JSON, `undefined`, NaN and the infinities are written as `null`, and a date as text.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// JavaScript's `undefined`, which MessagePack has and JSON writes as `null`.
    Undefined,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// Binary data, a `Buffer` or `ArrayBuffer` in JavaScript.
    Binary(Bytes),
    /// A date, which MessagePack has and JSON writes as text.
    Date(Date),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Map),
}

impl Value {
    /// The member `key` of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(map) => map.get(key),
            _ => None,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The binary data, cheap to clone.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Undefined => serializer.serialize_unit_struct(UNDEFINED),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Binary(bytes) => serializer.serialize_bytes(bytes),
            Self::Date(date) => date.serialize(serializer),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(map) => serializer.collect_map(map),
        }
    }
}

macro_rules! from_number {
    ($($number:ty)* as $wide:ty) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Number(<$wide>::from(number).into())
            }
        }
    )*};
}

from_number!(i8 i16 i32 i64 as i64);
from_number!(u8 u16 u32 u64 as u64);
from_number!(f32 f64 as f64);

impl From<isize> for Value {
    fn from(number: isize) -> Self {
        // No target of Rust has more than 64 bits.
        i64::try_from(number).unwrap_or(i64::MAX).into()
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        u64::try_from(number).unwrap_or(u64::MAX).into()
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Object(map)
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number.into()),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => items.into_iter().collect(),
            serde_json::Value::Object(map) => {
                Self::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl TryFrom<Value> for serde_json::Value {
    type Error = ValueError;

    /// Converts to what [`Value`] is in JSON text: `undefined`, NaN and the infinities become `null`, dates text.
    ///
    /// # Errors
    /// There is binary data, which has no JSON form.
    fn try_from(value: Value) -> Result<Self, ValueError> {
        Ok(match value {
            Value::Null | Value::Undefined => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => number.into(),
            Value::String(text) => Self::String(text),
            Value::Date(date) => Self::String(date.to_string()),
            Value::Binary(_) => return Err(ValueError("binary data has no JSON form: use Value instead".to_owned())),
            Value::Array(items) => Self::Array(items.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?),
            Value::Object(map) => Self::Object(
                map.into_iter().map(|(key, value)| Ok((key, value.try_into()?))).collect::<Result<_, ValueError>>()?,
            ),
        })
    }
}
