//! Writes messages, with the members in the order in which the Node packages write them.
use bytes::Bytes;
use sockeye::{ArgsBuf, adapter::Target};

use crate::{
    format::{
        EncodeError,
        cluster_message::{EMITTER, append_flags, refuse_reserved},
        document::{Document, Encoding},
    },
    message::{AckRequest, Answer, Body, Broadcast, Message, Question, SocketCommand},
};

type Written = Result<(), EncodeError>;

/// Writes `[uid, packet, opts]`: exactly that, since anything else on these channels ends Node servers.
pub(super) fn broadcast(message: &Message, broadcast: &Broadcast) -> Result<Bytes, EncodeError> {
    let Broadcast { event, args, target, .. } = broadcast;
    let sender = message.sender.as_deref().unwrap_or(EMITTER);
    let mut out = Document::new(Encoding::MessagePack, 128 + args.encoded_len());
    out.array(3)?;
    out.string(sender)?;
    packet(&mut out, &message.namespace, event, args)?;
    out.map(3)?;
    out.key("rooms")?;
    out.strings(&target.rooms)?;
    // The emitters have another order than the servers.
    if sender == EMITTER {
        append_flags(&mut out, target, None)?;
        except(&mut out, target)?;
    } else {
        except(&mut out, target)?;
        append_flags(&mut out, target, None)?;
    }
    out.end_map();
    out.end_array();
    Ok(out.into_bytes())
}

/// Writes a request. Node servers end if a member is missing that its type should have.
pub(super) fn request(message: &Message, encoding: Encoding) -> Result<Bytes, EncodeError> {
    let sender = message.sender.as_deref();
    // The emitters name themselves only in events.
    let commander = sender.filter(|sender| *sender != EMITTER);
    let mut out = Document::new(encoding, 256);
    match &message.body {
        Body::Broadcast(Broadcast { event, args, target, acks: Some(AckRequest { id, timeout_ms }) }) => {
            head(&mut out, sender, Some(id), 7, 2)?;
            out.key("packet")?;
            packet(&mut out, &message.namespace, event, args)?;
            out.key("opts")?;
            out.map(3)?;
            out.key("rooms")?;
            out.strings(&target.rooms)?;
            except(&mut out, target)?;
            append_flags(&mut out, target, *timeout_ms)?;
            out.end_map();
        }
        Body::Join { target, rooms } => {
            head(&mut out, commander, None, 2, 2)?;
            options(&mut out, target)?;
            out.key("rooms")?;
            out.strings(rooms)?;
        }
        Body::Leave { target, rooms } => {
            head(&mut out, commander, None, 3, 2)?;
            options(&mut out, target)?;
            out.key("rooms")?;
            out.strings(rooms)?;
        }
        Body::Disconnect { target, close } => {
            head(&mut out, commander, None, 4, 2)?;
            options(&mut out, target)?;
            out.key("close")?;
            out.value(close)?;
        }
        Body::ServerEvent { event, args } => {
            refuse_reserved(event)?;
            head(&mut out, Some(sender.unwrap_or(EMITTER)), None, 6, 1)?;
            out.key("data")?;
            out.event(event, args)?;
        }
        Body::Request { id, question } => ask(&mut out, sender, id, question)?,
        Body::Broadcast(_) | Body::Answer { .. } | Body::Heartbeat(_) => {
            return Err(EncodeError::Impossible("take this as a request"));
        }
    }
    out.end_map();
    Ok(out.into_bytes())
}

/// Writes an answer. Lists name the sender, too, so that a Sockeye server that gets them by two buses counts them once; no
/// Node server reads that.
pub(super) fn answer(
    sender: Option<&str>,
    request: &str,
    answer: &Answer,
    encoding: Encoding,
) -> Result<Bytes, EncodeError> {
    let mut out = Document::new(encoding, 256);
    match answer {
        Answer::Sockets(sockets) => {
            out.map(2 + usize::from(sender.is_some()))?;
            request_id(&mut out, request)?;
            out.key("sockets")?;
            out.value(sockets)?;
            uid(&mut out, sender)?;
        }
        Answer::SocketIds(ids) => {
            out.map(2 + usize::from(sender.is_some()))?;
            request_id(&mut out, request)?;
            out.key("sockets")?;
            out.strings(ids)?;
            uid(&mut out, sender)?;
        }
        Answer::Rooms(rooms) => {
            out.map(2 + usize::from(sender.is_some()))?;
            request_id(&mut out, request)?;
            out.key("rooms")?;
            out.strings(rooms)?;
            uid(&mut out, sender)?;
        }
        Answer::ServerEvent(args) => {
            typed(&mut out, 6, request, args.as_args().len())?;
            argument(&mut out, "data", args)?;
        }
        Answer::AckCount(count) => {
            typed(&mut out, 8, request, 1)?;
            out.key("clientCount")?;
            out.value(count)?;
        }
        Answer::Ack(args) => {
            typed(&mut out, 9, request, args.as_args().len())?;
            argument(&mut out, "packet", args)?;
        }
        Answer::Done => {
            out.map(1)?;
            request_id(&mut out, request)?;
        }
        Answer::Count(_) | Answer::UncountedAck(_) => return Err(EncodeError::Impossible("take this answer")),
    }
    out.end_map();
    Ok(out.into_bytes())
}

fn ask(out: &mut Document, sender: Option<&str>, id: &str, question: &Question) -> Written {
    match question {
        Question::SocketIds { rooms } => {
            head(out, sender, Some(id), 0, 1)?;
            out.key("rooms")?;
            out.strings(rooms)
        }
        // There is no question for a number alone. That for ids knows no rooms to leave out.
        Question::Count { target: Target { rooms, except, .. } } if except.is_empty() => {
            ask(out, sender, id, &Question::SocketIds { rooms: rooms.clone() })
        }
        Question::Count { target } | Question::Sockets { target } => {
            head(out, sender, Some(id), 5, 1)?;
            options(out, target)
        }
        Question::Rooms => head(out, sender, Some(id), 1, 0),
        Question::ServerEvent { event, args } => {
            refuse_reserved(event)?;
            head(out, sender, Some(id), 6, 1)?;
            out.key("data")?;
            out.event(event, args)
        }
        Question::OfSocket { socket, command } => {
            let kind = match command {
                SocketCommand::Join(_) => 2,
                SocketCommand::Leave(_) => 3,
                SocketCommand::Disconnect { .. } => 4,
            };
            head(out, sender, Some(id), kind, 2)?;
            out.key("sid")?;
            out.string(socket)?;
            match command {
                SocketCommand::Join(room) | SocketCommand::Leave(room) => {
                    out.key("room")?;
                    out.string(room)
                }
                SocketCommand::Disconnect { close } => {
                    out.key("close")?;
                    out.value(close)
                }
            }
        }
    }
}

/// Opens a request with this many members after its type.
fn head(out: &mut Document, sender: Option<&str>, id: Option<&str>, kind: u8, members: usize) -> Written {
    out.map(1 + usize::from(sender.is_some()) + usize::from(id.is_some()) + members)?;
    uid(out, sender)?;
    if let Some(id) = id {
        request_id(out, id)?;
    }
    out.key("type")?;
    out.value(&kind)
}

/// Opens an answer of a type, with as many as one member after the request.
fn typed(out: &mut Document, kind: u8, request: &str, members: usize) -> Written {
    out.map(2 + members.min(1))?;
    out.key("type")?;
    out.value(&kind)?;
    request_id(out, request)
}

/// Writes the first argument. If there is none it is `undefined`, which JavaScript leaves out; others have no place.
fn argument(out: &mut Document, name: &str, args: &ArgsBuf) -> Written {
    let Some(argument) = args.as_args().iter().next() else { return Ok(()) };
    out.key(name)?;
    out.value(&argument)
}

fn uid(out: &mut Document, sender: Option<&str>) -> Written {
    let Some(sender) = sender else { return Ok(()) };
    out.key("uid")?;
    out.string(sender)
}

fn request_id(out: &mut Document, id: &str) -> Written {
    out.key("requestId")?;
    out.string(id)
}

fn packet(out: &mut Document, namespace: &str, event: &str, args: &ArgsBuf) -> Written {
    out.map(3)?;
    out.key("type")?;
    out.value(&2)?;
    out.key("data")?;
    out.event(event, args)?;
    out.key("nsp")?;
    out.string(namespace)?;
    out.end_map();
    Ok(())
}

fn options(out: &mut Document, target: &Target) -> Written {
    out.key("opts")?;
    out.map(2)?;
    out.key("rooms")?;
    out.strings(&target.rooms)?;
    except(out, target)?;
    out.end_map();
    Ok(())
}

fn except(out: &mut Document, target: &Target) -> Written {
    out.key("except")?;
    out.strings(&target.except)
}
