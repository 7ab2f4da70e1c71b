use std::fmt::Display;

/// Why a Socket.IO packet could not be decoded. The reference implementation closes the connection after each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet type is none of 0 to 6.
    #[error("unknown Socket.IO packet type: a packet starts with a digit from 0 to 6")]
    UnknownType,
    /// The number of attachments is missing, zero or not a number, or the dash after it is missing.
    #[error("illegal attachments: a binary packet starts with its number of attachments, at least 1, and a dash")]
    IllegalAttachments,
    /// More attachments are announced than the limit allows.
    #[error("the packet announces more than {limit} attachments: send fewer or raise the limit")]
    TooManyAttachments {
        /// The limit that was given.
        limit: usize,
    },
    /// The attachments of one packet take more bytes than the limit allows.
    #[error("the attachments of the packet exceed {limit} bytes: send less or raise the limit")]
    AttachmentsTooLarge {
        /// The limit that was given, in bytes.
        limit: usize,
    },
    /// A placeholder's number names none of the packet's attachments.
    #[error(
        "illegal placeholder: in {{\"_placeholder\":true,\"num\":i}}, i must be from 0 to the number of attachments less one"
    )]
    IllegalPlaceholders,
    /// A text packet arrived while attachments were missing.
    #[error("got a text packet while {missing} attachments of the previous packet were missing")]
    AttachmentsMissing {
        /// How many attachments were missing.
        missing: usize,
    },
    /// A binary message arrived that no packet had announced.
    #[error("got a binary message that no packet had announced as its attachment")]
    UnexpectedBinary,
    /// An acknowledgement id is beyond 2^53, where JavaScript's numbers lose precision.
    #[error("the acknowledgement id is too large: ids go up to 2^53")]
    AckIdTooLarge,
    /// The payload is malformed, or of the wrong kind for the packet type.
    #[error("invalid payload: {0}")]
    InvalidPayload(&'static str),
    /// The payload is nested too deeply.
    #[error("the payload is nested more than {limit} levels deep: flatten the data or raise the limit")]
    TooDeep {
        /// The limit that was given.
        limit: usize,
    },
    /// An event has a reserved name.
    #[error("the event name {0:?} is reserved: choose another one")]
    ReservedEvent(&'static str),
}

/// Why a packet could not be encoded: its data contain a value that can't be serialised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A value has no JSON form.
    #[error("the data can't be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A value has no MessagePack form.
    #[error("the data can't be written as MessagePack")]
    MessagePack(#[from] ValueError),
}

/// Why a [`Value`](super::Value) or MessagePack data could not be converted. Its text quotes at most 200 bytes of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub(super) String);

impl ValueError {
    /// The text without the value that does not fit, for a log, which must not tell the peer's secrets: the field, or the
    /// type that came and the one that was expected. The text of a type's own `Deserialize` may quote the value anywhere
    /// and is left out.
    #[must_use]
    pub fn without_value(&self) -> String {
        let text = self.0.as_str();
        if let Some((index, text)) = text.strip_prefix("argument ").and_then(|text| text.split_once(": "))
            && index.parse::<usize>().is_ok()
        {
            return format!("argument {index}: {}", without_value(text));
        }
        without_value(text)
    }
}

/// serde quotes the name of a missing or duplicate field, which the program has chosen, and otherwise what the peer sent,
/// after a kind and before what is expected.
fn without_value(text: &str) -> String {
    let begins = |kinds: &[&str]| kinds.iter().any(|kind| text.starts_with(kind));
    if begins(&["missing field `", "duplicate field `"]) {
        return text.to_owned();
    }
    match text.rsplit_once(", expected ") {
        Some((found, expected))
            if begins(&[
                "invalid type: ",
                "invalid value: ",
                "invalid length ",
                "unknown field ",
                "unknown variant ",
            ]) =>
        {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        _ => "its value is not valid".to_owned(),
    }
}

impl serde::de::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        Self(shortened(message.to_string()))
    }
}

impl serde::ser::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        Self(shortened(message.to_string()))
    }
}

/// How much of a long message is kept at its start and at its end, in bytes. serde quotes the value that does not fit,
/// which may be as long as a packet.
const KEPT: (usize, usize) = (140, 60);

fn shortened(message: String) -> String {
    let (start, end) = KEPT;
    if message.len() <= start + end {
        return message;
    }
    let start = message.floor_char_boundary(start);
    let end = message.ceil_char_boundary(message.len() - end);
    let (start, end) = (message.get(..start).unwrap_or_default(), message.get(end..).unwrap_or_default());
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_for_the_log_names_the_field_or_the_types_and_not_the_value() {
        for (text, expected) in [
            ("missing field `token` at line 1 column 2", "missing field `token` at line 1 column 2"),
            ("argument 1: duplicate field `a`", "argument 1: duplicate field `a`"),
            (
                r#"invalid type: string "x, expected \"y", expected u8 at line 1"#,
                "invalid type: string, expected u8 at line 1",
            ),
            (
                "argument 0: invalid value: integer `300`, expected u8",
                "argument 0: invalid value: integer, expected u8",
            ),
            ("invalid type: map, expected u8", "invalid type: map, expected u8"),
            ("invalid length 2, expected a tuple of size 3", "invalid length 2, expected a tuple of size 3"),
            ("unknown variant `x`, expected one of `a`, `b`", "unknown variant, expected one of `a`, `b`"),
            ("unknown field `x`, there are no fields", "its value is not valid"),
            ("`x` is no colour, expected one", "its value is not valid"),
        ] {
            assert_eq!(ValueError(text.to_owned()).without_value(), expected);
        }
        let long = format!("invalid type: string \"{}\", expected u8", "x".repeat(10_000));
        assert_eq!(ValueError(shortened(long)).without_value(), "invalid type: string, expected u8");
    }
}
