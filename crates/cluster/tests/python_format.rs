//! The format of python-socketio against messages that python-socketio 5.18.1 has published.
use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use sockeye::{
    ArgsBuf,
    adapter::{RoomNames, Target},
};
use sockeye_cluster::{
    format::{
        DecodeError, Decoded, ExceptRooms, Format, Generation, Publication, Python, PythonSettings, Received,
        Subscription,
    },
    message::{AckRequest, Answer, Body, Broadcast, Heartbeat, Message, Question},
};
use sockeye_protocol::socketio::Value;

const SID: &str = "Q01nT3XjPFQmx-FYAAAB";
const OTHER_SID: &str = "O-y0U9LxkRI70GInAAAB";
const SERVER: &str = "0123456789abcdef0123456789abcdef";

fn format(settings: PythonSettings) -> Python {
    let mut format = Python::new(settings);
    format.set_server(&SERVER.into());
    format
}

fn python() -> Python {
    format(PythonSettings::default())
}

fn decode(format: &Python, payload: &[u8]) -> Result<Decoded, DecodeError> {
    format.decode(&Received::Published { channel: "socketio", payload })
}

fn decoded(format: &Python, payload: &str) -> Message {
    match decode(format, payload.as_bytes()) {
        Ok(Decoded::Message(message)) => message,
        other => panic!("{payload}: {other:?}"),
    }
}

fn payloads(format: &Python, message: &Message) -> Vec<Bytes> {
    let published = format.encode(message).unwrap().into_iter().map(|publication| match publication {
        Publication::Publish { channel, payload } => {
            assert_eq!(channel, "socketio");
            payload
        }
        other => panic!("{other:?}"),
    });
    published.collect()
}

fn written(format: &Python, message: &Message) -> Vec<Json> {
    payloads(format, message).iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
}

fn message(body: Body) -> Message {
    Message { sender: Some("s".into()), namespace: "/".into(), body }
}

fn names(names: &[&str]) -> RoomNames {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn to(rooms: &[&str]) -> Target {
    Target { rooms: names(rooms), ..Target::default() }
}

fn event(args: ArgsBuf, target: Target, acks: Option<AckRequest>) -> Message {
    message(Body::Broadcast(Broadcast { event: "e".into(), args, target, acks }))
}

/// The message inside of a message that only Sockeye servers read.
fn only_for_sockeye(json: &Json) -> Body {
    assert_eq!(json["method"], "sockeye");
    assert!(STANDARD.decode(json["message"].as_str().unwrap()).is_ok());
    decoded(&python(), &json.to_string()).body
}

/// The messages of the golden files. Some bodies among the frames of AMQP were cut by what recorded them.
fn golden() -> Vec<String> {
    let lines = |file: &'static str| file.lines().filter(|line| line.starts_with('{')).map(str::to_owned);
    let amqp = include_str!("golden/amqp_props_kombu_then_aiopika.txt").lines().filter_map(|line| {
        let (_, body) = line.split_once(" BODY ")?;
        match body.strip_prefix("str ") {
            Some(text) => Some(text.to_owned()),
            None => Some(body.strip_prefix("bytes b'")?.strip_suffix('\'')?.replace("\\\\", "\\")),
        }
    });
    let zmq = include_str!("golden/zmq.txt").lines().filter_map(|line| {
        let envelope: Json = serde_json::from_str(line.strip_prefix("MSG b'")?.strip_suffix('\'')?).unwrap();
        Some(envelope["data"].to_string())
    });
    let frames = include_str!("golden/amqp_frames.txt").lines().filter_map(|line| {
        let (_, body) = line.strip_prefix("body")?.split_once(" b'")?;
        Some(body.strip_suffix('\'')?.replace("\\\\", "\\"))
    });
    lines(include_str!("golden/redis_write_only.jsonl"))
        .chain(lines(include_str!("golden/redis_cluster_ops.jsonl")))
        .chain(amqp)
        .chain(zmq)
        .chain(frames)
        .collect()
}

#[test]
fn golden_messages_are_read_and_written_again_as_they_were() {
    // Sockets of the golden files have names that are no ids.
    let format = format(PythonSettings { except_rooms: ExceptRooms::Deliver, ..PythonSettings::default() });
    let mut methods = std::collections::BTreeMap::new();
    for text in golden() {
        // Ids of sockets in the golden files that no server has made.
        let text = text.replace("\"SIDX\"", &format!("\"{SID}\"")).replace("\"nonexistent\"", &format!("\"{SID}\""));
        let mut expected: Json = serde_json::from_str(&text).unwrap();
        let method = expected["method"].as_str().unwrap().to_owned();
        *methods.entry(method.clone()).or_insert(0) += 1;
        if method == "callback" {
            assert!(matches!(decode(&format, text.as_bytes()), Ok(Decoded::Ignored(_))), "for another server");
            continue;
        }
        let read = decoded(&format, &text);
        assert_eq!(read.sender.as_deref(), expected["host_id"].as_str());
        if let Body::Broadcast(Broadcast { acks: Some(acks), .. }) = &read.body {
            let triple: Json = serde_json::from_str(&acks.id).unwrap();
            assert_eq!(triple, expected["callback"]);
            continue;
        }
        if expected["data"] == json!([null]) {
            expected["data"] = json!([]);
        }
        if expected["room"] == json!(5) {
            expected["room"] = json!("5");
        }
        if method == "emit" {
            expected["binary"] = (expected["binary"] == json!(true)).into();
        }
        assert_eq!(written(&format, &read), [expected], "{text}");
    }
    let expected =
        [("callback", 12), ("close_room", 4), ("disconnect", 4), ("emit", 38), ("enter_room", 6), ("leave_room", 3)];
    assert_eq!(methods, expected.map(|(method, count)| (method.to_owned(), count)).into());
}

#[test]
fn golden_emits_reach_the_rooms_with_the_arguments_that_python_servers_deliver() {
    let lines: Vec<&str> = include_str!("golden/redis_write_only.jsonl").lines().collect();
    let args = |line: usize| match decoded(&python(), lines[line]).body {
        Body::Broadcast(broadcast) => broadcast,
        other => panic!("{other:?}"),
    };
    for (line, expected) in [
        (0, json!([{"a": 1, "é": "中文"}])),
        (2, json!([])),
        (3, json!([])),
        (4, json!([1, "two", [3]])),
        (5, json!([[1, 2]])),
        (6, json!([[[1]]])),
        (12, json!([1.5])),
        (14, json!([""])),
    ] {
        let values: Vec<Json> = args(line).args.as_args().all().unwrap();
        assert_eq!(Json::from(values), expected);
    }
    let binary = |bytes: &'static [u8]| Value::Binary(Bytes::from_static(bytes));
    let first: Value = args(9).args.as_args().get(0).unwrap();
    assert_eq!(first.get("bin"), Some(&binary(b"\0\x01\xff")));
    assert_eq!(args(11).args.as_args().get::<Value>(0).unwrap(), binary(b"only"));
    assert_eq!(args(10).args.as_args().all::<(Value, String)>().unwrap(), (binary(b"raw"), "txt".to_owned()));
    let Target { rooms, except, .. } = args(7).target;
    assert_eq!((rooms, except), (names(&["r1", "r2"]), names(&["s1", "s2"])));
    assert_eq!(args(8).target.rooms, names(&["5"]));
    assert_eq!(args(0).target.rooms, names(&[]));
}

#[test]
fn acknowledgements_of_our_clients_go_back_as_python_servers_send_them() {
    let mut lines = include_str!("golden/redis_cluster_ops.jsonl").lines();
    let emit = lines.find(|line| line.contains("withcb")).unwrap();
    let expected: Json = serde_json::from_str(lines.next().unwrap()).unwrap();
    let read = decoded(&python(), emit);
    let Body::Broadcast(Broadcast { acks: Some(AckRequest { id, timeout_ms: None }), .. }) = read.body else {
        panic!()
    };
    let answer = |args, to| message(Body::Answer { request: id.clone(), to, answer: Answer::Ack(args) });
    let args = ArgsBuf::new(&("ack-b", json!({"x": 2}))).unwrap();
    assert_eq!(written(&python(), &answer(args, read.sender.clone())), [expected]);

    let args = ArgsBuf::new(&json_with_binary()).unwrap();
    let [callback] = &written(&python(), &answer(args, read.sender.clone()))[..] else { panic!() };
    assert_eq!(callback["args"], json!([{"deep": ["AP8="]}]), "Python has no attachments here");

    let args = ArgsBuf::default();
    assert_eq!(written(&python(), &answer(args, None)), [] as [Json; 0], "nobody to answer");
    let count = message(Body::Answer { request: id.clone(), to: read.sender, answer: Answer::AckCount(1) });
    assert_eq!(written(&python(), &count), [] as [Json; 0], "Python servers do not count");
}

fn json_with_binary() -> Value {
    Value::Object(
        [("deep".to_owned(), Value::Array(vec![Value::Binary(Bytes::from_static(b"\0\xff"))]))].into_iter().collect(),
    )
}

#[test]
fn acknowledgements_of_clients_of_python_servers_find_our_request() {
    let acks = Some(AckRequest { id: "r-1".into(), timeout_ms: Some(500) });
    let mut emit = event(ArgsBuf::default(), to(&[SID]), acks);
    emit.sender = Some(SERVER.into());
    let json = written(&python(), &emit).remove(0);
    assert_eq!(json["callback"], json!([null, "/", "r-1"]));
    let Body::Broadcast(Broadcast { acks: Some(acks), .. }) = decoded(&python(), &json.to_string()).body else {
        panic!()
    };
    assert_eq!((&*acks.id, acks.timeout_ms), ("r-1", Some(500)), "another Sockeye server knows whose request it is");

    // What a Python server makes of it.
    let callback =
        json!({"method": "callback", "host_id": SERVER, "sid": null, "namespace": "/", "id": "r-1", "args": ["x", 2]});
    let Message { sender, body: Body::Answer { request, to, answer: Answer::UncountedAck(args) }, .. } =
        decoded(&python(), &callback.to_string())
    else {
        panic!()
    };
    assert_eq!((sender, &*request, to.as_deref()), (None, "r-1", Some(SERVER)));
    assert_eq!(args.as_args().all::<(String, u8)>().unwrap(), ("x".to_owned(), 2));
}

#[test]
fn what_only_sockeye_servers_need_to_know_is_said_beside_pythons_words() {
    let volatile = event(ArgsBuf::new(&(1, 2)).unwrap(), Target { volatile: true, ..to(&["r"]) }, None);
    let json = written(&python(), &volatile).remove(0);
    assert_eq!((&json["data"], &json["sockeye"]), (&json!([1, 2]), &json!({"volatile": true})));
    let Body::Broadcast(broadcast) = decoded(&python(), &json.to_string()).body else { panic!() };
    assert!(broadcast.target.volatile);

    let null = event(ArgsBuf::new(&(None::<u8>,)).unwrap(), to(&[]), None);
    for generation in [Generation::Second, Generation::Third] {
        let format = format(PythonSettings { generation, ..PythonSettings::default() });
        let json = written(&format, &null).remove(0);
        let Body::Broadcast(broadcast) = decoded(&format, &json.to_string()).body else { panic!() };
        assert_eq!(broadcast.args.as_args().len(), 1, "{json}");
    }

    let close = message(Body::Disconnect { target: to(&[SID]), close: true });
    let json = written(&python(), &close).remove(0);
    assert_eq!((&json["method"], &json["sid"]), (&json!("disconnect"), &json!(SID)));
    assert!(matches!(decoded(&python(), &json.to_string()).body, Body::Disconnect { close: true, .. }));
}

#[test]
fn commands_that_python_has_no_word_for_go_to_sockeye_servers_once_and_to_python_servers_as_far_as_they_can() {
    let join = message(Body::Join { target: to(&[SID, "room", OTHER_SID]), rooms: names(&["a", "b"]) });
    let messages = written(&python(), &join);
    assert!(
        matches!(only_for_sockeye(&messages[0]), Body::Join { target, rooms } if target.rooms.len() == 3 && rooms.len() == 2)
    );
    let commands: Vec<_> =
        messages[1..].iter().map(|json| (json["sid"].as_str().unwrap(), json["room"].as_str().unwrap())).collect();
    assert_eq!(commands, [(SID, "a"), (SID, "b"), (OTHER_SID, "a"), (OTHER_SID, "b")]);
    for json in &messages[1..] {
        assert_eq!(json["method"], "enter_room");
        assert!(
            matches!(decode(&python(), json.to_string().as_bytes()), Ok(Decoded::Ignored(_))),
            "it has come before"
        );
    }

    for (body, expected) in [
        (Body::Leave { target: to(&["a"]), rooms: names(&["a"]) }, vec!["close_room"]),
        (
            Body::Leave { target: to(&["a", "b"]), rooms: names(&["a", "b"]) },
            vec!["sockeye", "close_room", "close_room"],
        ),
        (Body::Leave { target: to(&["a"]), rooms: names(&["b"]) }, vec!["sockeye"]),
        (Body::Leave { target: to(&[SID]), rooms: names(&["b"]) }, vec!["leave_room"]),
        (Body::Leave { target: to(&[SID]), rooms: names(&[SID]) }, vec!["leave_room"]),
        (Body::Leave { target: to(&[]), rooms: names(&["b"]) }, vec!["sockeye"]),
        (Body::Join { target: Target { except: names(&["x"]), ..to(&[SID]) }, rooms: names(&["b"]) }, vec!["sockeye"]),
        (Body::Disconnect { target: to(&[SID, OTHER_SID]), close: false }, vec!["sockeye", "disconnect", "disconnect"]),
        (Body::Disconnect { target: to(&["room"]), close: false }, vec!["sockeye"]),
        (Body::Disconnect { target: to(&[]), close: false }, vec!["sockeye"]),
    ] {
        let text = format!("{body:?}");
        let methods: Vec<_> =
            written(&python(), &message(body)).into_iter().map(|json| json["method"].clone()).collect();
        assert_eq!(methods, expected, "{text}");
    }
}

#[test]
fn everything_else_goes_to_sockeye_servers_only() {
    let args = ArgsBuf::new(&json_with_binary()).unwrap();
    let answer = |answer| Body::Answer { request: "r-1".into(), to: Some("s".into()), answer };
    for body in [
        Body::Request { id: "r-1".into(), question: Question::Sockets { target: to(&["a"]) } },
        answer(Answer::AckCount(3)),
        answer(Answer::Ack(args.clone())),
        Body::ServerEvent { event: "e".into(), args },
        Body::Heartbeat(Heartbeat::Alive),
    ] {
        let expected = format!("{body:?}");
        let messages = written(&python(), &message(body));
        assert_eq!(messages.len(), 1);
        let read = format!("{:?}", only_for_sockeye(&messages[0]));
        // Arguments are the same, but encoded otherwise.
        let start = |text: &str| text.split("args").next().unwrap().split("Ack(").next().unwrap().to_owned();
        assert_eq!(start(&read), start(&expected));
        if let Body::Answer { answer: Answer::Ack(args), .. } = only_for_sockeye(&messages[0]) {
            assert_eq!(args.as_args().get::<Value>(0).unwrap(), json_with_binary());
        }
    }
}

#[test]
fn excepted_sockets_are_named_and_excepted_rooms_decide_whether_python_servers_get_the_event() {
    let except = |names_: &[&str]| event(ArgsBuf::default(), Target { except: names(names_), ..to(&["r"]) }, None);
    let sockets = [SID, "/chat#Q01nT3XjPFQmx-FYAAAB"];
    let json = written(&python(), &except(&sockets)).remove(0);
    assert_eq!(json["skip_sid"], json!(sockets));
    for name in ["room", "Q01nT3XjPFQmx-FYAAA", "Q01nT3XjPFQmx-FYAAA.", "chat#Q01nT3XjPFQmx-FYAAAB"] {
        let messages = written(&python(), &except(&[SID, name]));
        assert_eq!(messages.len(), 1);
        assert!(
            matches!(only_for_sockeye(&messages[0]), Body::Broadcast(broadcast) if broadcast.target.except.len() == 2)
        );
    }
    let deliver = format(PythonSettings { except_rooms: ExceptRooms::Deliver, ..PythonSettings::default() });
    assert_eq!(written(&deliver, &except(&["room"]))[0]["skip_sid"], "room");
}

#[test]
fn the_second_generation_sends_one_argument_bare() {
    let second = format(PythonSettings { generation: Generation::Second, ..PythonSettings::default() });
    let binary = Value::Binary(Bytes::from_static(b"\0\xff"));
    let placeholder = json!({"_placeholder": true, "num": 0});
    for (args, data) in [
        (ArgsBuf::default(), json!(null)),
        (ArgsBuf::new(&json!({"a": 1})).unwrap(), json!({"a": 1})),
        (ArgsBuf::new(&json!([1, 2])).unwrap(), json!([1, 2])),
        (ArgsBuf::new(&(1, 2)).unwrap(), json!([1, 2])),
        (ArgsBuf::new(&binary).unwrap(), json!([placeholder, "AP8="])),
        (ArgsBuf::new(&(&binary, 1)).unwrap(), json!([[placeholder, 1], "AP8="])),
    ] {
        let json = written(&second, &event(args.clone(), to(&[]), None)).remove(0);
        assert_eq!(json["data"], data);
        let Body::Broadcast(broadcast) = decoded(&second, &json.to_string()).body else { panic!() };
        let (read, sent): (Vec<Value>, Vec<Value>) =
            (broadcast.args.as_args().all().unwrap(), args.as_args().all().unwrap());
        assert_eq!(read, sent);
    }
    // A third-generation server reads what is no list as a single argument.
    let bare = r#"{"method":"emit","event":"e","data":"s","namespace":"/"}"#;
    let Body::Broadcast(broadcast) = decoded(&python(), bare).body else { panic!() };
    assert_eq!(broadcast.args.as_args().all::<(String,)>().unwrap().0, "s");
}

#[test]
fn a_pickle_is_recognised_and_refused() {
    for pickle in [&b"\x80\x04\x95\x1c\0\0\0\0\0\0\0}\x94\x8c\x06method\x94\x8c\x04emit\x94s."[..], b"\x80\x02}q\0."] {
        assert!(matches!(decode(&python(), pickle), Err(DecodeError::Pickle)));
    }
}

#[test]
fn what_python_servers_ignore_is_ignored_and_what_is_malformed_refused() {
    for ignored in [
        r#"{"method":"who"}"#,
        r#"{"method":"emit","event":"e","data":[]}"#,
        r#"{"method":"emit","event":"e","data":[],"namespace":""}"#,
        r#"{"method":"emit","event":"e","data":[],"namespace":"/","room":[]}"#,
        r#"{"method":"disconnect","sid":"lobby","namespace":"/"}"#,
        r#"{"method":"callback","host_id":"other","sid":"a","namespace":"/","id":1,"args":[]}"#,
        r#"{"method":"callback"}"#,
    ] {
        assert!(matches!(decode(&python(), ignored.as_bytes()), Ok(Decoded::Ignored(_))), "{ignored}");
    }
    let emit = |rest: &str| format!(r#"{{"method":"emit","event":"e","namespace":"/",{rest}}}"#).into_bytes();
    let deep = format!(r#""data":{}{}"#, "[".repeat(200), "]".repeat(200));
    for malformed in [
        b"".to_vec(),
        b"7".to_vec(),
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        br#"{"event":"e"}"#.to_vec(),
        br#"{"method":"emit","data":[],"namespace":"/"}"#.to_vec(),
        br#"{"method":"emit","event":"connect","data":[],"namespace":"/"}"#.to_vec(),
        emit(r#""room":null"#),
        emit(r#""data":[NaN]"#),
        emit(r#""data":[],"room":[null]"#),
        emit(r#""data":[],"room":{}"#),
        emit(r#""data":{},"binary":true"#),
        emit(r#""data":[],"binary":true"#),
        emit(r#""data":[[],"?"],"binary":true"#),
        emit(r#""data":[[{"_placeholder":true,"num":1}],"AA=="],"binary":true"#),
        emit(r#""data":[[{"_placeholder":true,"num":-1}],"AA=="],"binary":true"#),
        emit(&deep),
        br#"{"method":"enter_room","room":"r","namespace":"/"}"#.to_vec(),
        format!(r#"{{"method":"enter_room","sid":"{SID}","namespace":"/"}}"#).into_bytes(),
        br#"{"method":"sockeye"}"#.to_vec(),
        br#"{"method":"sockeye","message":"?"}"#.to_vec(),
        br#"{"method":"sockeye","message":"wQ=="}"#.to_vec(),
    ] {
        let text = String::from_utf8_lossy(&malformed);
        assert!(matches!(decode(&python(), &malformed), Err(DecodeError::Malformed(_))), "{text}");
    }
    let callback = emit(r#""data":[],"callback":["a",1]"#);
    let Ok(Decoded::Message(Message { body: Body::Broadcast(broadcast), .. })) = decode(&python(), &callback) else {
        panic!()
    };
    assert!(broadcast.acks.is_none(), "a callback without three items asks for nothing");
}

#[test]
fn all_namespaces_are_on_one_channel() {
    let flask =
        Python::new(PythonSettings { channel: PythonSettings::FLASK_CHANNEL.into(), ..PythonSettings::default() });
    assert_eq!(flask.subscriptions("/chat"), [Subscription::Channel("flask-socketio".into())]);
    assert_eq!(flask.request_channel("/"), None);
}
