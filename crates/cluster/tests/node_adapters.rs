//! The formats of Node servers against the adapters and emitters themselves, over a broker that is faked: what they publish
//! is read and written byte by byte, and what is written here they carry out. Needs Node and `e2e/node_modules`.
use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use sockeye::{
    ArgsBuf,
    adapter::{RemoteSocketData, Target},
};
use sockeye_cluster::{
    format::{Decoded, Format, NodePostgres, NodeSharded, NodeStreams, Publication, Received},
    message::{AckRequest, Answer, Body, Broadcast, Heartbeat, Message, Question},
};
use sockeye_protocol::socketio::{Date, Value};

/// The name of this server.
const NAME: &str = "0123456789abcdef0123456789abcdef";

/// A Node server with a real adapter.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    format: Box<dyn Format>,
    /// The adapter's name.
    uid: String,
}

/// What a peer has published, and what it has done.
struct Outcome {
    published: Vec<Json>,
    done: Json,
    rest: Json,
}

impl Peer {
    fn start(kind: &str) -> Self {
        let mut format: Box<dyn Format> = match kind {
            "sharded" => Box::new(NodeSharded::new(Default::default())),
            "streams" => Box::new(NodeStreams::new(Default::default())),
            _ => Box::new(NodePostgres::new(Default::default())),
        };
        format.set_server(&NAME.into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/servers/cluster_adapters.mjs");
        let mut process =
            Command::new("node").args([script, kind]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let output = BufReader::new(output).lines();
        let mut peer = Self { process, input, output, format, uid: String::new() };
        peer.uid = peer.call(json!({"command": "start"})).rest["uid"].as_str().unwrap().to_owned();
        peer
    }

    fn call(&mut self, command: Json) -> Outcome {
        writeln!(self.input, "{command}").unwrap();
        let line = self.output.next().expect("the Node server has ended").unwrap();
        let mut rest: Json = serde_json::from_str(&line).unwrap();
        let published = rest["published"].as_array().unwrap().clone();
        Outcome { published, done: rest["done"].take(), rest }
    }

    fn act(&mut self, name: &str) -> Vec<Json> {
        self.call(json!({"command": "act", "name": name})).published
    }

    /// Gives a message of this server to the adapter.
    fn send(&mut self, body: Body) -> Outcome {
        let message = Message { sender: Some(NAME.into()), namespace: "/".into(), body };
        let publications = self.format.encode(&message).unwrap();
        let [publication] = &publications[..] else { panic!("{publications:?}") };
        let publication = match publication {
            Publication::Publish { channel, payload } => json!({"channel": channel, "payload": BASE64.encode(payload)}),
            Publication::Append { stream, fields } => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (name, BASE64.encode(value))).collect();
                json!({"stream": stream, "fields": fields})
            }
            Publication::Attach { channel, payload, announcement: (before, after) } => {
                let stored = self.call(json!({"command": "receive", "attachment": BASE64.encode(payload)}));
                let header = format!("{before}{}{after}", stored.rest["number"]);
                json!({"channel": channel, "payload": BASE64.encode(header)})
            }
        };
        let Json::Object(mut command) = publication else { unreachable!() };
        command.insert("command".into(), "receive".into());
        self.call(command.into())
    }

    /// Reads the only message that the adapter has published.
    fn read(&self, published: &[Json]) -> Message {
        // An attachment is announced after it was stored.
        if let [attachment, announcement] = published {
            let channel = announcement["channel"].as_str().unwrap();
            let header = decoded(&announcement["payload"]);
            let read = self.format.decode(&Received::Published { channel, payload: &header });
            assert!(matches!(read, Ok(Decoded::Attachment(_))), "{read:?}");
            return self.read_one(&json!({"channel": channel, "payload": attachment["attachment"]}));
        }
        let [published] = published else { panic!("{published:?}") };
        self.read_one(published)
    }

    fn read_one(&self, published: &Json) -> Message {
        let read = if let Some(channel) = published["channel"].as_str() {
            self.format.decode(&Received::Published { channel, payload: &decoded(&published["payload"]) })
        } else {
            let fields: Vec<(String, Vec<u8>)> = published["fields"]
                .as_array()
                .unwrap()
                .iter()
                .map(|field| (field[0].as_str().unwrap().to_owned(), decoded(&field[1])))
                .collect();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
            self.format.decode(&Received::Appended { id: "1-0", fields: &fields })
        };
        match read {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{published}: {other:?}"),
        }
    }

    /// Checks that what was read is written as it was.
    fn write_again(&self, message: &Message, published: &[Json]) {
        let publications = self.format.encode(message).unwrap();
        let expected: Vec<Json> = match &publications[..] {
            [Publication::Publish { channel, payload }] => {
                vec![json!({"channel": channel, "payload": BASE64.encode(payload)})]
            }
            [Publication::Append { stream, fields }] => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (name, BASE64.encode(value))).collect();
                vec![json!({"stream": stream, "fields": fields})]
            }
            [Publication::Attach { channel, payload, announcement: (before, after) }] => {
                let Json::String(header) = &published[1]["payload"] else { panic!("{published:?}") };
                let header = String::from_utf8(BASE64.decode(header).unwrap()).unwrap();
                assert!(header.starts_with(before) && header.ends_with(after), "{header} {before} {after}");
                vec![
                    json!({"attachment": BASE64.encode(payload)}),
                    json!({"channel": channel, "payload": published[1]["payload"]}),
                ]
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(published, expected);
    }

    /// Makes the adapter know this server.
    fn introduce(&mut self) {
        if self.format.abilities().heartbeats {
            let answer = self.send(Body::Heartbeat(Heartbeat::Started)).published;
            assert!(matches!(self.read(&answer).body, Body::Heartbeat(Heartbeat::Alive)));
        }
        assert_eq!(self.call(json!({"command": "servers"})).rest["count"], 2);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn decoded(base64: &Json) -> Vec<u8> {
    BASE64.decode(base64.as_str().unwrap()).unwrap()
}

fn broadcast(event: &str, args: ArgsBuf, target: Target, acks: Option<AckRequest>) -> Body {
    Body::Broadcast(Broadcast { event: event.into(), args, target, acks })
}

fn room(name: &str) -> Target {
    Target { rooms: [name.into()].into_iter().collect(), ..Target::default() }
}

const KINDS: [&str; 3] = ["sharded", "streams", "postgres"];

#[test]
fn what_node_servers_publish_is_read_and_written_byte_by_byte() {
    for kind in KINDS {
        let mut peer = Peer::start(kind);
        for action in [
            "emit",
            "emitNothing",
            "emitBinary",
            "emitDate",
            "emitLong",
            "emitToRooms",
            "join",
            "leave",
            "disconnect",
            "serverSideEmit",
        ] {
            let published = peer.act(action);
            let message = peer.read(&published);
            assert_eq!((message.sender.as_deref(), &*message.namespace), (Some(&*peer.uid), "/"), "{kind} {action}");
            peer.write_again(&message, &published);
        }
        peer.introduce();
        for question in ["fetchSockets", "serverSideEmit", "emitWithAck"] {
            let published = peer.call(json!({"command": "ask", "name": question})).published;
            peer.write_again(&peer.read(&published), &published);
        }
    }
}

#[test]
fn node_servers_carry_out_what_is_written() {
    let binary = Bytes::from_static(&[1, 2, 3]);
    let date = Value::from(Date::from_unix_milliseconds(1_700_000_000_123));
    let plain = ArgsBuf::new(&(1, "é\u{1f680}", json!({"a": [null, 1.5]}))).unwrap();
    let with_binary = ArgsBuf::new(&(&date, &binary, [&binary])).unwrap();
    // As a client with the parser for MessagePack sends it: `undefined` and a date in the dialect of that parser.
    let mut packet = Vec::new();
    sockeye_protocol::socketio::msgpack::encode_event(
        &mut packet,
        "/",
        None,
        "x",
        &(Value::Undefined, &date, Value::Binary(binary.clone())),
    )
    .unwrap();
    let limits = Default::default();
    let packet = sockeye_protocol::socketio::msgpack::decode(&packet, &limits).unwrap();
    let Some(sockeye_protocol::socketio::Packet::Event(event)) = packet else { panic!() };
    let from_parser = event.args.to_owned();
    let long = ArgsBuf::new(&"x".repeat(10_000)).unwrap();

    let to_all = json!({"rooms": [], "except": [], "flags": {}});
    let to_r1 = json!({"rooms": ["r1"], "except": [], "flags": {}});
    let except = Target { except: ["r3".into()].into_iter().collect(), volatile: true, ..room("r1") };
    let bin = json!({"base64": "AQID"});
    let rooms = ["r2".into(), "r3".into()].into_iter().collect();
    let cases = [
        (
            broadcast("hello", plain, Target::default(), None),
            json!(["broadcast", {"type": 2, "data": ["hello", 1, "é\u{1f680}", {"a": [null, 1.5]}]}, to_all]),
        ),
        (
            broadcast("bin", with_binary, except, None),
            json!(["broadcast", {"type": 2, "data": ["bin", "2023-11-14T22:13:20.123Z", bin, [bin]]},
                {"rooms": ["r1"], "except": ["r3"], "flags": {"volatile": true}}]),
        ),
        (
            broadcast("x", from_parser, Target::default(), None),
            json!(["broadcast", {"type": 2, "data": ["x", null, {"date": 1_700_000_000_123_i64}, bin]}, to_all]),
        ),
        (
            broadcast("long", long, Target::default(), None),
            json!(["broadcast", {"type": 2, "data": ["long", "x".repeat(10_000)]}, to_all]),
        ),
        (Body::Join { target: room("r1"), rooms }, json!(["addSockets", to_r1, ["r2", "r3"]])),
        (
            Body::Leave { target: room("r1"), rooms: ["r2".into()].into_iter().collect() },
            json!(["delSockets", to_r1, ["r2"]]),
        ),
        (Body::Disconnect { target: room("r1"), close: true }, json!(["disconnectSockets", to_r1, true])),
        (
            Body::ServerEvent { event: "event".into(), args: ArgsBuf::new(&(7, &binary)).unwrap() },
            json!(["event", 7, bin]),
        ),
    ];
    for kind in KINDS {
        let mut peer = Peer::start(kind);
        for (body, expected) in &cases {
            let outcome = peer.send(body.clone());
            assert_eq!(outcome.done, json!([expected]), "{kind}");
            assert_eq!(outcome.published, [] as [Json; 0], "{kind}");
        }
    }
}

#[test]
fn node_servers_understand_answers_and_answer_questions() {
    let data = Value::Object([("n".to_owned(), Value::from(Bytes::from_static(&[1, 2, 3])))].into_iter().collect());
    let handshake = json!({"headers": {"a": "b"}, "time": "t", "address": "::1", "xdomain": false, "secure": true,
        "issued": 1_795_197_884_800_u64, "url": "/?x", "query": {"EIO": "4"}, "auth": {}});
    let socket = RemoteSocketData {
        id: "i".into(),
        handshake: serde_json::from_value(handshake.clone()).unwrap(),
        rooms: vec!["i".into(), "r1".into()],
        data,
    };
    let described = json!({"id": "i", "handshake": handshake, "rooms": ["i", "r1"], "data": {"n": {"base64": "AQID"}}});
    for kind in KINDS {
        let mut peer = Peer::start(kind);
        peer.introduce();
        for (question, answers, expected) in [
            ("fetchSockets", vec![Answer::Sockets(vec![socket.clone()])], json!([described])),
            (
                "serverSideEmit",
                vec![Answer::ServerEvent(ArgsBuf::new(&Bytes::from_static(&[1, 2, 3])).unwrap())],
                json!([{"base64": "AQID"}]),
            ),
            (
                "emitWithAck",
                vec![
                    Answer::AckCount(2),
                    Answer::Ack(ArgsBuf::new(&("first", "lost")).unwrap()),
                    Answer::Ack(ArgsBuf::new(&2).unwrap()),
                ],
                json!(["first", 2]),
            ),
        ] {
            let published = peer.call(json!({"command": "ask", "name": question})).published;
            let message = peer.read(&published);
            let request = match message.body {
                Body::Request { id, .. } | Body::Broadcast(Broadcast { acks: Some(AckRequest { id, .. }), .. }) => id,
                other => panic!("{other:?}"),
            };
            let mut done = Json::Null;
            for answer in answers {
                done = peer.send(Body::Answer { request: request.clone(), to: message.sender.clone(), answer }).done;
            }
            assert_eq!(done, json!([["answered", expected]]), "{kind} {question}");
        }

        let question = Question::Sockets { target: Target::default() };
        let answer = peer.send(Body::Request { id: "q1".into(), question }).published;
        let Body::Answer { request, answer: Answer::Sockets(sockets), .. } = peer.read(&answer).body else { panic!() };
        assert!(&*request == "q1" && sockets.is_empty());

        let question = Question::ServerEvent { event: "event".into(), args: ArgsBuf::new(&5).unwrap() };
        let answer = peer.send(Body::Request { id: "q2".into(), question }).published;
        let Body::Answer { request, answer: Answer::ServerEvent(args), .. } = peer.read(&answer).body else { panic!() };
        assert_eq!((&*request, args.as_args().get::<String>(0).unwrap()), ("q2", "answer to 5".to_owned()));

        let acks = Some(AckRequest { id: "q3".into(), timeout_ms: Some(500) });
        let answer = peer.send(broadcast("q", ArgsBuf::default(), room("r1"), acks)).published;
        let Body::Answer { request, answer: Answer::AckCount(0), .. } = peer.read(&answer).body else { panic!() };
        assert_eq!(&*request, "q3");
    }
}

#[test]
fn the_emitter_for_postgresql_is_understood_although_it_names_no_namespace() {
    let mut peer = Peer::start("postgres");
    for action in ["emit", "emitBinary", "join", "disconnect", "serverSideEmit"] {
        let published = peer.call(json!({"command": "emitter", "name": action})).published;
        let message = peer.read(&published);
        assert_eq!((message.sender.as_deref(), &*message.namespace), (Some("emitter"), "/"), "{action}");
        match (action, &message.body) {
            ("emit", Body::Broadcast(Broadcast { event, target, .. })) => {
                assert_eq!((&**event, &target.rooms[..]), ("hello", &["r1".into()][..]));
            }
            ("emitBinary", Body::Broadcast(Broadcast { args, .. })) => {
                assert_eq!(args.as_args().get::<Bytes>(0).unwrap(), [1, 2, 3][..]);
            }
            ("join", Body::Join { rooms, .. }) => assert_eq!(rooms[..], ["r2"].map(std::sync::Arc::<str>::from)),
            ("disconnect", Body::Disconnect { close: true, .. }) => {}
            ("serverSideEmit", Body::ServerEvent { event, .. }) => assert_eq!(&**event, "event"),
            other => panic!("{other:?}"),
        }
    }
}
