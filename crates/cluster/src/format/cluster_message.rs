//! The messages of the `ClusterAdapter` of `socket.io-adapter` 2.5, which the sharded, streams and PostgreSQL adapters of
//! Node servers share: `{type, data, uid, nsp}`.
use std::sync::Arc;

use sockeye::{
    ArgsBuf,
    adapter::{RemoteSocketData, RoomNames, Target},
};
use sockeye_protocol::socketio::{Args, Encoded, is_reserved};

use super::{
    DecodeError, Decoded, EncodeError,
    document::{Document, Encoding},
    socket_data,
};
use crate::{
    message::{AckRequest, Answer, Body, Broadcast, Heartbeat, Message, Question, RequestId},
    sender::Sender,
};

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InitialHeartbeat = 1,
    Heartbeat,
    Broadcast,
    SocketsJoin,
    SocketsLeave,
    DisconnectSockets,
    FetchSockets,
    FetchSocketsResponse,
    ServerSideEmit,
    ServerSideEmitResponse,
    BroadcastClientCount,
    BroadcastAck,
    AdapterClose,
}

/// The sender of messages that no server has sent. No server takes it for one.
pub(super) const EMITTER: &str = "emitter";

/// What Sockeye servers add for each other.
const SENDER: &str = "sender";

/// How deep a message may be nested, which `serde_json` allows in any case.
pub(super) const MAX_DEPTH: usize = 120;

impl Kind {
    /// The type of the message that says this.
    pub(super) fn of(body: &Body) -> Result<Self, EncodeError> {
        Ok(match body {
            Body::Broadcast(_) => Self::Broadcast,
            Body::Join { .. } => Self::SocketsJoin,
            Body::Leave { .. } => Self::SocketsLeave,
            Body::Disconnect { .. } => Self::DisconnectSockets,
            Body::Request { question: Question::Sockets { .. }, .. } => Self::FetchSockets,
            Body::ServerEvent { event, .. } | Body::Request { question: Question::ServerEvent { event, .. }, .. } => {
                refuse_reserved(event)?;
                Self::ServerSideEmit
            }
            Body::Request { .. } => return Err(EncodeError::Impossible("answer this question")),
            Body::Answer { answer, .. } => match answer {
                Answer::Sockets(_) => Self::FetchSocketsResponse,
                Answer::ServerEvent(_) => Self::ServerSideEmitResponse,
                Answer::AckCount(_) => Self::BroadcastClientCount,
                Answer::Ack(_) => Self::BroadcastAck,
                Answer::SocketIds(_) | Answer::Rooms(_) | Answer::Count(_) | Answer::UncountedAck(_) | Answer::Done => {
                    return Err(EncodeError::Impossible("take this answer"));
                }
            },
            Body::Heartbeat(Heartbeat::Started) => Self::InitialHeartbeat,
            Body::Heartbeat(Heartbeat::Alive) => Self::Heartbeat,
            Body::Heartbeat(Heartbeat::Stopping) => Self::AdapterClose,
        })
    }

    /// Its number.
    pub(super) const fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::InitialHeartbeat,
            2 => Self::Heartbeat,
            3 => Self::Broadcast,
            4 => Self::SocketsJoin,
            5 => Self::SocketsLeave,
            6 => Self::DisconnectSockets,
            7 => Self::FetchSockets,
            8 => Self::FetchSocketsResponse,
            9 => Self::ServerSideEmit,
            10 => Self::ServerSideEmitResponse,
            11 => Self::BroadcastClientCount,
            12 => Self::BroadcastAck,
            13 => Self::AdapterClose,
            _ => return None,
        })
    }
}

/// Whether JSON cannot hold the message.
pub(super) fn has_binary(body: &Body) -> bool {
    match body {
        Body::Broadcast(Broadcast { args, .. })
        | Body::ServerEvent { args, .. }
        | Body::Request { question: Question::ServerEvent { args, .. }, .. }
        | Body::Answer { answer: Answer::ServerEvent(args) | Answer::Ack(args), .. } => args.as_args().has_binary(),
        Body::Answer { answer: Answer::Sockets(sockets), .. } => sockets.iter().any(socket_data::has_binary),
        _ => false,
    }
}

/// Writes the whole message.
pub(super) fn write(message: &Message, encoding: Encoding) -> Result<Document, EncodeError> {
    write_from(sender(message), None, message, encoding)
}

/// Writes the whole message for servers that count their peers by `uid`: that is the name of the server alone, and how
/// this server names the sender, if it is different, stands beside it.
pub(super) fn write_counted(message: &Message, encoding: Encoding) -> Result<Document, EncodeError> {
    let sender = sender(message);
    let name = counted(sender);
    write_from(name, (name != sender).then_some(sender), message, encoding)
}

/// The name of the server alone.
pub(super) fn counted(sender: &str) -> &str {
    Sender::parse(sender).name
}

fn write_from(uid: &str, sender: Option<&str>, message: &Message, encoding: Encoding) -> Result<Document, EncodeError> {
    let kind = Kind::of(&message.body)?;
    let mut out = Document::new(encoding, capacity(&message.body));
    out.map(3 + usize::from(has_data(kind)) + usize::from(sender.is_some()))?;
    out.key("type")?;
    out.value(&kind.number())?;
    if has_data(kind) {
        out.key("data")?;
        append_data(&mut out, &message.body)?;
    }
    out.key("uid")?;
    out.string(uid)?;
    out.key("nsp")?;
    out.string(&message.namespace)?;
    if let Some(sender) = sender {
        out.key(SENDER)?;
        out.string(sender)?;
    }
    out.end_map();
    Ok(out)
}

/// Writes the `data` of the message alone. A message that has none writes nothing.
pub(super) fn write_data(body: &Body, encoding: Encoding) -> Result<Document, EncodeError> {
    let mut out = Document::new(encoding, capacity(body));
    append_data(&mut out, body)?;
    Ok(out)
}

/// Who sends the message. Node servers take messages without sender for their own.
pub(super) fn sender(message: &Message) -> &str {
    message.sender.as_deref().unwrap_or(EMITTER)
}

/// Checks what has arrived: JSON if it starts like an object, else MessagePack.
pub(super) fn parse(payload: &[u8]) -> Result<Encoded<'_>, DecodeError> {
    if payload.first() == Some(&b'{') {
        let text = str::from_utf8(payload).map_err(|_| DecodeError::Malformed("it is not UTF-8"))?;
        Encoded::json(text, MAX_DEPTH).map_err(|_| DecodeError::Malformed("it is not JSON of an allowed depth"))
    } else {
        Encoded::message_pack(payload, MAX_DEPTH)
            .map_err(|_| DecodeError::Malformed("it is neither a JSON object nor MessagePack of an allowed depth"))
    }
}

/// Reads a whole message. `namespace` is the one of a message that does not name it.
pub(super) fn read(message: Encoded<'_>, namespace: Option<&str>) -> Result<Decoded, DecodeError> {
    let kind = message.get("type").and_then(|kind| kind.as_number()?.as_u64());
    let kind = kind.ok_or(DecodeError::Malformed("it has no type"))?;
    let text = |name| message.get(name).and_then(|text| text.as_str());
    let sender = text(SENDER).or_else(|| text("uid"));
    let named = text("nsp");
    let namespace = named.as_deref().or(namespace).ok_or(DecodeError::Malformed("it has no namespace"))?;
    read_parts(kind, sender.as_deref(), namespace, message.get("data"))
}

/// Reads a message whose members came apart from each other.
pub(super) fn read_parts(
    kind: u64,
    sender: Option<&str>,
    namespace: &str,
    data: Option<Encoded<'_>>,
) -> Result<Decoded, DecodeError> {
    let Some(kind) = Kind::from_number(kind) else { return Ok(Decoded::Ignored("a message of an unknown type")) };
    let data = Data(data);
    let body = match kind {
        Kind::InitialHeartbeat => Body::Heartbeat(Heartbeat::Started),
        Kind::Heartbeat => Body::Heartbeat(Heartbeat::Alive),
        Kind::AdapterClose => Body::Heartbeat(Heartbeat::Stopping),
        Kind::Broadcast => match data.broadcast()? {
            Some(broadcast) => Body::Broadcast(broadcast),
            None => return Ok(Decoded::Ignored("a broadcast that is no event")),
        },
        Kind::SocketsJoin => Body::Join { target: data.target()?, rooms: data.rooms()? },
        Kind::SocketsLeave => Body::Leave { target: data.target()?, rooms: data.rooms()? },
        Kind::DisconnectSockets => Body::Disconnect {
            target: data.target()?,
            close: data.get("close").and_then(|close| close.as_bool()).unwrap_or_default(),
        },
        Kind::FetchSockets => {
            Body::Request { id: data.required_request()?, question: Question::Sockets { target: data.target()? } }
        }
        Kind::ServerSideEmit => {
            let packet = data.get("packet").and_then(|packet| packet.items());
            let (event, args) = packet.and_then(|packet| event(&packet)).ok_or(NO_EVENT)?;
            match data.request() {
                Some(id) => Body::Request { id, question: Question::ServerEvent { event, args } },
                None => Body::ServerEvent { event, args },
            }
        }
        Kind::FetchSocketsResponse => data.answer(Answer::Sockets(data.sockets()?))?,
        Kind::ServerSideEmitResponse => data.answer(Answer::ServerEvent(data.argument()))?,
        Kind::BroadcastAck => data.answer(Answer::Ack(data.argument()))?,
        Kind::BroadcastClientCount => {
            let count = data.get("clientCount").and_then(|count| count.as_number()?.as_u64());
            data.answer(Answer::AckCount(count.ok_or(DecodeError::Malformed("it has no number of clients"))?))?
        }
    };
    Ok(Decoded::Message(Message { sender: sender.map(Arc::from), namespace: namespace.into(), body }))
}

/// Why a message without an event is refused.
pub(super) const NO_EVENT: DecodeError = DecodeError::Malformed("it has no event");

/// Node servers emit these names to their namespaces themselves, or, if nobody listens to `error`, end.
pub(super) fn refuse_reserved(event: &str) -> Result<(), EncodeError> {
    match event {
        "connect" | "connection" | "new_namespace" => {
            Err(EncodeError::Impossible("receive a server event of a reserved name"))
        }
        "error" => Err(EncodeError::Impossible(
            "receive a server event named `error`, which ends a Node server that has no handler for it",
        )),
        _ => Ok(()),
    }
}

fn has_data(kind: Kind) -> bool {
    !matches!(kind, Kind::InitialHeartbeat | Kind::Heartbeat | Kind::AdapterClose)
}

/// About how many bytes the message takes.
fn capacity(body: &Body) -> usize {
    let args = match body {
        Body::Broadcast(Broadcast { args, .. })
        | Body::ServerEvent { args, .. }
        | Body::Request { question: Question::ServerEvent { args, .. }, .. }
        | Body::Answer { answer: Answer::ServerEvent(args) | Answer::Ack(args), .. } => args.encoded_len(),
        _ => 0,
    };
    args + 192
}

fn append_data(out: &mut Document, body: &Body) -> Result<(), EncodeError> {
    match body {
        Body::Broadcast(Broadcast { event, args, target, acks }) => {
            out.map(2 + usize::from(acks.is_some()))?;
            out.key("packet")?;
            out.map(2)?;
            out.key("type")?;
            out.value(&2)?;
            out.key("data")?;
            out.event(event, args)?;
            out.end_map();
            if let Some(AckRequest { id, .. }) = acks {
                out.key("requestId")?;
                out.string(id)?;
            }
            append_options(out, target, acks.as_ref().and_then(|acks| acks.timeout_ms))?;
        }
        Body::Join { target, rooms } | Body::Leave { target, rooms } => {
            out.map(2)?;
            append_options(out, target, None)?;
            out.key("rooms")?;
            out.strings(rooms)?;
        }
        Body::Disconnect { target, close } => {
            out.map(2)?;
            append_options(out, target, None)?;
            out.key("close")?;
            out.value(close)?;
        }
        Body::Request { id, question: Question::Sockets { target } } => {
            out.map(2)?;
            append_options(out, target, None)?;
            out.key("requestId")?;
            out.string(id)?;
        }
        Body::Request { id, question: Question::ServerEvent { event, args } } => {
            out.map(2)?;
            out.key("requestId")?;
            out.string(id)?;
            out.key("packet")?;
            out.event(event, args)?;
        }
        Body::ServerEvent { event, args } => {
            out.map(1)?;
            out.key("packet")?;
            out.event(event, args)?;
        }
        Body::Answer { request, answer, .. } => return append_answer(out, request, answer),
        // Heartbeats have no data, and `Kind::of` has refused what is left.
        Body::Heartbeat(_) | Body::Request { .. } => return Ok(()),
    }
    out.end_map();
    Ok(())
}

fn append_answer(out: &mut Document, request: &str, answer: &Answer) -> Result<(), EncodeError> {
    let packet = match answer {
        Answer::Ack(args) | Answer::ServerEvent(args) => args.as_args().iter().next(),
        _ => None,
    };
    let has_second = packet.is_some() || matches!(answer, Answer::Sockets(_) | Answer::AckCount(_));
    out.map(1 + usize::from(has_second))?;
    out.key("requestId")?;
    out.string(request)?;
    match answer {
        Answer::Sockets(sockets) => {
            out.key("sockets")?;
            out.value(sockets)?;
        }
        Answer::AckCount(count) => {
            out.key("clientCount")?;
            out.value(count)?;
        }
        _ => {
            // An acknowledgement without argument is `undefined`, which JavaScript leaves out. A second argument has no place.
            if let Some(packet) = packet {
                out.key("packet")?;
                out.value(&packet)?;
            }
        }
    }
    out.end_map();
    Ok(())
}

fn append_options(out: &mut Document, target: &Target, timeout_ms: Option<u64>) -> Result<(), EncodeError> {
    out.key("opts")?;
    out.map(3)?;
    out.key("rooms")?;
    out.strings(&target.rooms)?;
    out.key("except")?;
    out.strings(&target.except)?;
    append_flags(out, target, timeout_ms)?;
    out.end_map();
    Ok(())
}

/// Writes the member `flags`, alike in all formats of Node servers.
pub(super) fn append_flags(out: &mut Document, target: &Target, timeout_ms: Option<u64>) -> Result<(), EncodeError> {
    out.key("flags")?;
    out.map(usize::from(target.volatile) + usize::from(timeout_ms.is_some()))?;
    if target.volatile {
        out.key("volatile")?;
        out.value(&true)?;
    }
    if let Some(timeout) = timeout_ms {
        out.key("timeout")?;
        out.value(&timeout)?;
    }
    out.end_map();
    Ok(())
}

/// The `data` of a message that was received.
#[derive(Clone, Copy)]
struct Data<'a>(Option<Encoded<'a>>);

impl<'a> Data<'a> {
    fn get(self, name: &str) -> Option<Encoded<'a>> {
        self.0?.get(name)
    }

    fn broadcast(self) -> Result<Option<Broadcast>, DecodeError> {
        broadcast(self.get("packet"), self.get("opts"), self.request())
    }

    fn target(self) -> Result<Target, DecodeError> {
        target(self.get("opts"))
    }

    fn rooms(self) -> Result<RoomNames, DecodeError> {
        names(self.get("rooms"))
    }

    fn request(self) -> Option<RequestId> {
        request_id(self.0?)
    }

    fn required_request(self) -> Result<RequestId, DecodeError> {
        self.request().ok_or(DecodeError::Malformed("it names no request"))
    }

    fn answer(self, answer: Answer) -> Result<Body, DecodeError> {
        Ok(Body::Answer { request: self.required_request()?, to: None, answer })
    }

    fn argument(self) -> ArgsBuf {
        self.get("packet").map(|packet| packet.as_args().to_owned()).unwrap_or_default()
    }

    fn sockets(self) -> Result<Vec<RemoteSocketData>, DecodeError> {
        let sockets = self.get("sockets").and_then(|sockets| sockets.items());
        read_sockets(&sockets.ok_or(DecodeError::Malformed("it lists no sockets"))?)
    }
}

/// Reads an event for clients: its packet, its options, and the request that acknowledgements answer. None if the packet is
/// no event.
pub(super) fn broadcast(
    packet: Option<Encoded<'_>>,
    options: Option<Encoded<'_>>,
    request: Option<RequestId>,
) -> Result<Option<Broadcast>, DecodeError> {
    let packet = packet.ok_or(DecodeError::Malformed("a broadcast has no packet"))?;
    // 2 is an event, and 5 one with attachments, which are in place here.
    let kind = packet.get("type").and_then(|kind| kind.as_number()?.as_u64());
    if !matches!(kind, Some(2 | 5)) {
        return Ok(None);
    }
    let elements = packet.get("data").and_then(|data| data.items());
    let (event, args) = elements.and_then(|elements| event(&elements)).ok_or(NO_EVENT)?;
    if is_reserved(&event) {
        return Err(DecodeError::Malformed("the event's name is reserved"));
    }
    let acks = request.map(|id| {
        let flags = options.and_then(|options| options.get("flags"));
        AckRequest { id, timeout_ms: flags.and_then(|flags| flags.get("timeout")?.as_number()?.as_u64()) }
    });
    Ok(Some(Broadcast { event, args, target: target(options)?, acks }))
}

/// Reads which sockets a message reaches.
pub(super) fn target(options: Option<Encoded<'_>>) -> Result<Target, DecodeError> {
    // Anything else than an object must not be taken for one without rooms, which means everybody.
    let options = options.filter(|options| options.members().is_some());
    let options = options.ok_or(DecodeError::Malformed("it does not say which sockets it reaches"))?;
    let flags = options.get("flags");
    let volatile = flags.and_then(|flags| flags.get("volatile")?.as_bool()).unwrap_or_default();
    Ok(Target { rooms: names(options.get("rooms"))?, except: names(options.get("except"))?, local: false, volatile })
}

/// The request that a message is, or that it answers.
pub(super) fn request_id(message: Encoded<'_>) -> Option<RequestId> {
    message.get("requestId")?.as_name().map(|id| Arc::from(&*id))
}

/// Reads descriptions of sockets.
pub(super) fn read_sockets(sockets: &Args<'_>) -> Result<Vec<RemoteSocketData>, DecodeError> {
    let sockets: Option<_> = sockets.iter().map(socket_data::read).collect();
    sockets.ok_or(DecodeError::Malformed("a socket has no id"))
}

/// The names in a list, which may be missing. A program that names rooms by numbers means their text.
pub(super) fn names(list: Option<Encoded<'_>>) -> Result<RoomNames, DecodeError> {
    let Some(list) = list.filter(|list| !list.is_null()) else { return Ok(RoomNames::new()) };
    let names = list.items().ok_or(DecodeError::Malformed("rooms are not in an array"))?;
    let names: Option<_> = names.iter().map(|name| Some(Arc::from(&*name.as_name()?))).collect();
    names.ok_or(DecodeError::Malformed("the name of a room is not text"))
}

/// The name of an event and its arguments.
pub(super) fn event(elements: &Args<'_>) -> Option<(Arc<str>, ArgsBuf)> {
    let (name, args) = elements.split_first()?;
    Some((Arc::from(&*name.as_name()?), args.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(text: &str) -> Result<Decoded, DecodeError> {
        read(parse(text.as_bytes())?, None)
    }

    fn message(text: &str) -> Message {
        match read_json(text) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn written(message: &Message, encoding: Encoding) -> Vec<u8> {
        write(message, encoding).unwrap().into_bytes().to_vec()
    }

    const OPTS: &str = r#""opts":{"rooms":["r"],"except":[],"flags":{}}"#;

    #[test]
    fn every_type_is_read_and_written_as_it_was_in_both_encodings() {
        let handshake = r#"{"headers":{"a":"b"},"time":"t","address":"::1","xdomain":false,"secure":true,"issued":1795197884800,"url":"/","query":{"EIO":"4"},"auth":{}}"#;
        for (kind, data) in [
            (1, None),
            (2, None),
            (3, Some(format!(r#"{{"packet":{{"type":2,"data":["e",1.5,{{"a":[null]}}]}},{OPTS}}}"#))),
            (3, Some(format!(r#"{{"packet":{{"type":2,"data":["e"]}},"requestId":"q",{OPTS}}}"#))),
            (4, Some(format!(r#"{{{OPTS},"rooms":["r2","r3"]}}"#))),
            (5, Some(format!(r#"{{{OPTS},"rooms":["r2"]}}"#))),
            (6, Some(format!(r#"{{{OPTS},"close":true}}"#))),
            (7, Some(format!(r#"{{{OPTS},"requestId":"q"}}"#))),
            (
                8,
                Some(format!(
                    r#"{{"requestId":"q","sockets":[{{"id":"i","handshake":{handshake},"rooms":["i"],"data":{{"n":1}}}}]}}"#
                )),
            ),
            (9, Some(r#"{"packet":["srv",1]}"#.into())),
            (9, Some(r#"{"requestId":"q","packet":["srv",1]}"#.into())),
            (10, Some(r#"{"requestId":"q","packet":"pong1"}"#.into())),
            (10, Some(r#"{"requestId":"q"}"#.into())),
            (11, Some(r#"{"requestId":"q","clientCount":70000}"#.into())),
            (12, Some(r#"{"requestId":"q","packet":["answer",null]}"#.into())),
            (13, None),
        ] {
            let data = data.map(|data| format!(r#""data":{data},"#)).unwrap_or_default();
            let text = format!(r#"{{"type":{kind},{data}"uid":"u","nsp":"/n"}}"#);
            let first = message(&text);
            assert_eq!(String::from_utf8(written(&first, Encoding::Json)).unwrap(), text);
            let packed = written(&first, Encoding::MessagePack);
            let Ok(Decoded::Message(second)) = read(parse(&packed).unwrap(), None) else { panic!("{packed:02x?}") };
            assert_eq!(String::from_utf8(written(&second, Encoding::Json)).unwrap(), text);
        }
    }

    #[test]
    fn an_emitter_that_leaves_out_what_is_empty_is_understood() {
        let text = r#"{"type":3,"data":{"packet":{"type":5,"data":[7],"nsp":"/"},"opts":{"rooms":[1,"b"],"flags":null}},"nsp":"/"}"#;
        let Message { sender: None, body: Body::Broadcast(broadcast), .. } = message(text) else { panic!() };
        assert_eq!((&*broadcast.event, broadcast.args.as_args().len()), ("7", 0));
        assert_eq!(broadcast.target.rooms[..], ["1", "b"].map(std::sync::Arc::<str>::from));
        assert!(broadcast.target.except.is_empty() && !broadcast.target.volatile);
    }

    #[test]
    fn flags_and_the_time_for_acknowledgements_are_kept() {
        let text = r#"{"type":3,"data":{"packet":{"type":2,"data":["e"]},"requestId":"q","opts":{"rooms":[],"except":["x"],"flags":{"volatile":true,"timeout":500}}},"uid":"u","nsp":"/"}"#;
        let message = message(text);
        assert_eq!(String::from_utf8(written(&message, Encoding::Json)).unwrap(), text);
        let Body::Broadcast(Broadcast { acks: Some(acks), target, .. }) = message.body else { panic!() };
        assert_eq!((acks.timeout_ms, target.volatile), (Some(500), true));
    }

    #[test]
    fn what_is_malformed_is_refused_and_what_is_unknown_is_ignored() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"type":"3","nsp":"/"}"#,
            r#"{"type":2}"#,
            r#"{"type":3,"nsp":"/"}"#,
            r#"{"type":3,"nsp":"/","data":null}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":[]},"opts":{}}}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":[{}]},"opts":{}}}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":["connect"]},"opts":{}}}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":["e"]}}}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":["e"]},"opts":null}}"#,
            r#"{"type":4,"nsp":"/","data":{"opts":["r"],"rooms":["r"]}}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":["e"]},"opts":{"rooms":"r"}}}"#,
            r#"{"type":4,"nsp":"/","data":{"opts":{},"rooms":[[]]}}"#,
            r#"{"type":7,"nsp":"/","data":{"opts":{}}}"#,
            r#"{"type":8,"nsp":"/","data":{"requestId":"q","sockets":[{}]}}"#,
            r#"{"type":9,"nsp":"/","data":{"packet":"e"}}"#,
            r#"{"type":11,"nsp":"/","data":{"requestId":"q","clientCount":-1}}"#,
            r#"{"type":12,"nsp":"/","data":{"packet":1}}"#,
        ] {
            assert!(matches!(read_json(text), Err(DecodeError::Malformed(_))), "{text}: {:?}", read_json(text));
        }
        for text in [
            r#"{"type":14,"nsp":"/"}"#,
            r#"{"type":0,"nsp":"/","data":{}}"#,
            r#"{"type":3,"nsp":"/","data":{"packet":{"type":0}}}"#,
        ] {
            assert!(matches!(read_json(text), Ok(Decoded::Ignored(_))), "{text}");
        }
    }

    #[test]
    fn a_name_that_would_end_a_node_server_is_not_written() {
        for event in ["error", "connection", "connect", "new_namespace"] {
            let args = ArgsBuf::default();
            for body in [
                Body::ServerEvent { event: event.into(), args: args.clone() },
                Body::Request { id: "q".into(), question: Question::ServerEvent { event: event.into(), args } },
            ] {
                let message = Message { sender: None, namespace: "/".into(), body };
                assert!(matches!(write(&message, Encoding::Json), Err(EncodeError::Impossible(_))), "{event}");
            }
        }
    }

    #[test]
    fn a_message_without_sender_gets_the_one_of_emitters() {
        let body = Body::ServerEvent { event: "e".into(), args: ArgsBuf::default() };
        let message = Message { sender: None, namespace: "/".into(), body };
        let expected = r#"{"type":9,"data":{"packet":["e"]},"uid":"emitter","nsp":"/"}"#;
        assert_eq!(String::from_utf8(written(&message, Encoding::Json)).unwrap(), expected);
    }
}
