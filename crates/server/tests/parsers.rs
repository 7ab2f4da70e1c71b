//! The formats of packets: MessagePack, one of the user's own, and what clients of Socket.IO 2 make of MessagePack.
mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sockeye::{
    ArgsBuf, Auth, Config, ConnectRefusal, EmitError, EngineConfig, Parser, RawArgs, RecoveryConfig, Revision, Server,
    Socket, TestClientError, Value,
    parser::{CustomBody, CustomDecoder, CustomMessage, CustomPacket, CustomParser, ParserError},
};
use sockeye_engine::Message;
use support::{Raw, next};
use tokio::sync::mpsc;

fn server_with(parser: Parser) -> Server {
    let defaults = Config::default();
    let engine = EngineConfig { allow_eio3: true, ..defaults.engine.clone() };
    let server = Server::builder().config(Config { parser, engine, ..defaults }).build();
    for name in ["/", "/other"] {
        let namespace = server.of(name);
        namespace.on("echo", async |socket: Socket, RawArgs(args): RawArgs| {
            socket.emit("echoed", args.clone()).unwrap();
            args
        });
    }
    server.of("/closed").on_connect(async |Auth(auth): Auth<Option<Value>>| {
        Err(ConnectRefusal::new("members only").with_data(&auth.is_some()))
    });
    server
}

async fn speaks_all_of_socket_io(server: &Server, data: Value) {
    for name in ["/", "/other"] {
        let mut client =
            server.test_client().namespace(name).auth(serde_json::json!({"a": 1})).connect().await.unwrap();
        let answer: Value = client.emit_with_ack("echo", data.clone()).await.unwrap();
        assert_eq!(answer, data);
        let echoed = client.receive().await.unwrap();
        assert_eq!((echoed.name.as_str(), echoed.args.as_args().get::<Value>(0).unwrap()), ("echoed", data.clone()));
        server.of(name).emit("all", (1, data.clone())).unwrap();
        let all = client.receive().await.unwrap();
        assert_eq!(all.args.as_args().all::<(u8, Value)>().unwrap(), (1, data.clone()));
        let socket = server.of(name).socket(client.sid()).unwrap();
        let asked = socket.emit_with_ack::<Value>("question", data.clone());
        let question = client.receive().await.unwrap();
        client.acknowledge(&question, data.clone()).await.unwrap();
        assert_eq!(asked.await.unwrap(), data);
        client.disconnect().await.unwrap();
        assert!(server.of(name).local().is_empty());
    }
    let refused = server.test_client().namespace("/closed").auth(serde_json::json!({})).connect().await;
    let Err(TestClientError::Refused { message, data }) = refused else { panic!("{refused:?}") };
    assert_eq!((message.as_str(), data), ("members only", Some(Value::from(true))));
}

#[tokio::test]
async fn message_pack_carries_every_type_of_packet() {
    let deep = Value::Array(vec![Value::Binary(Bytes::from_static(&[0, 255])), Value::Null, "é".into()]);
    let server = server_with(Parser::MessagePack);
    speaks_all_of_socket_io(&server, deep).await;
    let client = Raw::open(&server, Revision::V4).await;
    // {"type": 0, "nsp": "/"}
    client.send(&["bgqR0eXBlAKNuc3ChLw=="]).await;
    let joined = client.poll().await.unwrap();
    // {"type": 0, "nsp": "/", "data": {"sid": "…
    assert!(joined[0].starts_with("bg6R0eXBlAKNuc3ChL6RkYXRhgaNzaWS0"), "{joined:?}");
}

#[tokio::test]
async fn a_custom_parser_carries_every_type_of_packet() {
    let server = server_with(Parser::Custom(Arc::new(Lines)));
    speaks_all_of_socket_io(&server, Value::Array(vec!["é".into(), 2.into()])).await;
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["4connect\n/\nnull"]).await;
    assert!(client.until("sid").await[0].starts_with("4connect\n/\n{\"sid\":"));
    client.send(&["4event\n/\n[7,\"echo\",[1]]"]).await;
    // The acknowledgement is `ack\n/\n[7,[1]]` in a binary message.
    assert_eq!(client.until("b").await, ["4event\n/\n[null,\"echoed\",[1]]", "bYWNrCi8KWzcsWzFdXQ=="]);
}

#[tokio::test]
async fn with_recovery_an_offset_is_the_last_argument_in_every_format() {
    for parser in [Parser::Json, Parser::MessagePack, Parser::Custom(Arc::new(Lines))] {
        let is_custom = matches!(parser, Parser::Custom(_));
        let config = Config { parser, recovery: Some(RecoveryConfig::default()), ..Config::default() };
        let server = Server::builder().config(config).build();
        let observed = Arc::new(Mutex::new(Vec::new()));
        let note = observed.clone();
        server.of("/").on_any_outgoing(move |_, _, args| note.lock().unwrap().push(args.all::<Vec<Value>>().unwrap()));
        let mut client = server.test_client().connect().await.unwrap();
        let bytes = if is_custom { "no bytes".into() } else { Value::Binary(Bytes::from_static(&[0, 255])) };
        server.emit("none", ()).unwrap();
        server.emit("two", (0.5, &bytes)).unwrap();
        server.emit("passed on", ArgsBuf::new(&("é", [1, -1])).unwrap()).unwrap();
        let expected: [Vec<Value>; 3] =
            [vec![], vec![0.5.into(), bytes], vec!["é".into(), Value::Array(vec![1.into(), (-1).into()])]];
        let mut received = Vec::new();
        for (args, number) in expected.iter().zip(1..) {
            let event = client.receive().await.unwrap();
            let all = event.args.as_args().all::<Vec<Value>>().unwrap();
            let (offset, data) = all.split_last().unwrap();
            assert_eq!(data, args, "{}", event.name);
            let Value::String(offset) = offset else { panic!("{offset:?} is no offset") };
            assert!(offset.ends_with(&format!(".{number}")), "{offset}");
            received.push(all);
        }
        assert_eq!(*observed.lock().unwrap(), received);
    }
}

#[tokio::test]
async fn a_packet_that_the_parser_refuses_closes_the_connection() {
    for parser in [Parser::Custom(Arc::new(Lines)), Parser::MessagePack] {
        let server = server_with(parser);
        let client = Raw::open(&server, Revision::V4).await;
        client.send(&["4no packet"]).await;
        assert!(client.is_closed().await);
        assert_eq!(server.metrics().protocol_violations, 1);
    }
}

#[tokio::test]
async fn a_panic_of_the_parser_is_an_error_of_the_parser() {
    let server = server_with(Parser::Custom(Arc::new(Lines)));
    let root = server.of("/");
    let (sender, mut left) = mpsc::unbounded_channel();
    root.on_disconnect(move || {
        sender.send(()).unwrap();
        std::future::ready(())
    });
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["4connect\n/\nnull"]).await;
    client.until("sid").await;
    // An acknowledgement is written by the connection's own task.
    root.on("panic", async || "panic");
    client.send(&["4event\n/\n[7,\"panic\",[]]"]).await;
    assert!(matches!(root.emit("panic", ()), Err(EmitError::Encode(_))));
    root.emit("after", ()).unwrap();
    assert_eq!(client.until("after").await, ["4event\n/\n[null,\"after\",[]]"]);
    client.send(&["4panic\n/\nnull"]).await;
    assert!(client.is_closed().await);
    next(&mut left).await;
    assert_eq!((root.local().len(), server.metrics().protocol_violations), (0, 1));
}

#[tokio::test]
async fn in_socket_io_2_joining_and_leaving_are_json_beside_message_pack() {
    let server = server_with(Parser::MessagePack);
    server.of("/other").on_connect(async |socket: Socket, Auth(auth): Auth<Value>| Ok(socket.emit("auth", auth)?));
    let client = Raw::open(&server, Revision::V3).await;
    assert_eq!(client.until("type").await, [r#"4{"type":0,"nsp":"/"}"#]);
    client.send(&[r#"4{"type":0,"nsp":"/other?token=1","query":"token=1"}"#]).await;
    let joined = client.until("b4").await;
    assert_eq!(joined[0], r#"4{"type":0,"nsp":"/other"}"#);
    assert!(joined.len() == 2 && joined[1].starts_with("b4"), "the event is no binary message: {joined:?}");
    client.send(&[r#"4{"type":0,"nsp":"/closed"}"#]).await;
    assert_eq!(client.until("type").await, [r#"4{"type":4,"nsp":"/closed","data":false}"#]);
    // {"type": 5, "nsp": "/other", "data": ["echo", bin]}: these clients tell binary events from others.
    client.send(&["b4g6R0eXBlBaNuc3CmL290aGVypGRhdGGSpGVjaG/EAQc="]).await;
    assert!(client.until("b4").await[0].starts_with("b4"));
    client.send(&[r#"4{"type":1,"nsp":"/other"}"#]).await;
    assert!(server.of("/other").local().is_empty());
    assert_eq!(server.metrics().protocol_violations, 0);
}

/// A format of lines: the kind, the namespace, JSON. Acknowledgements are binary messages, for there to be some.
struct Lines;

impl CustomParser for Lines {
    fn encode(&self, packet: &CustomPacket) -> Result<Vec<CustomMessage>, ParserError> {
        let (kind, json) = match &packet.body {
            CustomBody::Connect(payload) => ("connect", serde_json::to_string(payload)?),
            CustomBody::Disconnect => ("disconnect", "null".into()),
            CustomBody::Event { ack, name, args } => ("event", serde_json::to_string(&(ack, name, args))?),
            CustomBody::Ack { id, args } => ("ack", serde_json::to_string(&(id, args))?),
            CustomBody::ConnectError(payload) => ("error", serde_json::to_string(payload)?),
        };
        assert!(!json.contains("\"panic\""), "as asked for");
        let line = format!("{kind}\n{}\n{json}", packet.namespace);
        Ok(vec![if kind == "ack" { CustomMessage::Binary(line.into()) } else { CustomMessage::Text(line) }])
    }

    fn decoder(&self) -> Box<dyn CustomDecoder> {
        Box::new(Self)
    }
}

impl CustomDecoder for Lines {
    fn decode(&mut self, message: Message<'_>) -> Result<Option<CustomPacket>, ParserError> {
        let line = match message {
            Message::Text(text) => text,
            Message::Binary(data) => std::str::from_utf8(data)?,
        };
        let [kind, namespace, json] = line.splitn(3, '\n').collect::<Vec<_>>()[..] else {
            return Err("three lines make a packet".into());
        };
        let body = match kind {
            "panic" => panic!("as asked for"),
            "connect" => CustomBody::Connect(serde_json::from_str(json)?),
            "disconnect" => CustomBody::Disconnect,
            "event" => {
                let (ack, name, args) = serde_json::from_str(json)?;
                CustomBody::Event { ack, name, args }
            }
            "ack" => {
                let (id, args) = serde_json::from_str(json)?;
                CustomBody::Ack { id, args }
            }
            "error" => CustomBody::ConnectError(serde_json::from_str(json)?),
            _ => return Err("an unknown kind".into()),
        };
        Ok(Some(CustomPacket { namespace: namespace.into(), body }))
    }
}
