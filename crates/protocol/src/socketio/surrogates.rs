//! Lone surrogates: JavaScript can cut a string between the two halves of an emoji, and JSON has an escape for each
//! half. A Rust string cannot hold one half.

use serde::de::DeserializeOwned;

/// Parses `json`. If that fails, parses what [`to_well_formed`] makes of it.
pub(super) fn parse<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    serde_json::from_str(json).or_else(|error| match to_well_formed(json) {
        Some(json) => serde_json::from_str(&json),
        None => Err(error),
    })
}

/// Replaces each lone surrogate by U+FFFD, as JavaScript's `toWellFormed` does. Returns `None` if there is none.
pub(super) fn to_well_formed(json: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = json;
    let mut found = false;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let (length, is_alone) = match code_unit(escape) {
            Some(0xd800..0xdc00) if precedes_second_half(escape) => (2 * ESCAPE + 1, false),
            Some(0xd800..0xe000) => (ESCAPE, true),
            _ => (escape.chars().next().map_or(0, char::len_utf8), false),
        };
        let (escape, behind) = escape.split_at_checked(length).unwrap_or((escape, ""));
        out.push('\\');
        out.push_str(if is_alone { "ufffd" } else { escape });
        found |= is_alone;
        rest = behind;
    }
    found.then(|| out + rest)
}

/// The length of `uXXXX` in bytes.
const ESCAPE: usize = 5;

/// Returns the UTF-16 code unit of `escape`, which is given without its backslash.
fn code_unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok()
}

/// Whether a second half follows directly after the first escape.
fn precedes_second_half(escape: &str) -> bool {
    let next = escape.get(ESCAPE..).and_then(|rest| rest.strip_prefix('\\'));
    matches!(next.and_then(code_unit), Some(0xdc00..0xe000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced() {
        let rows = [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ude00\ude00""#, r#""\ud83d\ude00\ufffd""#),
            (r#""\ud83d\n\udbff.""#, r#""\ufffd\n\ufffd.""#),
            (r#""\\\ud800""#, r#""\\\ufffd""#),
            (r#"{"\ud800":["é\"\udfff"]}"#, r#"{"\ufffd":["é\"\ufffd"]}"#),
        ];
        for (json, expected) in rows {
            assert_eq!(to_well_formed(json).as_deref(), Some(expected), "{json}");
            assert_eq!(
                parse::<serde_json::Value>(json).unwrap(),
                serde_json::from_str::<serde_json::Value>(expected).unwrap()
            );
        }
    }

    #[test]
    fn well_formed_text_is_unchanged() {
        for json in ["", "1", r#""a""#, r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e4\/\"""#, "\"😀\""] {
            assert_eq!(to_well_formed(json), None, "{json}");
        }
    }

    #[test]
    fn text_that_is_not_json_does_not_panic() {
        for json in ["\\", "\\u", "\\ud83", "\\ud8", "\\é", "\\ud83d\\", "\\ud83d\\u", "\\u+83d", "\\uéé", "\\ud83d\\é"]
        {
            let lone = json.starts_with("\\ud83d");
            assert_eq!(to_well_formed(json).is_some(), lone, "{json}");
        }
    }
}
