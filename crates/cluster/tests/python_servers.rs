//! The format of python-socketio against python-socketio itself, which reads what is written here and writes what is read
//! here. `./test` installs it into `e2e/.venv`.
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value as Json, json};
use sockeye::{
    ArgsBuf,
    adapter::{RoomNames, Target},
};
use sockeye_cluster::{
    format::{Decoded, ExceptRooms, Format, Publication, Python, PythonSettings, Received},
    message::{AckRequest, Answer, Body, Broadcast, Heartbeat, Message, Question},
};
use sockeye_protocol::socketio::Value;

const A: &str = "Q01nT3XjPFQmx-FYAAAB";
const B: &str = "O-y0U9LxkRI70GInAAAB";
const US: &str = "0123456789abcdef0123456789abcdef";

/// A server of python-socketio with two sockets.
struct PythonServer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    format: Python,
}

impl PythonServer {
    fn start(settings: PythonSettings) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = folder.join("../../e2e/.venv/bin/python");
        assert!(
            python.exists(),
            "python-socketio is not installed: run ./test, or make e2e/.venv of e2e/requirements.txt"
        );
        let mut process = Command::new(python)
            .arg(folder.join("tests/support/python_server.py"))
            .args([A, B])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut format = Python::new(settings);
        format.set_server(&US.into());
        let mut server = Self { process, input, output, format };
        assert_eq!(server.answers(), [] as [Json; 0]);
        server
    }

    /// Publishes what a Sockeye server says. Returns what the Python server does.
    fn hear(&mut self, body: Body) -> Vec<Json> {
        let message = Message { sender: Some(US.into()), namespace: "/".into(), body };
        let mut answers = Vec::new();
        for publication in self.format.encode(&message).unwrap() {
            let Publication::Publish { payload, .. } = publication else { panic!("{publication:?}") };
            answers.extend(self.tell(&json!({"payload": std::str::from_utf8(&payload).unwrap()})));
        }
        answers
    }

    fn tell(&mut self, what: &Json) -> Vec<Json> {
        writeln!(self.input, "{what}").unwrap();
        self.answers()
    }

    /// Calls a method of the Python server's manager. Returns what it publishes.
    fn published(&mut self, method: &str, arguments: Json) -> Message {
        let answers = self.tell(&json!({"call": method, "arguments": arguments}));
        let published = answers.iter().find_map(|answer| answer["published"].as_str());
        self.read(published.unwrap_or_else(|| panic!("{answers:?}")))
    }

    fn read(&self, payload: &str) -> Message {
        match self.format.decode(&Received::Published { channel: "socketio", payload: payload.as_bytes() }) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{payload}: {other:?}"),
        }
    }

    fn answers(&mut self) -> Vec<Json> {
        let lines = self.output.by_ref().lines().map(|line| serde_json::from_str::<Json>(&line.unwrap()).unwrap());
        lines.take_while(|answer| answer.get("done").is_none()).collect()
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn names(names: &[&str]) -> RoomNames {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn to(rooms: &[&str]) -> Target {
    Target { rooms: names(rooms), ..Target::default() }
}

fn emit(args: ArgsBuf, target: Target) -> Body {
    Body::Broadcast(Broadcast { event: "e".into(), args, target, acks: None })
}

fn sent(sid: &str, packet: &str) -> Json {
    json!({"sent": [sid, packet]})
}

#[test]
fn python_servers_carry_out_what_sockeye_servers_publish() {
    let mut python = PythonServer::start(PythonSettings::default());
    let args = |args: Json| ArgsBuf::new(&args).unwrap();
    let several = ArgsBuf::new(&(1, "é", json!([2]))).unwrap();
    for (args, packet) in [
        (ArgsBuf::default(), r#"2["e"]"#),
        (args(json!({"a": [1, null]})), r#"2["e",{"a":[1,null]}]"#),
        (args(json!([1, 2])), r#"2["e",[1,2]]"#),
        (args(json!("")), r#"2["e",""]"#),
        (several, r#"2["e",1,"\u00e9",[2]]"#),
    ] {
        assert_eq!(python.hear(emit(args, to(&[A]))), [sent(A, packet)]);
    }
    let binary = Value::Object([("b".to_owned(), Value::Binary(Bytes::from_static(b"\0\xff")))].into_iter().collect());
    let binary = ArgsBuf::new(&(binary, Bytes::from_static(b"second"))).unwrap();
    let header = r#"52-["e",{"b":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#;
    assert_eq!(python.hear(emit(binary, to(&[A]))), [sent(A, header), sent(A, "00ff"), sent(A, "7365636f6e64")]);
    let everybody = python.hear(emit(ArgsBuf::default(), to(&[])));
    assert_eq!(everybody, [sent(A, r#"2["e"]"#), sent(B, r#"2["e"]"#)]);
    let but_one = python.hear(emit(ArgsBuf::default(), Target { except: names(&[A]), ..to(&[]) }));
    assert_eq!(but_one, [sent(B, r#"2["e"]"#)]);
    let both_once = python.hear(emit(ArgsBuf::default(), to(&[A, B, "none"])));
    assert_eq!(both_once.len(), 2);

    assert_eq!(python.hear(Body::Join { target: to(&[A, B]), rooms: names(&["r", "s"]) }), [] as [Json; 0]);
    assert_eq!(python.hear(emit(ArgsBuf::default(), to(&["r"]))).len(), 2);
    python.hear(Body::Leave { target: to(&[A]), rooms: names(&["r"]) });
    assert_eq!(python.hear(emit(ArgsBuf::default(), to(&["r"]))), [sent(B, r#"2["e"]"#)]);
    python.hear(Body::Leave { target: to(&["r", "s"]), rooms: names(&["r", "s"]) });
    assert_eq!(python.hear(emit(ArgsBuf::default(), to(&["r", "s"]))), [] as [Json; 0]);
    assert_eq!(python.hear(Body::Disconnect { target: to(&[B]), close: true }), [sent(B, "1")]);
    assert_eq!(python.hear(emit(ArgsBuf::default(), to(&[]))), [sent(A, r#"2["e"]"#)]);
}

#[test]
fn python_servers_ignore_without_a_word_what_they_have_no_word_for() {
    let mut python = PythonServer::start(PythonSettings::default());
    let args = ArgsBuf::new(&"x").unwrap();
    for body in [
        Body::Heartbeat(Heartbeat::Started),
        Body::Request { id: "r".into(), question: Question::Sockets { target: to(&[]) } },
        Body::ServerEvent { event: "e".into(), args: args.clone() },
        Body::Answer { request: "r".into(), to: Some("s".into()), answer: Answer::Ack(args.clone()) },
        Body::Join { target: to(&[]), rooms: names(&["r"]) },
        emit(args, Target { except: names(&["room"]), ..to(&[]) }),
    ] {
        let text = format!("{body:?}");
        assert_eq!(python.hear(body), [] as [Json; 0], "{text}");
    }
}

#[test]
fn an_excepted_room_excepts_nobody_on_a_python_server() {
    let deliver = PythonSettings { except_rooms: ExceptRooms::Deliver, ..PythonSettings::default() };
    let mut python = PythonServer::start(deliver);
    python.hear(Body::Join { target: to(&[A]), rooms: names(&["r"]) });
    let reached = python.hear(emit(ArgsBuf::default(), Target { except: names(&["r"]), ..to(&[]) }));
    assert_eq!(reached.len(), 2, "if this changes, events with `except` of rooms need not be withheld any more");
}

#[test]
fn acknowledgements_go_both_ways() {
    let mut python = PythonServer::start(PythonSettings::default());
    let acks = Some(AckRequest { id: "r-1".into(), timeout_ms: Some(5_000) });
    let asking = Broadcast { event: "q".into(), args: ArgsBuf::default(), target: to(&[A]), acks };
    assert_eq!(python.hear(Body::Broadcast(asking)), [sent(A, r#"21["q"]"#)]);
    let answers = python.tell(&json!({"acknowledge": [A, 1, ["yes", {"x": 2}]]}));
    let Body::Answer { request, to: asker, answer: Answer::UncountedAck(args) } =
        python.read(answers[0]["published"].as_str().unwrap()).body
    else {
        panic!("{answers:?}")
    };
    assert_eq!((&*request, asker.as_deref()), ("r-1", Some(US)));
    assert_eq!(args.as_args().all::<(String, Json)>().unwrap(), ("yes".into(), json!({"x": 2})));

    let Message { sender, body: Body::Broadcast(Broadcast { acks: Some(acks), .. }), .. } =
        python.published("emit", json!({"event": "q", "data": null, "room": "elsewhere", "callback": true}))
    else {
        panic!("it asks for acknowledgements")
    };
    let answer = |args| Body::Answer { request: acks.id.clone(), to: sender.clone(), answer: Answer::Ack(args) };
    assert_eq!(python.hear(answer(args)), [json!({"called": ["yes", {"x": 2}]})]);
    let late = python.hear(answer(ArgsBuf::default()));
    assert!(
        late[0]["log"].as_str().is_some_and(|log| log.contains("Unknown callback")),
        "it takes the first: {late:?}"
    );
}

#[test]
fn sockeye_servers_read_what_python_servers_publish() {
    let mut python = PythonServer::start(PythonSettings::default());
    for (arguments, expected) in [
        (json!({"data": {"a": 1}}), json!([{"a": 1}])),
        (json!({"data": null}), json!([])),
        (json!({"data": [1, 2]}), json!([[1, 2]])),
        (json!({"tuple": [1, "é"]}), json!([1, "é"])),
        (json!({"tuple": []}), json!([])),
    ] {
        let mut arguments = arguments;
        arguments["event"] = json!("e");
        let Body::Broadcast(broadcast) = python.published("emit", arguments).body else { panic!() };
        assert_eq!(Json::from(broadcast.args.as_args().all::<Vec<Json>>().unwrap()), expected);
    }
    let binary = json!({"event": "e", "hex": "00ff", "room": ["a", 5], "skip_sid": [A]});
    let Body::Broadcast(broadcast) = python.published("emit", binary).body else { panic!() };
    assert_eq!(broadcast.args.as_args().get::<Value>(0).unwrap(), Value::Binary(Bytes::from_static(b"\0\xff")));
    assert_eq!((broadcast.target.rooms, broadcast.target.except), (names(&["a", "5"]), names(&[A])));
    let elsewhere = "fftmD5zxIYMvWPG7AAAB";
    let body = python.published("enter_room", json!({"sid": elsewhere, "namespace": "/", "room": "r"})).body;
    assert!(
        matches!(body, Body::Join { target, rooms } if target.rooms == names(&[elsewhere]) && rooms == names(&["r"]))
    );
    let body = python.published("leave_room", json!({"sid": elsewhere, "namespace": "/", "room": "r"})).body;
    assert!(
        matches!(body, Body::Leave { target, rooms } if target.rooms == names(&[elsewhere]) && rooms == names(&["r"]))
    );
    let body = python.published("close_room", json!({"room": "r"})).body;
    assert!(matches!(body, Body::Leave { target, rooms } if target.rooms == names(&["r"]) && rooms == names(&["r"])));
    let body = python.published("can_disconnect", json!({"sid": elsewhere, "namespace": "/"})).body;
    assert!(matches!(body, Body::Disconnect { target, close: false } if target.rooms == names(&[elsewhere])));
}
