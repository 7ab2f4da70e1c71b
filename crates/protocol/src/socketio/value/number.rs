use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Serialize, Serializer};

/// A number: an integer of up to 64 bits, or a float, which may be NaN or infinite.
///
/// JSON has neither NaN nor infinities and gets `null` for them, as JavaScript's `JSON.stringify` writes it;
/// MessagePack has all floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(Repr);

/// An integer that is not negative is always `Unsigned`, so that equal integers compare equal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Repr {
    Unsigned(u64),
    Negative(i64),
    Float(f64),
}

impl Number {
    /// The number if it is an integer from 0 to 2^64 - 1.
    #[must_use]
    pub const fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Unsigned(number) => Some(number),
            Repr::Negative(_) | Repr::Float(_) => None,
        }
    }

    /// The number if it is an integer from -2^63 to 2^63 - 1.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Unsigned(number) => number.try_into().ok(),
            Repr::Negative(number) => Some(number),
            Repr::Float(_) => None,
        }
    }

    /// The number as JavaScript holds it: integers beyond 2^53 lose their last digits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "it is what JavaScript does")]
    pub const fn as_f64(&self) -> f64 {
        match self.0 {
            Repr::Unsigned(number) => number as f64,
            Repr::Negative(number) => number as f64,
            Repr::Float(number) => number,
        }
    }

    /// Reads the text of a JSON number. One beyond the range of `f64` is infinite, as JavaScript's `JSON.parse` reads
    /// it.
    pub(in crate::socketio) fn parse(text: &str) -> Option<Self> {
        // An integer has no negative zero, which JavaScript tells apart.
        if text != "-0" {
            if let Ok(number) = text.parse::<u64>() {
                return Some(number.into());
            }
            if let Ok(number) = text.parse::<i64>() {
                return Some(number.into());
            }
        }
        text.parse::<f64>().ok().map(Self::from)
    }

    pub(super) fn visit<'de, V: Visitor<'de>, E: Error>(self, visitor: V) -> Result<V::Value, E> {
        match self.0 {
            Repr::Unsigned(number) => visitor.visit_u64(number),
            Repr::Negative(number) => visitor.visit_i64(number),
            Repr::Float(number) => visitor.visit_f64(number),
        }
    }

    /// The number as JavaScript writes it for the key of a property.
    pub(in crate::socketio) fn property_key(self) -> String {
        Self::from(self.as_f64()).to_string()
    }
}

/// Writes all digits of an integer, and a float as JavaScript writes it: `1e+21`, `Infinity`.
impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Unsigned(number) => write!(formatter, "{number}"),
            Repr::Negative(number) => write!(formatter, "{number}"),
            Repr::Float(0.0) => formatter.write_str("0"),
            Repr::Float(number) if number.is_nan() => formatter.write_str("NaN"),
            Repr::Float(number) if number.is_infinite() => {
                formatter.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
            }
            Repr::Float(number) if (1e-6..1e21).contains(&number.abs()) => write!(formatter, "{number}"),
            Repr::Float(number) => {
                let text = format!("{number:e}");
                formatter.write_str(&if text.contains("e-") { text } else { text.replace('e', "e+") })
            }
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Repr::Unsigned(number) => serializer.serialize_u64(number),
            Repr::Negative(number) => serializer.serialize_i64(number),
            Repr::Float(number) => serializer.serialize_f64(number),
        }
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(Repr::Float(number))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(Repr::Unsigned(number))
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(u64::try_from(number).map_or(Repr::Negative(number), Repr::Unsigned))
    }
}

impl From<serde_json::Number> for Number {
    fn from(number: serde_json::Number) -> Self {
        if let Some(number) = number.as_u64() {
            number.into()
        } else if let Some(number) = number.as_i64() {
            number.into()
        } else {
            number.as_f64().unwrap_or(f64::NAN).into()
        }
    }
}

/// NaN and the infinities become `null`, as in JSON text.
impl From<Number> for serde_json::Value {
    fn from(number: Number) -> Self {
        match number.0 {
            Repr::Unsigned(number) => number.into(),
            Repr::Negative(number) => number.into(),
            Repr::Float(number) => number.into(),
        }
    }
}
