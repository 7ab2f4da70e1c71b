//! Reads messages.
use std::sync::Arc;

use sockeye::{ArgsBuf, adapter::RoomNames};
use sockeye_protocol::socketio::{Args, Encoded};

use crate::{
    format::{
        DecodeError, Decoded,
        cluster_message::{self, MAX_DEPTH, NO_EVENT, names, request_id, target},
    },
    message::{Answer, Body, Message, Question, RequestId, ServerId, SocketCommand},
};

/// Reads `[uid, packet, opts]`. `channel` is `NAMESPACE#` or `NAMESPACE#ROOM#`.
pub(super) fn broadcast(channel: &str, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let message = Encoded::message_pack(payload, MAX_DEPTH);
    let message = message.map_err(|_| malformed("it is not one MessagePack value of an allowed depth"))?;
    let mut items = message.items().ok_or(malformed("it is not an array"))?.iter();
    let (Some(uid), Some(packet), Some(options)) = (items.next(), items.next(), items.next()) else {
        return Err(malformed("a broadcast has three parts"));
    };
    let namespace = match packet.get("nsp").filter(|namespace| !namespace.is_null()) {
        Some(namespace) => namespace.as_str().ok_or(malformed("the namespace is not text"))?,
        None => "/".into(),
    };
    if !channel.strip_prefix(&*namespace).is_some_and(|rest| rest.starts_with('#')) {
        return Ok(Decoded::Ignored("a broadcast in another namespace than its channel's"));
    }
    Ok(match cluster_message::broadcast(Some(packet), Some(options), None)? {
        Some(broadcast) => decoded(name(Some(uid)), &namespace, Body::Broadcast(broadcast)),
        None => Decoded::Ignored("a broadcast that is no event"),
    })
}

/// Reads a request.
pub(super) fn request(namespace: &str, request: Encoded<'_>) -> Result<Decoded, DecodeError> {
    let id = || request_id(request).ok_or(malformed("it names no request"));
    let options = request.get("opts").filter(|options| !options.is_null());
    let body = match number(request, "type").ok_or(malformed("it has no type"))? {
        0 => question(id()?, Question::SocketIds { rooms: names(request.get("rooms"))? }),
        1 => question(id()?, Question::Rooms),
        2..=4 if options.is_none() => question(id()?, of_socket(request)?),
        2 => Body::Join { target: target(options)?, rooms: rooms(request)? },
        3 => Body::Leave { target: target(options)?, rooms: rooms(request)? },
        4 => Body::Disconnect { target: target(options)?, close: close(request) },
        5 => question(id()?, Question::Sockets { target: target(options)? }),
        6 => {
            let data = request.get("data").and_then(|data| data.items());
            let (event, args) = data.and_then(|data| cluster_message::event(&data)).ok_or(NO_EVENT)?;
            match request_id(request) {
                Some(id) => question(id, Question::ServerEvent { event, args }),
                None => Body::ServerEvent { event, args },
            }
        }
        7 => match cluster_message::broadcast(request.get("packet"), options, Some(id()?))? {
            Some(broadcast) => Body::Broadcast(broadcast),
            None => return Ok(Decoded::Ignored("a broadcast that is no event")),
        },
        _ => return Ok(Decoded::Ignored("a request of an unknown type")),
    };
    Ok(decoded(name(request.get("uid")), namespace, body))
}

/// Reads an answer, which has a type only if it is to an event. Sockets are described or, for those that ask for ids, named.
pub(super) fn answer(namespace: &str, to: Option<ServerId>, answer: Encoded<'_>) -> Result<Decoded, DecodeError> {
    let request = request_id(answer).ok_or(malformed("it names no request"))?;
    let list = |name| answer.get(name).map(|list| list.items().ok_or(malformed("it lists nothing")));
    let body = match number(answer, "type") {
        Some(6) => Answer::ServerEvent(argument(answer.get("data"))),
        Some(8) => Answer::AckCount(number(answer, "clientCount").ok_or(malformed("it has no number of clients"))?),
        Some(9) => Answer::Ack(argument(answer.get("packet"))),
        _ => match (list("sockets").transpose()?, list("rooms").transpose()?) {
            (Some(sockets), _) if sockets.iter().next().is_some_and(|first| first.as_name().is_some()) => {
                Answer::SocketIds(texts(&sockets)?)
            }
            (Some(sockets), _) => Answer::Sockets(cluster_message::read_sockets(&sockets)?),
            (None, Some(rooms)) => Answer::Rooms(texts(&rooms)?),
            (None, None) => Answer::Done,
        },
    };
    Ok(decoded(name(answer.get("uid")), namespace, Body::Answer { request, to, answer: body }))
}

/// What old servers ask for one socket.
fn of_socket(request: Encoded<'_>) -> Result<Question, DecodeError> {
    let text = |name| request.get(name).and_then(|text| text.as_name()).map(|text| Arc::from(&*text));
    let socket = text("sid").ok_or(malformed("it does not say which sockets it reaches"))?;
    let room = || text("room").ok_or(malformed("it names no room"));
    let command = match number(request, "type") {
        Some(2) => SocketCommand::Join(room()?),
        Some(3) => SocketCommand::Leave(room()?),
        _ => SocketCommand::Disconnect { close: close(request) },
    };
    Ok(Question::OfSocket { socket, command })
}

fn rooms(request: Encoded<'_>) -> Result<RoomNames, DecodeError> {
    let rooms = request.get("rooms").filter(|rooms| !rooms.is_null());
    names(Some(rooms.ok_or(malformed("it names no rooms"))?))
}

fn close(request: Encoded<'_>) -> bool {
    request.get("close").and_then(|close| close.as_bool()).unwrap_or_default()
}

fn number(message: Encoded<'_>, name: &str) -> Option<u64> {
    message.get(name)?.as_number()?.as_u64()
}

fn name(uid: Option<Encoded<'_>>) -> Option<ServerId> {
    uid?.as_name().map(|uid| Arc::from(&*uid))
}

fn argument(value: Option<Encoded<'_>>) -> ArgsBuf {
    value.map(|value| value.as_args().to_owned()).unwrap_or_default()
}

fn texts(list: &Args<'_>) -> Result<Vec<String>, DecodeError> {
    let texts: Option<_> = list.iter().map(|text| Some(text.as_name()?.into_owned())).collect();
    texts.ok_or(malformed("a name is not text"))
}

fn question(id: RequestId, question: Question) -> Body {
    Body::Request { id, question }
}

fn decoded(sender: Option<ServerId>, namespace: &str, body: Body) -> Decoded {
    Decoded::Message(Message { sender, namespace: namespace.into(), body })
}

const fn malformed(why: &'static str) -> DecodeError {
    DecodeError::Malformed(why)
}
