use bytes::Bytes;

use super::error::{DecodeError, ValueError};
use super::surrogates;
use super::value::{Map, Value};

/// Checks that the placeholders in `json` name each of `attachments` attachments exactly once.
pub(super) fn check(json: &str, attachments: usize) -> Result<(), DecodeError> {
    let mut value: Value = surrogates::parse(json).map_err(|_| DecodeError::InvalidPayload("it is not valid JSON"))?;
    let mut numbers = Vec::new();
    replace(&mut value, &mut |number| {
        numbers.push(number);
        Some(Value::Null)
    })
    .map_err(|IllegalPlaceholder| DecodeError::IllegalPlaceholders)?;
    numbers.sort_unstable();
    let complete = numbers.into_iter().eq(0..attachments as u64);
    if complete { Ok(()) } else { Err(DecodeError::IllegalPlaceholders) }
}

/// Puts the attachments where their placeholders are.
pub(super) fn fill(value: &mut Value, attachments: &[Bytes]) -> Result<(), ValueError> {
    replace(value, &mut |number| Some(Value::Binary(attachments.get(usize::try_from(number).ok()?)?.clone())))
        .map_err(|IllegalPlaceholder| ValueError(DecodeError::IllegalPlaceholders.to_string()))
}

struct IllegalPlaceholder;

fn replace(value: &mut Value, resolve: &mut impl FnMut(u64) -> Option<Value>) -> Result<(), IllegalPlaceholder> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, resolve)),
        Value::Object(map) if is_placeholder(map) => {
            let number = match map.get("num") {
                Some(Value::Number(number)) => number.as_u64(),
                _ => None,
            };
            *value = number.and_then(resolve).ok_or(IllegalPlaceholder)?;
            Ok(())
        }
        Value::Object(map) => map.values_mut().try_for_each(|item| replace(item, resolve)),
        _ => Ok(()),
    }
}

fn is_placeholder(map: &Map) -> bool {
    map.get("_placeholder") == Some(&Value::Bool(true))
}
