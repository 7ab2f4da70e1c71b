use std::cell::Cell;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::ser::Formatter;

use super::arguments::Arguments;
use super::error::EncodeError;

/// Appends an event without the leading `4` of Engine.IO. Returns its attachments; send each as a binary message, in
/// this order, after the text.
///
/// `namespace` starts with `/` and holds no comma. `ack` is the acknowledgement id if the sender wants an answer, at
/// most 2^53.
///
/// # Errors
/// An argument has no JSON form. `out` is then unchanged.
pub fn encode_event(
    out: &mut Vec<u8>,
    namespace: &str,
    ack: Option<u64>,
    name: &str,
    args: &impl Arguments,
) -> Result<Vec<Bytes>, EncodeError> {
    append(out, |out| {
        let start = out.len();
        append_header(out, b'2', namespace, ack)?;
        let attachments = append_array(out, Some(name), args)?;
        announce_attachments(out, start, b'5', attachments.len())?;
        Ok(attachments)
    })
}

/// Appends a string as the last argument of the event at the end of `out`.
///
/// # Errors
/// None in practice: every string has a JSON form.
pub fn append_argument(out: &mut Vec<u8>, argument: &str) -> Result<(), EncodeError> {
    // An event's array is never empty, because it holds the name.
    out.pop_if(|last| *last == b']');
    out.push(b',');
    serde_json::to_writer(&mut *out, argument)?;
    out.push(b']');
    Ok(())
}

/// Appends the acknowledgement of the event with this `id`; otherwise like [`encode_event`].
///
/// # Errors
/// An argument has no JSON form. `out` is then unchanged.
pub fn encode_ack(
    out: &mut Vec<u8>,
    namespace: &str,
    id: u64,
    args: &impl Arguments,
) -> Result<Vec<Bytes>, EncodeError> {
    append(out, |out| {
        let start = out.len();
        append_header(out, b'3', namespace, Some(id))?;
        let attachments = append_array(out, None, args)?;
        announce_attachments(out, start, b'6', attachments.len())?;
        Ok(attachments)
    })
}

/// Appends the arguments as the elements of a JSON array, without brackets and separated by commas. Returns their
/// attachments, for which placeholders stand.
///
/// # Errors
/// An argument has no JSON form. `out` is then unchanged.
pub fn append_elements(out: &mut Vec<u8>, args: &impl Arguments) -> Result<Vec<Bytes>, EncodeError> {
    if let Some((elements, attachments)) = args.encoded().and_then(|args| args.as_json()) {
        out.extend_from_slice(elements.as_bytes());
        return Ok(attachments.to_vec());
    }
    append(out, |out| {
        let start = out.len();
        let attachments = append_array(out, None, args)?;
        out.pop_if(|last| *last == b']');
        out.splice(start..=start, None);
        Ok(attachments)
    })
}

/// Appends a connect packet. The payload must serialise to an object; binary data in it becomes an array of numbers.
///
/// # Errors
/// The payload has no JSON form. `out` is then unchanged.
pub fn encode_connect(
    out: &mut Vec<u8>,
    namespace: &str,
    payload: Option<&(impl Serialize + ?Sized)>,
) -> Result<(), EncodeError> {
    append(out, |out| {
        append_header(out, b'0', namespace, None)?;
        if let Some(payload) = payload {
            serde_json::to_writer(out, payload)?;
        }
        Ok(())
    })
}

/// Appends a connect error. The payload is an object, usually `{"message":…,"data":…}`; over Engine.IO 3 it is any JSON
/// value.
///
/// # Errors
/// The payload has no JSON form. `out` is then unchanged.
pub fn encode_connect_error(
    out: &mut Vec<u8>,
    namespace: &str,
    payload: &(impl Serialize + ?Sized),
) -> Result<(), EncodeError> {
    append(out, |out| {
        append_header(out, b'4', namespace, None)?;
        serde_json::to_writer(out, payload)?;
        Ok(())
    })
}

/// Appends a disconnect packet.
pub fn encode_disconnect(out: &mut Vec<u8>, namespace: &str) {
    out.push(b'1');
    append_namespace(out, namespace);
}

/// Encodes arguments as JSON elements without brackets.
pub(super) fn elements(args: &impl Arguments) -> Result<(Arc<str>, Vec<Bytes>), EncodeError> {
    // Taken out of the thread-local, because serialising runs user code, which may encode arguments, too.
    let mut out = BUFFER.take();
    out.clear();
    let encoded = append_array(&mut out, None, args).and_then(|attachments| {
        let text = str::from_utf8(&out).map_err(serde::ser::Error::custom).map_err(EncodeError::Json)?;
        let elements = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or_default();
        Ok((elements.into(), attachments))
    });
    if out.capacity() <= KEPT {
        BUFFER.set(out);
    }
    encoded
}

/// A buffer with a larger capacity is dropped after use.
const KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `write`. If `write` fails, removes what it wrote.
fn append<T>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<T, EncodeError>) -> Result<T, EncodeError> {
    let start = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append_header(out: &mut Vec<u8>, kind: u8, namespace: &str, id: Option<u64>) -> Result<(), EncodeError> {
    out.push(kind);
    append_namespace(out, namespace);
    if let Some(id) = id {
        serde_json::to_writer(out, &id)?;
    }
    Ok(())
}

fn append_namespace(out: &mut Vec<u8>, namespace: &str) {
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
}

fn append_array(out: &mut Vec<u8>, name: Option<&str>, args: &impl Arguments) -> Result<Vec<Bytes>, EncodeError> {
    if let Some((elements, attachments)) = args.encoded().and_then(|args| args.as_json()) {
        out.push(b'[');
        if let Some(name) = name {
            serde_json::to_writer(&mut *out, name)?;
            if !elements.is_empty() {
                out.push(b',');
            }
        }
        out.extend_from_slice(elements.as_bytes());
        out.push(b']');
        return Ok(attachments.to_vec());
    }
    let mut attachments = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(out, Placeholders { attachments: &mut attachments });
    let mut seq = serializer.serialize_seq(None)?;
    if let Some(name) = name {
        seq.serialize_element(name)?;
    }
    args.serialize_elements(&mut seq)?;
    SerializeSeq::end(seq)?;
    Ok(attachments)
}

/// Changes the header at `start`, which was written without attachments, to announce `count` of them.
fn announce_attachments(out: &mut Vec<u8>, start: usize, kind: u8, count: usize) -> Result<(), EncodeError> {
    if count == 0 {
        return Ok(());
    }
    let mut header = vec![kind];
    serde_json::to_writer(&mut header, &count)?;
    header.push(b'-');
    out.splice(start..=start, header);
    Ok(())
}

/// Writes a placeholder for each piece of binary data and collects the data.
struct Placeholders<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for Placeholders<'_> {
    fn write_byte_array<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        write!(writer, r#"{{"_placeholder":true,"num":{}}}"#, self.attachments.len())?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}
