use super::number::Number;
use super::{Map, Value};
use crate::socketio::error::DecodeError;
use crate::socketio::json::{MAX_DEPTH, SYNTAX, Scanner};
use crate::socketio::surrogates;

impl Value {
    /// Parses JSON as JavaScript's `JSON.parse` does, which takes two things that `serde_json` refuses: a number beyond
    /// the range of `f64` becomes infinite, and half of a surrogate pair in a string becomes U+FFFD, because no string
    /// of Rust can hold it.
    ///
    /// # Errors
    /// [`DecodeError::InvalidPayload`] if it is not JSON, [`DecodeError::TooDeep`] beyond 120 levels.
    ///
    /// ```
    /// # use sockeye_protocol::socketio::Value;
    /// let value = Value::parse(r#"[1e400, "cut \ud83d"]"#)?;
    /// assert_eq!(value, Value::Array(vec![f64::INFINITY.into(), "cut \u{fffd}".into()]));
    /// # Ok::<_, sockeye_protocol::socketio::DecodeError>(())
    /// ```
    pub fn parse(json: &str) -> Result<Self, DecodeError> {
        let mut scanner = Scanner::new(json, MAX_DEPTH);
        scanner.skip_whitespace();
        let value = parse_value(&mut scanner, 0)?;
        if scanner.rest().is_empty() { Ok(value) } else { Err(SYNTAX) }
    }
}

/// Parses one value and steps over the white space after it.
fn parse_value(scanner: &mut Scanner<'_>, depth: usize) -> Result<Value, DecodeError> {
    match scanner.peek() {
        Some(b'[' | b'{') if depth >= MAX_DEPTH => Err(DecodeError::TooDeep { limit: MAX_DEPTH }),
        Some(b'[') => parse_array(scanner, depth + 1),
        Some(b'{') => parse_object(scanner, depth + 1),
        Some(b'"') => parse_string(scanner).map(Value::String),
        _ => match scanner.value()? {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            number => Number::parse(number).map(Value::Number).ok_or(SYNTAX),
        },
    }
}

fn parse_array(scanner: &mut Scanner<'_>, depth: usize) -> Result<Value, DecodeError> {
    let mut items = Vec::new();
    scanner.eat(b'[');
    if !scanner.eat(b']') {
        loop {
            items.push(parse_value(scanner, depth)?);
            if scanner.eat(b']') {
                break;
            }
            if !scanner.eat(b',') {
                return Err(SYNTAX);
            }
        }
    }
    Ok(Value::Array(items))
}

fn parse_object(scanner: &mut Scanner<'_>, depth: usize) -> Result<Value, DecodeError> {
    let mut members = Map::new();
    scanner.eat(b'{');
    if !scanner.eat(b'}') {
        loop {
            if scanner.peek() != Some(b'"') {
                return Err(SYNTAX);
            }
            let key = parse_string(scanner)?;
            if !scanner.eat(b':') {
                return Err(SYNTAX);
            }
            members.insert(key, parse_value(scanner, depth)?);
            if scanner.eat(b'}') {
                break;
            }
            if !scanner.eat(b',') {
                return Err(SYNTAX);
            }
        }
    }
    Ok(Value::Object(members))
}

fn parse_string(scanner: &mut Scanner<'_>) -> Result<String, DecodeError> {
    surrogates::parse(scanner.value()?).map_err(|_| SYNTAX)
}
