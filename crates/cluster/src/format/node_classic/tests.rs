use std::sync::Arc;

use sockeye::{ArgsBuf, adapter::RoomNames};
use sockeye_protocol::socketio::{Date, Value};

use super::*;
use crate::message::{AckRequest, Heartbeat, Question, SocketCommand};

/// What the packages publish.
const CAPTURED: &str = include_str!("../../../tests/captured/node_classic.txt");

fn captured() -> impl Iterator<Item = (bool, &'static str, Vec<u8>)> {
    CAPTURED.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap();
        (next() == "=", next(), bytes_of(next()))
    })
}

fn bytes_of(text: &str) -> Vec<u8> {
    let Some(digits) = text.strip_prefix("hex:") else { return text.into() };
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn format(settings: ClassicSettings) -> NodeClassic {
    let mut format = NodeClassic::new(settings);
    format.set_server(&"us".into());
    format
}

fn with_old_servers() -> NodeClassic {
    format(ClassicSettings { forbids_acks: true, ..ClassicSettings::default() })
}

fn read(format: &NodeClassic, channel: &str, payload: &[u8]) -> Result<Decoded, DecodeError> {
    format.decode(&Received::Published { channel, payload })
}

fn message(format: &NodeClassic, channel: &str, payload: &[u8]) -> Message {
    match read(format, channel, payload) {
        Ok(Decoded::Message(message)) => message,
        other => panic!("{channel} {}: {other:?}", String::from_utf8_lossy(payload)),
    }
}

fn written(format: &NodeClassic, message: &Message) -> (String, Bytes) {
    let publications = format.encode(message).unwrap();
    match &publications[..] {
        [Publication::Publish { channel, payload }] => (channel.clone(), payload.clone()),
        other => panic!("{other:?}"),
    }
}

fn text(format: &NodeClassic, body: Body) -> (String, String) {
    let (channel, payload) = written(format, &Message { sender: Some("s".into()), namespace: "/n".into(), body });
    (channel, String::from_utf8(payload.into()).unwrap())
}

fn rooms(names: &[&str]) -> RoomNames {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn target(names: &[&str], except: &[&str]) -> Target {
    Target { rooms: rooms(names), except: rooms(except), ..Target::default() }
}

fn answer(answer: Answer) -> Body {
    Body::Answer { request: "q".into(), to: None, answer }
}

fn request(question: Question) -> Body {
    Body::Request { id: "q".into(), question }
}

fn broadcast(target: Target, args: &ArgsBuf, acks: Option<AckRequest>) -> Body {
    Body::Broadcast(Broadcast { event: "e".into(), args: args.clone(), target, acks })
}

/// Every message that has a form in this format.
fn bodies() -> Vec<Body> {
    let args = ArgsBuf::new(&(1, "two", Bytes::from_static(&[3]), [1.5])).unwrap();
    let of_socket = |command| request(Question::OfSocket { socket: "i".into(), command });
    let acks = AckRequest { id: "q".into(), timeout_ms: Some(5_000) };
    vec![
        broadcast(target(&[], &["x"]), &args, None),
        broadcast(Target { volatile: true, ..target(&["a"], &[]) }, &args, None),
        broadcast(target(&["a", "b"], &[]), &ArgsBuf::default(), None),
        broadcast(target(&["a"], &["x", "y"]), &args, Some(acks.clone())),
        broadcast(target(&[], &[]), &args, Some(AckRequest { timeout_ms: None, ..acks })),
        Body::Join { target: target(&["a"], &["x"]), rooms: rooms(&["b"]) },
        Body::Leave { target: target(&[], &[]), rooms: rooms(&["b", "c"]) },
        Body::Disconnect { target: target(&["a"], &[]), close: false },
        request(Question::Sockets { target: target(&["a"], &["x"]) }),
        request(Question::SocketIds { rooms: rooms(&["a"]) }),
        request(Question::Rooms),
        request(Question::ServerEvent { event: "e".into(), args: args.clone() }),
        of_socket(SocketCommand::Join("r".into())),
        of_socket(SocketCommand::Leave("r".into())),
        of_socket(SocketCommand::Disconnect { close: true }),
        answer(Answer::Sockets(Vec::new())),
        answer(Answer::SocketIds(vec!["i".into()])),
        answer(Answer::Rooms(vec!["r".into()])),
        answer(Answer::ServerEvent(ArgsBuf::new(&Bytes::from_static(&[3])).unwrap())),
        answer(Answer::ServerEvent(ArgsBuf::default())),
        answer(Answer::AckCount(70_000)),
        answer(Answer::Ack(ArgsBuf::new(&Bytes::from_static(&[3])).unwrap())),
        answer(Answer::Ack(ArgsBuf::default())),
        answer(Answer::Done),
        Body::ServerEvent { event: "e".into(), args },
    ]
}

#[test]
fn captured_messages_are_read_and_published_again_as_they_were() {
    let format = format(ClassicSettings::default());
    let mut count = 0;
    for (is_same, channel, payload) in captured() {
        let message = message(&format, channel, &payload);
        let (channel_again, payload_again) = written(&format, &message);
        assert_eq!(channel_again, channel);
        assert_eq!(payload_again == payload, is_same, "{channel} {payload:02x?}\n{payload_again:02x?}");
        count += 1;
    }
    assert_eq!(count, 46);
}

#[test]
fn captured_messages_that_are_cut_or_followed_by_more_are_refused() {
    let format = format(ClassicSettings::default());
    for (_, channel, payload) in captured() {
        for length in 0..payload.len() {
            let read = read(&format, channel, &payload[..length]);
            assert!(matches!(read, Err(DecodeError::Malformed(_))), "{:02x?}: {read:?}", &payload[..length]);
        }
        assert!(read(&format, channel, &[&payload[..], b"\xc0"].concat()).is_err());
    }
}

#[test]
fn a_captured_compress_flag_is_not_passed_on_and_the_rest_is() {
    let format = format(ClassicSettings::default());
    let (_, channel, payload) = captured().find(|(is_same, ..)| !is_same).unwrap();
    let message = message(&format, channel, &payload);
    let Body::Broadcast(Broadcast { args, target, acks: None, .. }) = &message.body else { panic!() };
    assert_eq!((target.volatile, &*target.rooms, &*target.except), (true, &*rooms(&["r1", "r2"]), &*rooms(&["r3"])));
    assert_eq!(args.as_args().get::<i64>(2).unwrap(), 300);
    // A flag less: the map has one member, and ends before the name of the other.
    let mut expected = payload.clone();
    expected.truncate(payload.len() - b"\xa8compress\xc2".len());
    let flags = expected.len() - b"\xa8volatile\xc3".len() - 1;
    expected[flags] = 0x81;
    assert_eq!(written(&format, &message), (channel.into(), expected.into()));
}

#[test]
fn the_old_emitter_is_understood_and_answered_in_the_form_of_the_new_one() {
    let format = format(ClassicSettings::default());
    let mut old = captured().filter(|(is_same, ..)| !is_same).skip(1);
    let mut next = || {
        let (_, channel, payload) = old.next().unwrap();
        message(&format, channel, &payload)
    };
    let Message { sender, body: Body::Broadcast(first), .. } = next() else { panic!() };
    assert_eq!(
        (sender.as_deref(), &*first.event, &*first.target.rooms),
        (Some("emitter"), "hello", &*rooms(&["room1"]))
    );
    assert!(first.target.except.is_empty());
    assert!(first.args.as_args().get::<Option<u8>>(0).unwrap().is_none(), "undefined");
    let date = first.args.as_args().get::<Value>(1).unwrap();
    assert!(matches!(date, Value::Date(date) if date == Date::from_unix_milliseconds(1_400_000_000_000)), "{date:?}");
    let Body::Broadcast(second) = next().body else { panic!() };
    assert_eq!((&*second.target.rooms, second.target.volatile), (&*rooms(&["7", "b"]), true));
    let Message { namespace, body: Body::Broadcast(third), .. } = next() else { panic!() };
    assert_eq!((&*namespace, third.args.as_args().get::<Bytes>(0).unwrap()), ("/chat", Bytes::from_static(&[1])));
}

#[test]
fn every_message_is_read_as_it_was_written() {
    let specific = format(ClassicSettings { specific_responses: true, prefix: "p*".into(), ..Default::default() });
    for format in [format(ClassicSettings::default()), specific, with_old_servers()] {
        for body in bodies() {
            let first = Message { sender: Some("s".into()), namespace: "/n".into(), body };
            let (channel, payload) = written(&format, &first);
            let second = message(&format, &channel, &payload);
            assert_eq!(second.namespace, first.namespace);
            let is_named = !matches!(first.body, Body::Answer { .. }) || second.sender.is_some();
            assert_eq!(second.sender.as_deref(), is_named.then_some("s"));
            let again = Message { sender: first.sender.clone(), ..second };
            assert_eq!(written(&format, &again), (channel, payload), "{first:?}");
        }
    }
}

#[test]
fn nothing_of_message_pack_goes_to_requests_and_answers_while_there_are_old_servers() {
    let format = with_old_servers();
    assert_eq!(format.abilities().acks, Acks::None);
    for body in bodies() {
        let message = Message { sender: Some("s".into()), namespace: "/n".into(), body };
        let (channel, payload) = written(&format, &message);
        let is_broadcast = matches!(message.body, Body::Broadcast(_));
        assert_eq!(channel.starts_with("socket.io#/n#"), is_broadcast, "{message:?}");
        match is_broadcast {
            true => assert_eq!(payload[0], 0x93),
            false => assert_eq!(payload[0], b'{', "{message:?}"),
        }
    }
    let args = ArgsBuf::new(&([Bytes::from_static(&[1, 255])], 2)).unwrap();
    let (_, event) = text(&format, Body::ServerEvent { event: "e".into(), args: args.clone() });
    assert_eq!(event, r#"{"uid":"s","type":6,"data":["e",[{"type":"Buffer","data":[1,255]}],2]}"#);
    let (_, answer) = text(&format, answer(Answer::ServerEvent(args)));
    assert_eq!(answer, r#"{"type":6,"requestId":"q","data":[{"type":"Buffer","data":[1,255]}]}"#);
}

#[test]
fn binary_data_of_sockets_stays_binary_unless_there_are_old_servers() {
    let json = r#"{"requestId":"q","sockets":[{"id":"i","handshake":{},"rooms":["i"],"data":{"a":[0]}}]}"#;
    let format = format(ClassicSettings::default());
    let mut message = message(&format, "socket.io-response#/#", json.as_bytes());
    let Body::Answer { answer: Answer::Sockets(sockets), .. } = &mut message.body else { panic!("{message:?}") };
    sockets[0].data = Value::Array(vec![Value::Binary(Bytes::from_static(&[7, 8]))]);
    let (_, payload) = written(&format, &message);
    assert!(payload[0] == 0x82 && payload.windows(4).any(|bytes| bytes == b"\xc4\x02\x07\x08"), "{payload:02x?}");
    let (_, payload) = written(&with_old_servers(), &message);
    let payload = String::from_utf8(payload.into()).unwrap();
    assert!(payload.ends_with(r#""rooms":["i"],"data":[{"type":"Buffer","data":[7,8]}]}]}"#), "{payload}");
}

#[test]
fn sockets_are_counted_by_their_ids_or_if_rooms_are_left_out_by_their_descriptions() {
    let format = format(ClassicSettings::default());
    let ask = |target| text(&format, request(Question::Count { target }));
    let channel = "socket.io-request#/n#".to_owned();
    let ids = r#"{"uid":"s","requestId":"q","type":0,"rooms":["a"]}"#.to_owned();
    assert_eq!(ask(target(&["a"], &[])), (channel.clone(), ids));
    let fetch = r#"{"uid":"s","requestId":"q","type":5,"opts":{"rooms":["a"],"except":["x"]}}"#.to_owned();
    assert_eq!(ask(target(&["a"], &["x"])), (channel, fetch));
}

#[test]
fn only_the_first_argument_of_an_answer_is_written() {
    let format = format(ClassicSettings::default());
    let args = ArgsBuf::new(&("first", "second")).unwrap();
    let (_, event) = text(&format, answer(Answer::ServerEvent(args.clone())));
    assert_eq!(event, r#"{"type":6,"requestId":"q","data":"first"}"#);
    let message = Message { sender: Some("s".into()), namespace: "/n".into(), body: answer(Answer::Ack(args)) };
    assert_eq!(written(&format, &message).1, b"\x83\xa4type\x09\xa9requestId\xa1q\xa6packet\xa5first"[..]);
}

#[test]
fn lists_name_the_server_that_answers() {
    let format = format(ClassicSettings::default());
    let (_, rooms) = text(&format, answer(Answer::Rooms(vec!["r".into()])));
    assert_eq!(rooms, r#"{"requestId":"q","rooms":["r"],"uid":"s"}"#);
}

#[test]
fn answers_go_to_one_server_by_a_setting_but_those_to_events_to_all() {
    let specific = format(ClassicSettings { specific_responses: true, ..ClassicSettings::default() });
    let to = |answer| Body::Answer { request: "q".into(), to: Some("us".into()), answer };
    let server_event = to(Answer::ServerEvent(ArgsBuf::default()));
    for (format, body, expected) in [
        (&specific, to(Answer::AckCount(1)), "socket.io-response#/n#us#"),
        (&specific, answer(Answer::AckCount(1)), "socket.io-response#/n#"),
        (&specific, server_event, "socket.io-response#/n#"),
        (&format(ClassicSettings::default()), to(Answer::AckCount(1)), "socket.io-response#/n#"),
    ] {
        let (channel, payload) = text(format, body);
        assert_eq!(channel, expected);
        let message = message(format, &channel, payload.as_bytes());
        let Body::Answer { to, .. } = message.body else { panic!() };
        assert_eq!((to.is_some(), &*message.namespace), (expected.ends_with("us#"), "/n"));
    }
}

#[test]
fn a_message_without_sender_gets_what_emitters_write() {
    let format = format(ClassicSettings::default());
    let write = |sender: Option<&str>, body| {
        let message = Message { sender: sender.map(Arc::from), namespace: "/".into(), body };
        String::from_utf8_lossy(&written(&format, &message).1).into_owned()
    };
    for sender in [None, Some("emitter")] {
        let event = Body::ServerEvent { event: "e".into(), args: ArgsBuf::default() };
        assert_eq!(write(sender, event), r#"{"uid":"emitter","type":6,"data":["e"]}"#);
        let join = Body::Join { target: target(&[], &[]), rooms: rooms(&["r"]) };
        assert_eq!(write(sender, join), r#"{"type":2,"opts":{"rooms":[],"except":[]},"rooms":["r"]}"#);
        let all = broadcast(target(&[], &[]), &ArgsBuf::default(), None);
        let written = write(sender, all);
        assert!(written.contains("emitter") && written.ends_with("except\u{fffd}"), "{written}");
    }
}

#[test]
fn channels_are_subscribed_once_each_and_patterns_hold_no_wildcards_of_names() {
    let format = format(ClassicSettings { prefix: "a[b]*".into(), ..ClassicSettings::default() });
    let channels = ["a[b]*#/n?#", "a[b]*-request#/n?#", "a[b]*-response#/n?#", "a[b]*-response#/n?#us#"];
    assert_eq!(format.subscriptions("/n?"), channels.map(|channel| Subscription::Channel(channel.into())));
    assert_eq!(format.request_channel("/n?").as_deref(), Some("a[b]*-request#/n?#"));
    assert_eq!(format.room_subscription("/n?", "r*"), Some(Subscription::Channel("a[b]*#/n?#r*#".into())));
    let pattern = Subscription::Pattern(r"a\[b\]\*#/n\?#?*".into());
    assert_eq!(format.every_room_subscription("/n?"), Some(pattern));
    let body = Body::Heartbeat(Heartbeat::Alive);
    assert_eq!(format.encode(&Message { sender: None, namespace: "/".into(), body }).unwrap(), []);
}

#[test]
fn a_broadcast_counts_only_in_the_namespace_of_its_channel() {
    let format = format(ClassicSettings::default());
    let (_, _, payload) = captured().next().unwrap();
    for (channel, is_read) in [
        ("socket.io#/#", true),
        ("socket.io#/#any#", true),
        ("socket.io#/chat#", false),
        ("socket.io#/chat#/#", false),
        ("socket.io#", false),
        ("other#/#", false),
    ] {
        let read = read(&format, channel, &payload).unwrap();
        assert_eq!(matches!(read, Decoded::Message(_)), is_read, "{channel}: {read:?}");
        assert!(is_read || matches!(read, Decoded::Ignored(_)));
    }
    assert!(matches!(read(&format, "socket.io#/#", b"\x93\xa1u\xc0\x80"), Ok(Decoded::Ignored(_))), "no packet");
    // A namespace may have a separator in its name.
    let first = Message { sender: None, namespace: "/a#b".into(), body: bodies().remove(1) };
    let (channel, payload) = written(&format, &first);
    assert_eq!((&*channel, &*message(&format, &channel, &payload).namespace), ("socket.io#/a#b#a#", "/a#b"));
    let without_namespace = b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80";
    assert_eq!(&*message(&format, "socket.io#/#", without_namespace).namespace, "/");
}

#[test]
fn what_is_malformed_is_refused_and_what_is_unknown_is_ignored() {
    let format = format(ClassicSettings::default());
    for payload in [
        &b"\x80"[..],
        b"\xc0",
        b"\x92\xa1u\x80",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\xc0",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x90\x80",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa7connect\x80",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x81\xa5rooms\xa1r",
        b"\x93\xa1u\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\x01\x80",
        br#"["u",{"type":2,"data":["e"],"nsp":"/"},{}]"#,
    ] {
        let read = read(&format, "socket.io#/#", payload);
        let is_refused = matches!(read, Err(DecodeError::Malformed(_)));
        assert!(is_refused, "{payload:02x?}: {read:?}");
    }
    let in_channel = |name: &str, texts: &[&str], is_known: bool| {
        for text in texts {
            match read(&format, &format!("socket.io-{name}#/#"), text.as_bytes()) {
                Err(DecodeError::Malformed(_)) if is_known => {}
                Ok(Decoded::Ignored(_)) if !is_known => {}
                other => panic!("{text}: {other:?}"),
            }
        }
    };
    in_channel(
        "request",
        &[
            "",
            "{",
            "{}",
            "[]",
            r#"{"type":"2"}"#,
            r#"{"type":0,"rooms":[]}"#,
            r#"{"type":0,"requestId":"q","rooms":"r"}"#,
            r#"{"type":2,"opts":{},"rooms":[{}]}"#,
            r#"{"type":2,"opts":{}}"#,
            r#"{"type":3,"rooms":["r"]}"#,
            r#"{"type":3,"requestId":"q","sid":"i"}"#,
            r#"{"type":4,"requestId":"q","opts":null}"#,
            r#"{"type":4,"sid":"i"}"#,
            r#"{"type":5,"requestId":"q"}"#,
            r#"{"type":5,"opts":{}}"#,
            r#"{"type":6,"data":"e"}"#,
            r#"{"type":6,"data":[]}"#,
            r#"{"type":7,"requestId":"q","opts":{}}"#,
            r#"{"type":7,"opts":{},"packet":{"type":2,"data":["e"]}}"#,
        ],
        true,
    );
    in_channel("request", &[r#"{"type":8}"#, r#"{"type":10}"#], false);
    in_channel("request", &[r#"{"type":7,"requestId":"q","opts":{},"packet":{"type":0}}"#], false);
    in_channel(
        "response",
        &[
            "{}",
            "[]",
            r#"{"sockets":[]}"#,
            r#"{"requestId":"q","sockets":{}}"#,
            r#"{"requestId":"q","sockets":[{}]}"#,
            r#"{"requestId":"q","sockets":["i",{}]}"#,
            r#"{"requestId":"q","rooms":[[]]}"#,
            r#"{"requestId":"q","type":8}"#,
        ],
        true,
    );
    let streams = format.decode(&Received::Appended { id: "1-0", fields: &[] });
    assert!(matches!(streams, Err(DecodeError::Malformed(_))));
}

#[test]
fn what_would_end_a_node_server_or_has_no_form_is_not_written() {
    let format = format(ClassicSettings::default());
    let args = ArgsBuf::default();
    for body in [
        Body::ServerEvent { event: "error".into(), args: args.clone() },
        request(Question::ServerEvent { event: "connection".into(), args: args.clone() }),
        answer(Answer::Count(1)),
        answer(Answer::UncountedAck(args)),
    ] {
        let message = Message { sender: None, namespace: "/".into(), body };
        let written = format.encode(&message);
        assert!(matches!(written, Err(EncodeError::Impossible(_))), "{message:?}: {written:?}");
    }
}
