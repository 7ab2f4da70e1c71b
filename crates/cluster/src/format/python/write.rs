//! Writes messages for Python and Sockeye servers.
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::value::RawValue;
use sockeye::{
    ArgsBuf,
    adapter::{RoomNames, Target},
    log_throttled,
};
use sockeye_protocol::socketio::Value;

use super::{
    settings::{ExceptRooms, Generation, PythonSettings},
    socket_id::is_socket_id,
};
use crate::{
    format::{
        EncodeError,
        document::{Document, Encoding},
        own,
    },
    message::{Answer, Body, Broadcast, Message},
};

/// The messages that say this, in their order.
///
/// What Python's words say exactly is one message. Everything else is one message for Sockeye servers, and what Python's
/// words can say of it in messages that Sockeye servers skip.
pub(super) fn message(message: &Message, settings: &PythonSettings) -> Result<Vec<Bytes>, EncodeError> {
    match &message.body {
        Body::Broadcast(broadcast) => {
            if settings.except_rooms == ExceptRooms::Withhold
                && let Some(room) = broadcast.target.except.iter().find(|name| !is_socket_id(name))
            {
                log_throttled!(
                    warn,
                    &broadcast.event,
                    event = &*broadcast.event,
                    room = &**room,
                    "an event is not sent to Python servers, because they cannot except the members of a room: set except_rooms to send it to these, too"
                );
                return Ok(vec![own_message(message)?]);
            }
            Ok(vec![emit(message, broadcast, settings.generation)?])
        }
        Body::Join { target, rooms } => commands(message, target, None, |sockets| {
            product(sockets, rooms).map(|(sid, room)| Command::EnterRoom { sid, room }).collect()
        }),
        Body::Leave { target, rooms } => {
            let closed = if target.rooms == *rooms { closed_rooms(rooms) } else { Vec::new() };
            let is_complete = closed.len() == rooms.len();
            commands(message, target, None, |sockets| {
                let left = product(sockets, rooms).map(|(sid, room)| Command::LeaveRoom { sid, room });
                closed.into_iter().chain(left.filter(|_| !is_complete)).collect()
            })
        }
        Body::Disconnect { target, close } => {
            let extension = close.then_some(Extension { close: true, ..Extension::default() });
            commands(message, target, extension, |sockets| {
                sockets.iter().map(|sid| Command::Disconnect { sid }).collect()
            })
        }
        Body::Answer { request, to, answer } if is_python_request(request) => match (answer, to) {
            (Answer::Ack(args) | Answer::UncountedAck(args), Some(to)) => Ok(vec![callback(request, to, args)?]),
            // Python servers do not count clients, and without name they cannot be answered.
            _ => Ok(Vec::new()),
        },
        _ => Ok(vec![own_message(message)?]),
    }
}

/// What is added to a message of Python's for Sockeye servers. Python servers ignore it.
#[derive(Default)]
struct Extension {
    /// The number of arguments, if they cannot be told from `data`.
    arguments: Option<usize>,
    /// Whether a socket that is not ready to receive misses the event.
    volatile: bool,
    /// Whether acknowledgements go to a Sockeye server, and for how many milliseconds.
    acks: Option<Option<u64>>,
    /// Whether to close the connection, too.
    close: bool,
}

/// A command that Python servers know.
enum Command<'a> {
    EnterRoom { sid: &'a str, room: &'a str },
    LeaveRoom { sid: &'a str, room: &'a str },
    CloseRoom { room: &'a str },
    Disconnect { sid: &'a str },
}

/// JSON, unlike MessagePack, does not need to know how many items or members follow.
const ANY: usize = 0;

/// The key of what Python servers ignore.
const EXTENSION: &str = "sockeye";

fn emit(message: &Message, broadcast: &Broadcast, generation: Generation) -> Result<Bytes, EncodeError> {
    let Broadcast { event, args, target, acks } = broadcast;
    let mut out = Document::new(Encoding::Json, args.encoded_len() + 256);
    out.map(ANY)?;
    out.key("method")?;
    out.string("emit")?;
    out.key("event")?;
    out.string(event)?;
    out.key("data")?;
    let is_binary = args.as_args().has_binary();
    append_data(&mut out, args, generation)?;
    out.key("binary")?;
    out.value(&is_binary)?;
    out.key("namespace")?;
    out.string(&message.namespace)?;
    out.key("room")?;
    append_names(&mut out, &target.rooms)?;
    out.key("skip_sid")?;
    append_names(&mut out, &target.except)?;
    out.key("callback")?;
    out.value(&acks.as_ref().map(|acks| (None::<()>, &*message.namespace, &*acks.id)))?;
    append_sender(&mut out, message)?;
    let extension = Extension {
        arguments: unclear_count(args, generation),
        volatile: target.volatile,
        acks: acks.as_ref().map(|acks| acks.timeout_ms),
        close: false,
    };
    if extension.arguments.is_some() || extension.volatile || extension.acks.is_some() {
        append_extension(&mut out, &extension)?;
    }
    out.end_map();
    Ok(out.into_bytes())
}

/// Writes arguments as Python servers do: in the third generation as a list, in the second without a list if it is one. With
/// binary data, that is the first item of another list, and the attachments follow.
fn append_data(out: &mut Document, args: &ArgsBuf, generation: Generation) -> Result<(), EncodeError> {
    let is_binary = args.as_args().has_binary();
    if is_binary {
        out.array(ANY)?;
    }
    let attachments = match (generation, args.as_args().len()) {
        (Generation::Second, 0) => {
            out.value(&())?;
            Vec::new()
        }
        (Generation::Second, 1) => out.json_elements(args)?,
        _ => {
            out.array(ANY)?;
            let attachments = out.json_elements(args)?;
            out.end_array();
            attachments
        }
    };
    if is_binary {
        attachments.iter().try_for_each(|attachment| out.string(&STANDARD.encode(attachment)))?;
        out.end_array();
    }
    Ok(())
}

/// The number of arguments, if a reader would find another one in `data`.
fn unclear_count(args: &ArgsBuf, generation: Generation) -> Option<usize> {
    let args = args.as_args();
    let is_unclear = match args.len() {
        0 => false,
        1 => args.iter().all(|argument| argument.is_null()),
        _ => generation == Generation::Second,
    };
    is_unclear.then(|| args.len())
}

fn callback(triple: &str, to: &str, args: &ArgsBuf) -> Result<Bytes, EncodeError> {
    let triple: Vec<&RawValue> = serde_json::from_str(triple).map_err(arguments)?;
    let mut out = Document::new(Encoding::Json, args.encoded_len() + 192);
    out.map(ANY)?;
    out.key("method")?;
    out.string("callback")?;
    out.key("host_id")?;
    out.string(to)?;
    for (key, value) in ["sid", "namespace", "id"].into_iter().zip(triple) {
        out.key(key)?;
        out.value(value)?;
    }
    out.key("args")?;
    if args.as_args().has_binary() {
        let mut values: Vec<Value> = args.as_args().all().map_err(arguments)?;
        values.iter_mut().for_each(replace_binary);
        out.value(&values)?;
    } else {
        out.array(ANY)?;
        out.json_elements(args)?;
        out.end_array();
    }
    out.end_map();
    Ok(out.into_bytes())
}

/// Replaces binary data by its base64, because a Python server has no place for attachments in an acknowledgement.
fn replace_binary(value: &mut Value) {
    match value {
        Value::Binary(bytes) => *value = Value::String(STANDARD.encode(bytes)),
        Value::Array(items) => items.iter_mut().for_each(replace_binary),
        Value::Object(members) => members.values_mut().for_each(replace_binary),
        _ => {}
    }
}

/// The commands for sockets that `of` makes of their ids, as far as Python's words can say what `message` says.
fn commands<'a>(
    message: &Message,
    target: &'a Target,
    extension: Option<Extension>,
    of: impl FnOnce(&[&'a str]) -> Vec<Command<'a>>,
) -> Result<Vec<Bytes>, EncodeError> {
    if !target.except.is_empty() {
        return Ok(vec![own_message(message)?]);
    }
    let sockets: Vec<&str> = target.rooms.iter().map(|name| &**name).filter(|name| is_socket_id(name)).collect();
    let commands = of(&sockets);
    if let [only] = commands.as_slice()
        && is_all(&message.body, only)
    {
        let extension = extension.as_ref().map_or(Addition::Nothing, Addition::Extension);
        return Ok(vec![command(message, only, extension)?]);
    }
    let mut messages = vec![own_message(message)?];
    for only in &commands {
        messages.push(command(message, only, Addition::OnlyForPython)?);
    }
    Ok(messages)
}

/// Whether the command is all that the message says.
fn is_all(body: &Body, command: &Command<'_>) -> bool {
    match (body, command) {
        (Body::Leave { rooms, .. }, Command::CloseRoom { .. }) => rooms.len() == 1,
        (Body::Join { target, rooms } | Body::Leave { target, rooms }, _) => {
            target.rooms.len() == 1 && rooms.len() == 1
        }
        (Body::Disconnect { target, .. }, _) => target.rooms.len() == 1,
        _ => false,
    }
}

/// What a command carries besides Python's words.
enum Addition<'a> {
    Nothing,
    Extension(&'a Extension),
    /// Sockeye servers skip it.
    OnlyForPython,
}

fn command(message: &Message, command: &Command<'_>, addition: Addition<'_>) -> Result<Bytes, EncodeError> {
    let (method, sid, room) = match *command {
        Command::EnterRoom { sid, room } => ("enter_room", Some(sid), Some(room)),
        Command::LeaveRoom { sid, room } => ("leave_room", Some(sid), Some(room)),
        Command::CloseRoom { room } => ("close_room", None, Some(room)),
        Command::Disconnect { sid } => ("disconnect", Some(sid), None),
    };
    let mut out = Document::new(Encoding::Json, 192);
    out.map(ANY)?;
    out.key("method")?;
    out.string(method)?;
    for (key, value) in [("sid", sid), ("room", room), ("namespace", Some(&*message.namespace))] {
        if let Some(value) = value {
            out.key(key)?;
            out.string(value)?;
        }
    }
    append_sender(&mut out, message)?;
    match addition {
        Addition::Nothing => {}
        Addition::Extension(extension) => append_extension(&mut out, extension)?,
        Addition::OnlyForPython => {
            out.key(EXTENSION)?;
            out.value(&false)?;
        }
    }
    out.end_map();
    Ok(out.into_bytes())
}

/// A message that only Sockeye servers read.
fn own_message(message: &Message) -> Result<Bytes, EncodeError> {
    let text = STANDARD.encode(own::to_bytes(message)?);
    let mut out = Document::new(Encoding::Json, text.len() + 32);
    out.map(ANY)?;
    out.key("method")?;
    out.string(EXTENSION)?;
    out.key("message")?;
    out.string(&text)?;
    out.end_map();
    Ok(out.into_bytes())
}

fn append_sender(out: &mut Document, message: &Message) -> Result<(), EncodeError> {
    let Some(sender) = &message.sender else { return Ok(()) };
    out.key("host_id")?;
    out.string(sender)
}

fn append_extension(out: &mut Document, extension: &Extension) -> Result<(), EncodeError> {
    out.key(EXTENSION)?;
    out.map(ANY)?;
    if let Some(count) = extension.arguments {
        out.key("arguments")?;
        out.value(&count)?;
    }
    if extension.volatile {
        out.key("volatile")?;
        out.value(&true)?;
    }
    if let Some(timeout) = extension.acks {
        out.key("timeout")?;
        out.value(&timeout)?;
    }
    if extension.close {
        out.key("close")?;
        out.value(&true)?;
    }
    out.end_map();
    Ok(())
}

/// Writes names as Python servers do. Never an empty list, for which their code fails.
fn append_names(out: &mut Document, names: &RoomNames) -> Result<(), EncodeError> {
    match names.as_slice() {
        [] => out.value(&()),
        [name] => out.string(name),
        names => out.strings(names),
    }
}

/// The commands that make all members of these rooms leave them. Python servers refuse to close the rooms of sockets.
fn closed_rooms(rooms: &RoomNames) -> Vec<Command<'_>> {
    rooms.iter().filter(|room| !is_socket_id(room)).map(|room| Command::CloseRoom { room }).collect()
}

fn product<'a>(sockets: &[&'a str], rooms: &'a RoomNames) -> impl Iterator<Item = (&'a str, &'a str)> {
    sockets.iter().flat_map(|sid| rooms.iter().map(|room| (*sid, &**room)))
}

/// Whether a request was made by a Python server: it is the text of its `callback`, a list. Names of requests of Sockeye
/// servers do not begin so.
fn is_python_request(request: &str) -> bool {
    request.starts_with('[')
}

fn arguments(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EncodeError {
    EncodeError::Arguments(error.into())
}
