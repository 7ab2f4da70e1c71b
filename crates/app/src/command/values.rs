//! Arguments of events at the command line: JSON, in which binary data is `{"$binary": "<base64>"}`.
use std::fmt::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq},
};
use serde_json::value::RawValue;
use sockeye_client::{ArgsBuf, Arguments, Value};

/// The arguments of an event to send.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Values(pub(crate) Vec<Argument>);

/// One argument to send.
#[derive(Debug, Clone)]
pub(crate) struct Argument {
    pub(crate) value: Value,
    /// The argument as it was written, to send it unchanged; `None` if it holds binary data, which is sent separately.
    json: Option<Box<RawValue>>,
}

/// Why a text cannot be the arguments of an event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValuesError {
    #[error("`{word}` is not JSON; text needs double quotes: {fix}")]
    BareWord { word: String, fix: String },
    #[error("`{text}` is not JSON: {why}")]
    Json { text: String, why: String },
    #[error("`$binary` must hold base64, as in {{\"$binary\": \"aGVsbG8=\"}}: {0}")]
    Binary(String),
}

impl Values {
    /// Reads JSON values that follow each other. Each is an argument.
    ///
    /// # Errors
    /// If one is not JSON.
    pub(crate) fn parse_list(text: &str) -> Result<Self, ValuesError> {
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>();
        let mut values = Vec::new();
        loop {
            let start = stream.byte_offset();
            match stream.next() {
                None => return Ok(Self(values)),
                Some(Ok(json)) => values.push(Argument::new(json)?),
                Some(Err(error)) => return Err(not_json(text.get(start..).unwrap_or_default(), &error)),
            }
        }
    }

    /// Reads one argument.
    ///
    /// # Errors
    /// If it is not JSON.
    pub(crate) fn parse_one(text: &str) -> Result<Argument, ValuesError> {
        Argument::new(serde_json::from_str(text).map_err(|error| not_json(text, &error))?)
    }

    /// Reads the arguments of one event: an array holds all of them, any other value is the only one.
    ///
    /// # Errors
    /// If it is not JSON.
    pub(crate) fn parse_line(text: &str) -> Result<Self, ValuesError> {
        if text.trim_start().starts_with('[') {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
            return items.into_iter().map(Argument::new).collect::<Result<_, _>>().map(Self);
        }
        Self::parse_one(text).map(|argument| Self(vec![argument]))
    }
}

impl Argument {
    fn new(json: Box<RawValue>) -> Result<Self, ValuesError> {
        let value = Value::parse(json.get()).map_err(|error| not_json(json.get(), &error))?;
        if holds_binary(&value) {
            Ok(Self { value: with_binary(value)?, json: None })
        } else {
            Ok(Self { value, json: Some(json) })
        }
    }
}

/// Two arguments are equal if a server decodes the same value from them.
impl PartialEq for Argument {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.json {
            Some(json) => json.serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

impl Arguments for Values {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.0.iter().try_for_each(|argument| seq.serialize_element(argument))
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// Decodes received arguments.
///
/// # Errors
/// If they are not valid.
pub(crate) fn received(args: &ArgsBuf) -> Result<Vec<Value>, sockeye_protocol::socketio::ArgumentError> {
    args.as_args().all()
}

/// Writes a value as JSON for programs.
pub(crate) struct Json<'a>(pub(crate) &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Binary(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(BINARY, &STANDARD.encode(bytes))?;
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Json)),
            Value::Object(map) => serializer.collect_map(map.iter().map(|(key, value)| (key, Json(value)))),
            value => value.serialize(serializer),
        }
    }
}

/// Writes arguments as a JSON array on one line, for programs.
pub(crate) fn json_line(values: &[Value]) -> Result<String, serde_json::Error> {
    escaped_json(&values.iter().map(Json).collect::<Vec<_>>())
}

/// Writes a value as JSON on one line, in which control characters are escaped: a terminal does not obey them, and programs
/// read the same text.
pub(crate) fn escaped_json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    // Only strings contain such characters: the rest of compact JSON is ASCII.
    Ok(Escaped(&serde_json::to_string(value)?).to_string())
}

/// Writes arguments for people: JSON with spaces between, binary data as its size and first bytes, control characters
/// escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a [Value]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            show(value, f)?;
        }
        Ok(())
    }
}

/// Writes a text with control characters escaped, so that a terminal does not obey them.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if is_control(character) { write!(f, "\\u{:04x}", u32::from(character)) } else { f.write_char(character) }
        })
    }
}

/// Writes the name of an event, in quotes if it has spaces or looks like JSON.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = !self.0.is_empty()
            && !self.0.starts_with(['"', '[', '{'])
            && !self.0.chars().any(|character| character.is_whitespace() || is_control(character));
        if is_plain { f.write_str(self.0) } else { show(&Value::from(self.0), f) }
    }
}

/// The key of the object that stands for binary data.
const BINARY: &str = "$binary";

/// How many bytes of binary data are shown.
const SHOWN_BYTES: usize = 16;

fn holds_binary(value: &Value) -> bool {
    match value {
        Value::Object(map) => (map.len() == 1 && map.contains_key(BINARY)) || map.values().any(holds_binary),
        Value::Array(items) => items.iter().any(holds_binary),
        _ => false,
    }
}

fn with_binary(value: Value) -> Result<Value, ValuesError> {
    Ok(match value {
        Value::Object(map) if map.len() == 1 && map.contains_key(BINARY) => {
            let Some(Value::String(text)) = map.get(BINARY) else {
                return Err(ValuesError::Binary("it is not text".into()));
            };
            let bytes = STANDARD.decode(text).map_err(|error| ValuesError::Binary(error.to_string()))?;
            Value::Binary(bytes.into())
        }
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(key, value)| Ok((key, with_binary(value)?))).collect::<Result<_, ValuesError>>()?,
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(with_binary).collect::<Result<_, _>>()?),
        value => value,
    })
}

fn not_json(rest: &str, error: &impl fmt::Display) -> ValuesError {
    let rest = rest.trim();
    let word = rest.split_whitespace().next().unwrap_or_default();
    let is_word = |character: char| character.is_alphanumeric() || "-_.:/@#!?'".contains(character);
    if !word.is_empty() && word.chars().all(is_word) && !word.starts_with(|first: char| first.is_ascii_digit()) {
        // Text without quotes usually goes on to the end of the line.
        let text = if rest.chars().all(|character| is_word(character) || character == ' ') { rest } else { word };
        return ValuesError::BareWord {
            word: word.into(),
            fix: serde_json::Value::from(text.trim_matches('\'')).to_string(),
        };
    }
    ValuesError::Json { text: excerpt(rest), why: error.to_string() }
}

fn excerpt(text: &str) -> String {
    const LIMIT: usize = 60;
    let mut excerpt: String = text.chars().take(LIMIT).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    Escaped(&excerpt).to_string()
}

fn show(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Binary(bytes) => {
            write!(f, "<{} bytes", bytes.len())?;
            if !bytes.is_empty() {
                f.write_char(' ')?;
            }
            bytes.iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str(if bytes.len() > SHOWN_BYTES { "…>" } else { ">" })
        }
        Value::Array(items) => {
            f.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index > 0 { "," } else { "" })?;
                show(item, f)?;
            }
            f.write_char(']')
        }
        Value::Object(map) => {
            f.write_char('{')?;
            for (index, (key, value)) in map.iter().enumerate() {
                f.write_str(if index > 0 { "," } else { "" })?;
                show(&Value::from(key.as_str()), f)?;
                f.write_char(':')?;
                show(value, f)?;
            }
            f.write_char('}')
        }
        // JSON would show `null` for each.
        Value::Undefined => f.write_str("undefined"),
        Value::Number(number) if !number.as_f64().is_finite() => write!(f, "{number}"),
        value => f.write_str(&escaped_json(value).map_err(|_| fmt::Error)?),
    }
}

/// Whether a terminal may obey a character, or show the text in another order because of it.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(args: Values) -> Vec<Value> {
        args.0.into_iter().map(|argument| argument.value).collect()
    }

    fn list(text: &str) -> Vec<Value> {
        values(Values::parse_list(text).unwrap())
    }

    #[test]
    fn values_that_follow_each_other_are_the_arguments() {
        assert_eq!(list(""), []);
        assert_eq!(list(" \"hello\" {\"b\":1,\"a\":[]} 3 ").len(), 3);
        assert_eq!(Shown(&list("\"hello\" {\"b\":1,\"a\":[null]} 3")).to_string(), r#""hello" {"b":1,"a":[null]} 3"#);
        assert_eq!(list("[1,2]"), [Value::from(vec![1, 2])]);
    }

    #[test]
    fn a_line_is_all_arguments_or_the_only_one() {
        assert_eq!(values(Values::parse_line("[1,2]").unwrap()), [Value::from(1), Value::from(2)]);
        assert_eq!(values(Values::parse_line("[]").unwrap()), []);
        assert_eq!(Values::parse_line("{\"a\":1}").unwrap().0.len(), 1);
        assert!(Values::parse_line("1 2").is_err());
    }

    #[test]
    fn the_error_for_a_word_without_quotes_shows_it_in_quotes() {
        let error = |text: &str| Values::parse_list(text).unwrap_err().to_string();
        assert_eq!(error("hello"), "`hello` is not JSON; text needs double quotes: \"hello\"");
        assert_eq!(error("1 hello world"), "`hello` is not JSON; text needs double quotes: \"hello world\"");
        assert_eq!(error("'hello'"), "`'hello'` is not JSON; text needs double quotes: \"hello\"");
        assert!(error("{\"a\":}").contains("`{\"a\":}` is not JSON"), "{}", error("{\"a\":}"));
        assert!(error("\"a\" {a:1}").starts_with("`{a:1}` is not JSON"), "{}", error("\"a\" {a:1}"));
        assert!(!error("\u{1b}[2J").contains('\u{1b}'));
    }

    #[test]
    fn what_rust_cannot_hold_is_sent_as_it_is_written() {
        let sent = |args: &Values| {
            let mut out = Vec::new();
            sockeye_protocol::socketio::encode_event(&mut out, "/", None, "e", args).unwrap();
            String::from_utf8(out).unwrap()
        };
        for text in [
            &format!("1{}", "0".repeat(400)),
            "1e400",
            "123456789012345678901",
            "1.50",
            r#""cut \ud83d""#,
            r#"{"a":["\ud83d",1e400]}"#,
        ] {
            let list = Values::parse_list(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(sent(&list), format!(r#"2["e",{text}]"#));
            assert_eq!(sent(&Values::parse_line(&format!("[{text}, 1 ]")).unwrap()), format!(r#"2["e",{text},1]"#));
            assert_eq!(sent(&Values(vec![Values::parse_one(text).unwrap()])), format!(r#"2["e",{text}]"#));
        }
        // Binary data has to be taken out of its argument.
        let beside = Values::parse_list(r#"1e400 {"$binary":"aGVsbG8="}"#).unwrap();
        assert_eq!(sent(&beside), r#"51-["e",1e400,{"_placeholder":true,"num":0}]"#);
    }

    #[test]
    fn what_json_lacks_is_shown_by_its_name_in_javascript() {
        let values = [Value::from(f64::NAN), Value::from(f64::NEG_INFINITY), Value::Undefined];
        assert_eq!(Shown(&values).to_string(), "NaN -Infinity undefined");
    }

    #[test]
    fn binary_data_is_written_and_read() {
        let value = Values::parse_one(r#"{"a":[{"$binary":"aGVsbG8="}]}"#).unwrap().value;
        let hello = Value::Binary(bytes::Bytes::from_static(b"hello"));
        assert_eq!(value.get("a"), Some(&Value::Array(vec![hello.clone()])));
        assert_eq!(json_line(&[value]).unwrap(), r#"[{"a":[{"$binary":"aGVsbG8="}]}]"#);
        assert_eq!(Shown(&[hello, Value::Binary(bytes::Bytes::new())]).to_string(), "<5 bytes 68656c6c6f> <0 bytes>");
        assert_eq!(Shown(&[Value::Binary(vec![0; 17].into())]).to_string(), format!("<17 bytes {}…>", "00".repeat(16)));
        assert!(matches!(Values::parse_one(r#"{"$binary":"?"}"#), Err(ValuesError::Binary(_))));
    }

    #[test]
    fn control_characters_of_a_server_do_not_reach_the_terminal() {
        let shown = Shown(&[Value::from("\u{1b}[2J \u{9b}2J \u{202e}")]).to_string();
        assert!(!shown.contains(is_control), "{shown:?}");
        let text = Value::from("\u{1b}[2J \u{7f} \u{9b}2J \u{202e}");
        let line = json_line(std::slice::from_ref(&text)).unwrap();
        assert!(!line.contains(is_control), "{line:?}");
        assert_eq!(values(Values::parse_line(&line).unwrap()), [text]);
        assert_eq!(Name("chat").to_string(), "chat");
        assert_eq!(Name("a b").to_string(), "\"a b\"");
        assert_eq!(Name("\u{9b}").to_string(), "\"\\u009b\"");
    }
}
