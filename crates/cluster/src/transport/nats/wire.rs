//! The protocol between a NATS server and its clients, without input or output.
use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// What a server says when a client connects, and when something changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    /// The largest message that it takes, in bytes.
    pub(super) max_payload: usize,
    /// Whether it speaks nothing but TLS from now on.
    pub(super) tls_required: bool,
    /// Whether it is about to stop.
    pub(super) ldm: bool,
}

impl Default for Info {
    fn default() -> Self {
        Self { max_payload: 1 << 20, tls_required: false, ldm: false }
    }
}

/// What a client says first.
#[derive(Debug, Serialize)]
pub(super) struct Connect<'a> {
    pub(super) verbose: bool,
    pub(super) pedantic: bool,
    pub(super) tls_required: bool,
    /// Whether this client gets what it publishes itself.
    pub(super) echo: bool,
    pub(super) headers: bool,
    pub(super) protocol: u8,
    pub(super) name: &'a str,
    pub(super) lang: &'a str,
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_token: Option<&'a str>,
}

/// One operation of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Info(Info),
    Message { subject: Bytes, payload: Bytes },
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// The longest line without its end; servers of large clusters send long INFO lines.
const MAX_LINE: usize = 256 << 10;

/// The largest message: NATS has no larger limit.
const MAX_PAYLOAD: usize = 64 << 20;

/// Takes the next operation off the buffer; none if it is not complete.
///
/// # Errors
/// If it is not of the protocol; the connection is then of no more use.
pub(super) fn next(buffer: &mut BytesMut) -> Result<Option<Operation>, &'static str> {
    let Some(end) = buffer.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if buffer.len() < MAX_LINE { Ok(None) } else { Err("a line has no end") };
    };
    let line = buffer.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (verb, rest) = match line.iter().position(u8::is_ascii_whitespace) {
        Some(at) => line.split_at(at),
        None => (line, &[][..]),
    };
    let rest = rest.trim_ascii();
    let operation = match verb.to_ascii_uppercase().as_slice() {
        b"MSG" => return message(buffer, end + 1),
        b"INFO" => Operation::Info(serde_json::from_slice(rest).map_err(|_| "an INFO is no JSON object")?),
        b"PING" => Operation::Ping,
        b"PONG" => Operation::Pong,
        b"+OK" => Operation::Ok,
        b"-ERR" => Operation::Error(String::from_utf8_lossy(rest).trim_matches('\'').to_owned()),
        _ => return Err("an operation is unknown"),
    };
    buffer.advance(end + 1);
    Ok(Some(operation))
}

/// `MSG <subject> <subscription> [reply-to] <size>`, and the payload after the end of the line.
fn message(buffer: &mut BytesMut, start: usize) -> Result<Option<Operation>, &'static str> {
    let line = buffer.get(..start).unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1);
    let subject = words.next().ok_or("a message has no subject")?;
    let size = words.last().and_then(|size| str::from_utf8(size).ok()?.parse().ok());
    let size: usize = size.filter(|size| *size <= MAX_PAYLOAD).ok_or("the size of a message is not valid")?;
    if buffer.len() < start + size + 2 {
        return Ok(None);
    }
    let subject = Bytes::copy_from_slice(subject);
    buffer.advance(start);
    let payload = buffer.split_to(size).freeze();
    if !buffer.starts_with(b"\r\n") {
        return Err("a message is longer than it says");
    }
    buffer.advance(2);
    Ok(Some(Operation::Message { subject, payload }))
}

/// Whether a subject can be published on, or with `wildcards` subscribed to: words between dots, without white space.
pub(super) fn is_subject(subject: &str, wildcards: bool) -> bool {
    let words = || subject.split('.');
    words().all(|word| {
        !word.is_empty()
            && !word.contains(|char: char| char.is_whitespace() || char.is_control())
            && (wildcards || !matches!(word, "*" | ">"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Operation> {
        let mut buffer = BytesMut::from(text);
        let mut operations = Vec::new();
        while let Some(operation) = next(&mut buffer).unwrap() {
            operations.push(operation);
        }
        operations
    }

    const STREAM: &[u8] =
        b"INFO {\"server_id\":\"x\",\"max_payload\":1024,\"tls_required\":true} \r\nPING\r\npong\r\n+OK\r\n\
        MSG a.b 7 5\r\nhe\r\no\r\nMSG a 8 reply.to 0\r\n\r\n-ERR 'Authorization Violation'\r\n";

    #[test]
    fn operations_are_read_however_they_are_cut() {
        let expected = [
            Operation::Info(Info { max_payload: 1024, tls_required: true, ldm: false }),
            Operation::Ping,
            Operation::Pong,
            Operation::Ok,
            Operation::Message { subject: "a.b".into(), payload: "he\r\no".into() },
            Operation::Message { subject: "a".into(), payload: Bytes::new() },
            Operation::Error("Authorization Violation".into()),
        ];
        assert_eq!(all(STREAM), expected);
        let mut buffer = BytesMut::new();
        let mut operations = Vec::new();
        for byte in STREAM {
            buffer.extend_from_slice(&[*byte]);
            operations.extend(next(&mut buffer).unwrap());
        }
        assert_eq!(operations, expected);
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"INFO {\r\n",
            b"MSG\r\n",
            b"MSG a\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 67108865\r\n",
            b"MSG a 1 1\r\nabc",
        ] {
            assert!(next(&mut BytesMut::from(text)).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(next(&mut BytesMut::from(&vec![b'x'; MAX_LINE][..])).is_err());
        assert_eq!(next(&mut BytesMut::from(&vec![b'x'; MAX_LINE - 1][..])), Ok(None));
    }

    #[test]
    fn subjects_have_words_without_white_space_and_wildcards_only_where_they_are_meant() {
        for (subject, publish, subscribe) in [
            ("sockeye.=2F.all", true, true),
            ("a.*", false, true),
            ("a.>", false, true),
            ("a*.b>", true, true),
            ("", false, false),
            ("a..b", false, false),
            (".a", false, false),
            ("a b", false, false),
            ("a\r\nPUB b 0", false, false),
        ] {
            assert_eq!((is_subject(subject, false), is_subject(subject, true)), (publish, subscribe), "{subject}");
        }
    }
}
