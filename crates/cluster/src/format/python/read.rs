//! Reads messages of Python and Sockeye servers.
use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sockeye::{
    ArgsBuf,
    adapter::{RoomNames, Target},
};
use sockeye_protocol::socketio::{Args, Encoded, Limits, is_reserved};

use super::{settings::Generation, socket_id::is_socket_id};
use crate::{
    format::{DecodeError, Decoded, own},
    message::{AckRequest, Answer, Body, Broadcast, Message, RequestId, ServerId},
};

/// How deep a message may be nested, which `serde_json` allows in any case.
const MAX_DEPTH: usize = 120;

/// Reads a message that `server` has received.
pub(super) fn message(payload: &[u8], generation: Generation, server: &ServerId) -> Result<Decoded, DecodeError> {
    // A pickle of the protocols 2 to 5 begins so, and UTF-8 never does.
    if let [0x80, 2..=5, ..] = payload {
        return Err(DecodeError::Pickle);
    }
    let text = str::from_utf8(payload).map_err(|_| malformed("it is not UTF-8"))?;
    let message = Encoded::json(text, MAX_DEPTH).map_err(|_| malformed("it is not JSON of an allowed depth"))?;
    let fields = Fields::of(message)?;
    let method = fields.method.and_then(|method| method.as_str()).ok_or(malformed("it has no method"))?;
    if fields.extension.is_some_and(|extension| extension.as_bool() == Some(false)) {
        return Ok(Decoded::Ignored("it repeats a message for Python servers"));
    }
    let body = match &*method {
        "sockeye" => return fields.own_message(),
        "callback" => match fields.callback(server) {
            Some(body) => body,
            None => return Ok(Decoded::Ignored("an acknowledgement for another server")),
        },
        "emit" => match fields.broadcast(generation)? {
            Some(broadcast) => Body::Broadcast(broadcast),
            None => return Ok(Decoded::Ignored("an event for no room")),
        },
        "disconnect" | "enter_room" | "leave_room" => {
            let sid = name(fields.sid).ok_or(malformed("it names no socket"))?;
            if !is_socket_id(&sid) {
                // A Python server knows no such socket, but the name could be that of a room here.
                return Ok(Decoded::Ignored("a command for what is not the id of a socket"));
            }
            let target = target_of(sid);
            match &*method {
                "disconnect" => Body::Disconnect { target, close: fields.flag("close") },
                "enter_room" => Body::Join { target, rooms: fields.single_room()? },
                _ => Body::Leave { target, rooms: fields.single_room()? },
            }
        }
        "close_room" => {
            let rooms = fields.single_room()?;
            Body::Leave { target: Target { rooms: rooms.clone(), ..Target::default() }, rooms }
        }
        _ => return Ok(Decoded::Ignored("an unknown method")),
    };
    let namespace = fields.namespace.and_then(|namespace| namespace.as_str());
    let Some(namespace) = namespace.filter(|name| name.starts_with('/')) else {
        return Ok(Decoded::Ignored("a message for no namespace"));
    };
    let sender = match body {
        // The name in an acknowledgement is that of its recipient.
        Body::Answer { .. } => None,
        _ => fields.host_id.and_then(|host_id| host_id.as_str()).map(|host_id| Arc::from(&*host_id)),
    };
    Ok(Decoded::Message(Message { sender, namespace: Arc::from(&*namespace), body }))
}

/// The members of a message, still encoded. The last of several with the same name counts.
#[derive(Default)]
struct Fields<'a> {
    method: Option<Encoded<'a>>,
    event: Option<Encoded<'a>>,
    data: Option<Encoded<'a>>,
    binary: Option<Encoded<'a>>,
    namespace: Option<Encoded<'a>>,
    room: Option<Encoded<'a>>,
    skip_sid: Option<Encoded<'a>>,
    callback: Option<Encoded<'a>>,
    host_id: Option<Encoded<'a>>,
    sid: Option<Encoded<'a>>,
    id: Option<Encoded<'a>>,
    args: Option<Encoded<'a>>,
    message: Option<Encoded<'a>>,
    extension: Option<Encoded<'a>>,
}

impl<'a> Fields<'a> {
    fn of(message: Encoded<'a>) -> Result<Self, DecodeError> {
        let mut fields = Self::default();
        for (key, value) in message.members().ok_or(malformed("it is not an object"))? {
            let field = match &*key {
                "method" => &mut fields.method,
                "event" => &mut fields.event,
                "data" => &mut fields.data,
                "binary" => &mut fields.binary,
                "namespace" => &mut fields.namespace,
                "room" => &mut fields.room,
                "skip_sid" => &mut fields.skip_sid,
                "callback" => &mut fields.callback,
                "host_id" => &mut fields.host_id,
                "sid" => &mut fields.sid,
                "id" => &mut fields.id,
                "args" => &mut fields.args,
                "message" => &mut fields.message,
                "sockeye" => &mut fields.extension,
                _ => continue,
            };
            *field = Some(value);
        }
        Ok(fields)
    }

    fn own_message(&self) -> Result<Decoded, DecodeError> {
        let text = self.message.and_then(|message| message.as_str());
        let text = text.ok_or(malformed("it has no message of a Sockeye server"))?;
        own::from_bytes(&STANDARD.decode(&*text).map_err(|_| malformed("it is not base64"))?)
    }

    /// None if it is for no room.
    fn broadcast(&self, generation: Generation) -> Result<Option<Broadcast>, DecodeError> {
        let event = self.event.and_then(|event| event.as_str()).ok_or(malformed("it has no event"))?;
        if is_reserved(&event) {
            return Err(malformed("the event's name is reserved"));
        }
        let Some(rooms) = rooms(self.room)? else { return Ok(None) };
        let target = Target { rooms, except: skipped(self.skip_sid), local: false, volatile: self.flag("volatile") };
        let args = self.arguments(generation)?;
        Ok(Some(Broadcast { event: event.into(), args, target, acks: self.acks() }))
    }

    fn arguments(&self, generation: Generation) -> Result<ArgsBuf, DecodeError> {
        let data = self.data.ok_or(malformed("an event has no data"))?;
        let count = self.extension.and_then(|extension| extension.get("arguments")?.as_number()?.as_u64());
        if self.binary.and_then(|binary| binary.as_bool()) != Some(true) {
            return Ok(arguments(data, generation, count).to_owned());
        }
        let items = data.items().ok_or(malformed("binary data is not in a list"))?;
        let (data, items) = items.split_first().ok_or(malformed("binary data is an empty list"))?;
        let attachments: Option<Vec<Bytes>> = items.iter().map(attachment).collect();
        let attachments = attachments.ok_or(malformed("an attachment is not base64"))?;
        let data = data
            .with_attachments(&attachments, Limits::default().max_attachment_bytes)
            .map_err(|_| malformed("a placeholder names no attachment, or too many name the same"))?;
        Ok(arguments(data, generation, count).to_owned())
    }

    /// Asks for acknowledgements. Python servers ignore everything but lists of three items.
    fn acks(&self) -> Option<AckRequest> {
        let items = self.callback?.items().filter(|items| items.len() == 3)?;
        if let Some(extension) = self.extension.filter(|extension| extension.members().is_some()) {
            let id = items.iter().nth(2)?.as_str()?;
            let timeout_ms = extension.get("timeout").and_then(|timeout| timeout.as_number()?.as_u64());
            return Some(AckRequest { id: Arc::from(&*id), timeout_ms });
        }
        Some(AckRequest { id: triple(&items)?, timeout_ms: None })
    }

    /// The acknowledgement of a client of a Python server, if this server has asked for it.
    fn callback(&self, server: &ServerId) -> Option<Body> {
        let to = self.host_id?.as_str().filter(|to| **to == **server)?;
        let request: RequestId = Arc::from(&*self.id?.as_str()?);
        let args = self.args.and_then(|args| args.items()).unwrap_or(Args::EMPTY).to_owned();
        Some(Body::Answer { request, to: Some(Arc::from(&*to)), answer: Answer::UncountedAck(args) })
    }

    fn single_room(&self) -> Result<RoomNames, DecodeError> {
        let room = name(self.room).ok_or(malformed("it names no room"))?;
        Ok(std::iter::once(room).collect())
    }

    fn flag(&self, name: &str) -> bool {
        self.extension.and_then(|extension| extension.get(name)?.as_bool()).unwrap_or_default()
    }
}

/// Finds the arguments in `data`. A single `null` means no argument, unless a Sockeye server tells the number.
fn arguments<'a>(data: Encoded<'a>, generation: Generation, count: Option<u64>) -> Args<'a> {
    let items = data.items();
    let has_count = |args: &Args<'_>| count == u64::try_from(args.len()).ok();
    let args = match (generation, items) {
        (Generation::Third, Some(items)) => items,
        (Generation::Second, Some(items)) if items.len() > 1 && has_count(&items) => items,
        _ => data.as_args(),
    };
    let is_none = args.len() == 1 && args.iter().all(|argument| argument.is_null()) && !has_count(&args);
    if is_none { Args::EMPTY } else { args }
}

fn attachment(text: Encoded<'_>) -> Option<Bytes> {
    STANDARD.decode(&*text.as_str()?).ok().map(Bytes::from)
}

/// The rooms of an event: everybody if there are none. None for an empty list, which names nobody.
fn rooms(room: Option<Encoded<'_>>) -> Result<Option<RoomNames>, DecodeError> {
    let Some(room) = room.filter(|room| !room.is_null()) else { return Ok(Some(RoomNames::new())) };
    let names: Option<RoomNames> = match room.items() {
        Some(items) if items.is_empty() => return Ok(None),
        Some(items) => items.iter().map(|item| name(Some(item))).collect(),
        None => name(Some(room)).map(|name| std::iter::once(name).collect()),
    };
    names.map(Some).ok_or(malformed("the name of a room is neither text nor a number"))
}

/// The sockets that an event does not reach. What is not text is the id of no socket.
fn skipped(skip_sid: Option<Encoded<'_>>) -> RoomNames {
    match skip_sid {
        Some(skip_sid) => match skip_sid.items() {
            Some(items) => items.iter().filter_map(|item| name(Some(item))).collect(),
            None => name(Some(skip_sid)).into_iter().collect(),
        },
        None => RoomNames::new(),
    }
}

/// A name. A number means its text.
fn name(value: Option<Encoded<'_>>) -> Option<Arc<str>> {
    value?.as_name().map(|name| Arc::from(&*name))
}

fn target_of(socket: Arc<str>) -> Target {
    Target { rooms: std::iter::once(socket).collect(), ..Target::default() }
}

/// The text of a `callback`, which only its sender understands.
fn triple(items: &Args<'_>) -> Option<RequestId> {
    let items: Option<Vec<&str>> = (0..items.len()).map(|index| items.raw(index).map(|item| item.get())).collect();
    Some(format!("[{}]", items?.join(",")).into())
}

const fn malformed(why: &'static str) -> DecodeError {
    DecodeError::Malformed(why)
}
