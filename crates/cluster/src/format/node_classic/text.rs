//! Replaces binary data by what `JSON.stringify` makes of a `Buffer`, for requests and answers that must be JSON.
use serde::ser::SerializeSeq;
use sockeye::{
    ArgsBuf,
    adapter::{RemoteHandshake, RemoteSocketData},
};
use sockeye_protocol::socketio::{Arguments, Map, Value};

use crate::{
    format::{EncodeError, cluster_message},
    message::{Answer, Body, Question},
};

/// The message without binary data; none if there was none.
pub(super) fn without_binary(body: &Body) -> Result<Option<Body>, EncodeError> {
    if !cluster_message::has_binary(body) {
        return Ok(None);
    }
    let mut body = body.clone();
    match &mut body {
        Body::ServerEvent { args, .. }
        | Body::Request { question: Question::ServerEvent { args, .. }, .. }
        | Body::Answer { answer: Answer::ServerEvent(args) | Answer::Ack(args), .. } => *args = arguments(args)?,
        Body::Answer { answer: Answer::Sockets(sockets), .. } => sockets.iter_mut().for_each(socket),
        _ => return Ok(None),
    }
    Ok(Some(body))
}

/// Each value as one argument.
struct Values(Vec<Value>);

impl Arguments for Values {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.0.iter().try_for_each(|value| seq.serialize_element(value))
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

fn arguments(args: &ArgsBuf) -> Result<ArgsBuf, EncodeError> {
    let mut values = Vec::with_capacity(args.as_args().len());
    for argument in args.as_args().iter() {
        let mut argument = argument.decode().map_err(|error| EncodeError::Arguments(error.into()))?;
        replace(&mut argument);
        values.push(argument);
    }
    ArgsBuf::new(&Values(values)).map_err(|error| EncodeError::Arguments(error.into()))
}

fn socket(socket: &mut RemoteSocketData) {
    let RemoteHandshake { headers, query, auth, .. } = &mut socket.handshake;
    [headers, query, auth, &mut socket.data].into_iter().for_each(replace);
}

fn replace(value: &mut Value) {
    match value {
        Value::Binary(bytes) => {
            let numbers = bytes.iter().map(|&byte| Value::from(u64::from(byte))).collect();
            let mut buffer = Map::new();
            buffer.insert("type".into(), Value::from("Buffer"));
            buffer.insert("data".into(), Value::Array(numbers));
            *value = Value::Object(buffer);
        }
        Value::Array(items) => items.iter_mut().for_each(replace),
        Value::Object(members) => members.values_mut().for_each(replace),
        _ => {}
    }
}
