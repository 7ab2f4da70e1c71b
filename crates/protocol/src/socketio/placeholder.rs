//! Placeholders stand in JSON for attachments: `{"_placeholder":true,"num":0}` for the first.
//!
//! Users may send objects that look like one. The JavaScript reference takes each such object of a packet with
//! attachments for a placeholder, and so does this implementation, so that both read the same. In a packet without
//! attachments it is data like any other.

use bytes::Bytes;

use super::error::DecodeError;
use super::value::{Map, Value};

/// Finds the placeholders of a packet that announces `attachments` attachments. Returns the attachments they name, one
/// as often as it is named.
pub(super) fn named_attachments(json: &str, attachments: usize) -> Result<Vec<usize>, DecodeError> {
    let mut value = Value::parse(json)?;
    let mut named = Vec::new();
    replace(&mut value, attachments, &mut |index| {
        named.push(index);
        Value::Null
    })?;
    Ok(named)
}

/// Puts the attachments where their placeholders are.
pub(super) fn fill(value: &mut Value, attachments: &[Bytes]) -> Result<(), DecodeError> {
    replace(value, attachments.len(), &mut |index| {
        attachments.get(index).cloned().map_or(Value::Undefined, Value::Binary)
    })
}

fn replace(value: &mut Value, attachments: usize, resolve: &mut impl FnMut(usize) -> Value) -> Result<(), DecodeError> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, attachments, resolve)),
        Value::Object(map) if is_placeholder(map) => {
            *value = named_attachment(map, attachments)?.map_or(Value::Undefined, resolve);
            Ok(())
        }
        Value::Object(map) => map.values_mut().try_for_each(|item| replace(item, attachments, resolve)),
        _ => Ok(()),
    }
}

fn is_placeholder(map: &Map) -> bool {
    map.get("_placeholder") == Some(&Value::Bool(true))
}

/// The attachment that a placeholder names; `None` if its number lies in the range but is a fraction, for which
/// JavaScript finds `undefined`.
fn named_attachment(placeholder: &Map, attachments: usize) -> Result<Option<usize>, DecodeError> {
    let Some(Value::Number(number)) = placeholder.get("num") else { return Err(DecodeError::IllegalPlaceholders) };
    let bound = u32::try_from(attachments).unwrap_or(u32::MAX);
    if !(0.0..f64::from(bound)).contains(&number.as_f64()) {
        return Err(DecodeError::IllegalPlaceholders);
    }
    Ok(number.property_key().parse().ok())
}
