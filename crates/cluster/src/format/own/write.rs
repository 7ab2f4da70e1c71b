//! Writes messages.
use sockeye::{
    ArgsBuf,
    adapter::{RoomNames, Target},
};
use sockeye_protocol::socketio::{self, Arguments, msgpack::Writer};

use crate::{
    format::EncodeError,
    message::{Answer, Body, Broadcast, Heartbeat, Message, Question},
};

/// The version of the format that this writes, and the only one that is read.
pub(super) const VERSION: u64 = 1;

type Written = Result<(), socketio::EncodeError>;

/// Writes `[version, sender, namespace, type, …]`.
pub(super) fn message(message: &Message) -> Result<Vec<u8>, EncodeError> {
    if matches!(message.body, Body::Request { question: Question::OfSocket { .. }, .. }) {
        return Err(EncodeError::Impossible("be asked for a single socket"));
    }
    let mut bytes = Vec::with_capacity(128);
    body(&mut Writer::new(&mut bytes), message).map_err(|error| EncodeError::Arguments(error.into()))?;
    Ok(bytes)
}

fn body(writer: &mut Writer<'_>, message: &Message) -> Written {
    match &message.body {
        Body::Broadcast(Broadcast { event, args, target: sockets, acks }) => {
            head(writer, message, 1, 4)?;
            target(writer, sockets)?;
            writer.value(&acks.as_ref().map(|acks| &*acks.id))?;
            writer.value(&acks.as_ref().and_then(|acks| acks.timeout_ms))?;
            named(writer, event, args)
        }
        Body::Join { target: sockets, rooms } => {
            head(writer, message, 2, 2)?;
            target(writer, sockets)?;
            names(writer, rooms)
        }
        Body::Leave { target: sockets, rooms } => {
            head(writer, message, 3, 2)?;
            target(writer, sockets)?;
            names(writer, rooms)
        }
        Body::Disconnect { target: sockets, close } => {
            head(writer, message, 4, 2)?;
            target(writer, sockets)?;
            writer.value(close)
        }
        Body::Request { id, question } => {
            head(writer, message, 5, 3)?;
            writer.string(id)?;
            match question {
                Question::Sockets { target: sockets } => {
                    writer.value(&0)?;
                    target(writer, sockets)
                }
                Question::SocketIds { rooms } => {
                    writer.value(&1)?;
                    names(writer, rooms)
                }
                Question::Rooms => {
                    writer.value(&2)?;
                    writer.value(&())
                }
                Question::Count { target: sockets } => {
                    writer.value(&3)?;
                    target(writer, sockets)
                }
                Question::ServerEvent { event, args } => {
                    writer.value(&4)?;
                    named(writer, event, args)
                }
                // Refused above.
                Question::OfSocket { .. } => Ok(()),
            }
        }
        Body::Answer { request, to, answer } => {
            head(writer, message, 6, 4)?;
            writer.string(request)?;
            writer.value(&to.as_deref())?;
            match answer {
                Answer::Sockets(sockets) => kind(writer, 0)?.value(sockets),
                Answer::SocketIds(ids) => kind(writer, 1)?.value(ids),
                Answer::Rooms(rooms) => kind(writer, 2)?.value(rooms),
                Answer::Count(count) => kind(writer, 3)?.value(count),
                Answer::ServerEvent(args) => arguments(kind(writer, 4)?, args),
                Answer::AckCount(count) => kind(writer, 5)?.value(count),
                Answer::Ack(args) | Answer::UncountedAck(args) => arguments(kind(writer, 6)?, args),
                Answer::Done => kind(writer, 7)?.value(&()),
            }
        }
        Body::ServerEvent { event, args } => {
            head(writer, message, 7, 1)?;
            named(writer, event, args)
        }
        Body::Heartbeat(heartbeat) => {
            head(writer, message, 8, 1)?;
            writer.value(&match heartbeat {
                Heartbeat::Started => 0,
                Heartbeat::Alive => 1,
                Heartbeat::Stopping => 2,
            })
        }
    }
}

/// The head of an array with this many fields after the type.
fn head(writer: &mut Writer<'_>, message: &Message, kind: u64, fields: usize) -> Written {
    writer.array_head(4 + fields)?;
    writer.value(&VERSION)?;
    writer.value(&message.sender.as_deref())?;
    writer.string(&message.namespace)?;
    writer.value(&kind)
}

fn kind<'a, 'b>(writer: &'a mut Writer<'b>, kind: u64) -> Result<&'a mut Writer<'b>, socketio::EncodeError> {
    writer.value(&kind)?;
    Ok(writer)
}

/// `[rooms, except, volatile]`
fn target(writer: &mut Writer<'_>, target: &Target) -> Written {
    writer.array_head(3)?;
    names(writer, &target.rooms)?;
    names(writer, &target.except)?;
    writer.value(&target.volatile)
}

fn names(writer: &mut Writer<'_>, names: &RoomNames) -> Written {
    writer.array_head(names.len())?;
    names.iter().try_for_each(|name| writer.string(name))
}

/// `[event, …arguments]`
fn named(writer: &mut Writer<'_>, event: &str, args: &ArgsBuf) -> Written {
    writer.array_head(1 + args.count())?;
    writer.string(event)?;
    writer.elements(args)
}

fn arguments(writer: &mut Writer<'_>, args: &ArgsBuf) -> Written {
    writer.array_head(args.count())?;
    writer.elements(args)
}
