use sockeye::Value;

/// How large a value is as JSON, and how deeply it nests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes of JSON, without white space; bytes of binary data are counted as they are.
    pub(super) bytes: usize,
    /// Levels of arrays and objects: 0 for a text or number, 1 for a list of them.
    pub(super) depth: usize,
}

impl Extent {
    pub(super) fn of(value: &Value) -> Self {
        let leaf = |bytes| Self { bytes, depth: 0 };
        match value {
            Value::Null | Value::Undefined => leaf(4),
            Value::Bool(truth) => leaf(5 - usize::from(*truth)),
            Value::Number(number) => leaf(number.to_string().len()),
            Value::String(text) => leaf(bytes_of_text(text)),
            // In its place the JSON has an object.
            Value::Binary(data) => Self { bytes: data.len() + PLACEHOLDER, depth: 1 },
            Value::Array(items) => Self::around(items.iter().map(|item| (0, Self::of(item)))),
            Value::Object(members) => {
                Self::around(members.iter().map(|(name, item)| (bytes_of_text(name) + 1, Self::of(item))))
            }
            // A date, as text.
            _ => leaf(32),
        }
    }

    /// An array or object around values, each with the bytes of its name.
    fn around(items: impl Iterator<Item = (usize, Self)>) -> Self {
        items.fold(Self { bytes: 2, depth: 1 }, |whole, (name, item)| Self {
            bytes: whole.bytes + name + item.bytes + 1,
            depth: whole.depth.max(item.depth + 1),
        })
    }
}

/// The bytes of `{"_placeholder":true,"num":0}`.
const PLACEHOLDER: usize = 29;

/// The bytes of a text in quotes.
pub(super) fn bytes_of_text(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_extent_is_that_of_the_json() {
        for (value, depth) in [
            (json!(null), 0),
            (json!(false), 0),
            (json!(-1.5), 0),
            (json!("a\"\\\n\u{1}é"), 0),
            (json!([]), 1),
            (json!([1, [2, {}]]), 3),
            (json!({ "a\u{7}": [true], "b": "text" }), 2),
        ] {
            let extent = Extent::of(&Value::from(value.clone()));
            let bytes = value.to_string().len();
            assert_eq!(extent.depth, depth, "{value}");
            // One comma more is counted for each list.
            assert!((bytes..=bytes + 4).contains(&extent.bytes), "{value}: {} for {bytes}", extent.bytes);
        }
    }
}
