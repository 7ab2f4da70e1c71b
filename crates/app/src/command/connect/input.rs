//! The lines that users type at the prompt of `sockeye connect`.
use crate::command::values::{Values, ValuesError};

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Input {
    /// Send an event.
    Event {
        name: String,
        args: Values,
        ack: bool,
    },
    /// Connect again after the server has disconnected this client.
    Connect,
    Help,
    Quit,
    /// An empty line.
    Nothing,
}

/// Why a line is not valid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputError {
    #[error("`{0}` needs the name of an event, as in: {0} chat \"hello\"")]
    NoEvent(&'static str),
    #[error("the arguments of `{name}` are not valid: {source}")]
    Args { name: String, source: ValuesError },
    #[error(
        "a line that begins with [ or a quote must begin with the event's name in quotes, as in [\"chat\", \"hello\"]: {0}"
    )]
    Quoted(String),
}

/// The text of `help`.
pub(crate) const HELP: &str = r#"  chat "hello" {"a": 1}       send the event `chat` with two arguments, each written as JSON
  chat? "hello"               send it and show the server's acknowledgement
  ack chat "hello"            the same
  ["chat", "hello"]           the same as: chat "hello"
  {"$binary": "aGVsbG8="}     binary data in base64, as an argument or inside one
  emit help                   send an event that has the name of a command; or write it in quotes: "help"
  connect                     connect again after the server has disconnected this client
  quit                        end, as do Ctrl-D and Ctrl-C"#;

impl Input {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is not one of the forms that `help` lists.
    pub(crate) fn parse(line: &str) -> Result<Self, InputError> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Self::Nothing);
        }
        if line.starts_with('[') {
            return packet(line);
        }
        let (word, rest) = first_word(line);
        match (word, rest) {
            ("help" | "?", "") => Ok(Self::Help),
            ("quit" | "exit", "") => Ok(Self::Quit),
            ("connect", "") => Ok(Self::Connect),
            ("emit", _) => event("emit", rest, false),
            ("ack", _) => event("ack", rest, true),
            _ => event("", line, false),
        }
    }
}

/// Reads an event as it is written in a packet: an array of the name and the arguments.
fn packet(line: &str) -> Result<Input, InputError> {
    let mut values = Values::parse_line(line).map_err(|error| InputError::Quoted(error.to_string()))?.0;
    if values.is_empty() {
        return Err(InputError::Quoted("the array is empty".into()));
    }
    match values.remove(0).value {
        sockeye_client::Value::String(name) => Ok(Input::Event { name, args: Values(values), ack: false }),
        _ => Err(InputError::Quoted("the first item is not text".into())),
    }
}

fn event(verb: &'static str, text: &str, ack: bool) -> Result<Input, InputError> {
    if text.is_empty() {
        return Err(InputError::NoEvent(verb));
    }
    let (name, asks, rest) = if text.starts_with('"') {
        let mut names = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = names.next().transpose().map_err(|error| InputError::Quoted(error.to_string()))?;
        let rest = text.get(names.byte_offset()..).unwrap_or_default();
        let (asks, rest) = rest.strip_prefix('?').map_or((false, rest), |rest| (true, rest));
        (name.unwrap_or_default(), asks, rest)
    } else {
        let (word, rest) = first_word(text);
        let asked = word.strip_suffix('?').filter(|name| !name.is_empty());
        (asked.unwrap_or(word).to_owned(), asked.is_some(), rest)
    };
    match Values::parse_list(rest) {
        Ok(args) => Ok(Input::Event { name, args, ack: ack || asks }),
        Err(source) => Err(InputError::Args { name, source }),
    }
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use sockeye_client::Value;

    use super::*;

    fn sends(line: &str) -> (String, Vec<Value>, bool) {
        match Input::parse(line) {
            Ok(Input::Event { name, args, ack }) => {
                (name, args.0.into_iter().map(|argument| argument.value).collect(), ack)
            }
            other => panic!("{line} sends an event, and not {other:?}"),
        }
    }

    #[test]
    fn every_form_of_an_event_is_read() {
        let hello = || vec![Value::from("hello")];
        for (line, expected) in [
            ("chat", ("chat", vec![], false)),
            (" chat  \"hello\" ", ("chat", hello(), false)),
            ("chat [1] 2", ("chat", vec![vec![1].into(), 2.into()], false)),
            ("chat? \"hello\"", ("chat", hello(), true)),
            ("ack chat \"hello\"", ("chat", hello(), true)),
            ("ack chat? 1", ("chat", vec![1.into()], true)),
            ("emit help", ("help", vec![], false)),
            ("\"two words\" \"hello\"", ("two words", hello(), false)),
            ("\"two words\"? \"hello\"", ("two words", hello(), true)),
            ("[\"chat\", \"hello\"]", ("chat", hello(), false)),
            ("help 1", ("help", vec![1.into()], false)),
        ] {
            let (name, args, ack) = expected;
            assert_eq!(sends(line), (name.to_owned(), args, ack), "{line}");
        }
    }

    #[test]
    fn commands_have_no_arguments() {
        for (line, expected) in [
            ("help", Input::Help),
            ("?", Input::Help),
            ("quit", Input::Quit),
            ("exit ", Input::Quit),
            ("connect", Input::Connect),
            ("  ", Input::Nothing),
        ] {
            assert_eq!(Input::parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn errors_show_how_to_write_a_line() {
        for (line, parts) in [
            ("chat hello", &["`chat`", "\"hello\""][..]),
            ("ack", &["ack chat \"hello\""]),
            ("emit", &["emit chat \"hello\""]),
            ("[1]", &["not text", "[\"chat\", \"hello\"]"]),
            ("[]", &["empty"]),
            ("\"chat", &["quotes"]),
        ] {
            let error = Input::parse(line).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{line}: {part:?} in {error}");
            }
        }
    }
}
