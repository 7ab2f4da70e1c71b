use serde::de::Visitor;
use serde::de::value::SeqDeserializer;

use super::error::ValueError;

/// Deserialises binary data as a sequence of numbers, for a `Vec<u8>`.
pub(super) fn visit_binary_as_seq<'de, V: Visitor<'de>>(bytes: &[u8], visitor: V) -> Result<V::Value, ValueError> {
    let mut access = SeqDeserializer::new(bytes.iter().copied());
    let value = visitor.visit_seq(&mut access)?;
    access.end()?;
    Ok(value)
}
