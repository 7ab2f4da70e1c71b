//! Carries `undefined` and dates, which MessagePack has and serde's data model lacks, through serde.
//!
//! They serialise as structs with special names, as `serde_json::value::RawValue` does. If a deserialiser of this crate
//! is asked for a newtype struct named [`VALUE`], it returns them as an enum.

use serde::Deserialize;
use serde::de::Visitor;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};

use super::error::ValueError;

/// The newtype struct that [`Value`](super::Value) asks a deserialiser for.
pub(super) const VALUE: &str = "$sockeye::Value";

/// The unit struct that [`Value::Undefined`](super::Value::Undefined) is serialised as.
pub(super) const UNDEFINED: &str = "$sockeye::Undefined";

/// The newtype struct that a [`Date`](super::Date) is serialised as.
pub(super) const DATE: &str = "$sockeye::Date";

/// A value of MessagePack that serde's data model lacks.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Extension {
    Undefined,
    /// Milliseconds since 1970.
    Date(i64),
}

impl Extension {
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Undefined => visitor.visit_enum(StrDeserializer::new("Undefined")),
            Self::Date(milliseconds) => {
                let members = MapDeserializer::new(std::iter::once(("Date", milliseconds)));
                visitor.visit_enum(MapAccessDeserializer::new(members))
            }
        }
    }
}
