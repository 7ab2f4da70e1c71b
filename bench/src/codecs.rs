//! The operations of the codecs, each on data as chat clients send it.

use std::{error::Error, hint::black_box};

use sockeye_protocol::{
    engineio::{self, payload},
    socketio::{self, Args, Decoder, Limits, Packet, msgpack},
    websocket::{self, Role, apply_mask},
};

type Operation = fn() -> Box<dyn FnMut()>;

const OPERATIONS: &[(&str, Operation)] = &[
    ("socketio_decode_small", || decode_text(event("hello"))),
    ("socketio_decode_4k", || decode_text(event(&"lorem ipsum ".repeat(340)))),
    ("socketio_decode_attachment", decode_attachment),
    ("socketio_encode_small", || encode_text("hello".into())),
    ("socketio_encode_4k", || encode_text("lorem ipsum ".repeat(340))),
    ("socketio_forward_4k", forward),
    ("msgpack_decode_4k", decode_msgpack),
    ("msgpack_encode_4k", encode_msgpack),
    ("engineio_payload_decode_16", decode_payload),
    ("websocket_decode_small", || decode_frame(64)),
    ("websocket_decode_4k", || decode_frame(4096)),
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(name, _)| *name)
}

pub(crate) fn run(name: &str, count: u64) -> Result<(), Box<dyn Error>> {
    let (_, prepare) = OPERATIONS.iter().find(|(known, _)| *known == name).ok_or("there is no such operation")?;
    let mut operation = prepare();
    for _ in 0..count {
        operation();
    }
    Ok(())
}

fn event(text: &str) -> String {
    format!(r#"217["message",{{"room":"lobby","text":"{text}","seq":42,"tags":["a","b"],"ok":true}}]"#)
}

fn decode_text(text: String) -> Box<dyn FnMut()> {
    let mut decoder = Decoder::new();
    Box::new(move || {
        let packet = decoder.decode_text(black_box(&text), &Limits::default());
        assert!(matches!(packet, Ok(Some(Packet::Event(_)))));
    })
}

fn decode_attachment() -> Box<dyn FnMut()> {
    let mut decoder = Decoder::new();
    let attachment = vec![7; 4096];
    Box::new(move || {
        let text = r#"51-["file","notes.txt",{"_placeholder":true,"num":0}]"#;
        assert!(matches!(decoder.decode_text(black_box(text), &Limits::default()), Ok(None)));
        let packet = decoder.decode_binary(&attachment, &Limits::default());
        assert!(matches!(packet, Ok(Some(Packet::Event(_)))));
    })
}

fn encode_text(text: String) -> Box<dyn FnMut()> {
    let mut out = Vec::new();
    let message = serde_json::json!({"room": "lobby", "text": text, "seq": 42, "tags": ["a", "b"], "ok": true});
    Box::new(move || {
        out.clear();
        let encoded = socketio::encode_event(&mut out, "/", Some(17), "message", &(black_box(&message),));
        assert!(encoded.is_ok_and(|attachments| attachments.is_empty()));
    })
}

/// Decodes an event and acknowledges it with its own arguments.
fn forward() -> Box<dyn FnMut()> {
    let text = event(&"lorem ipsum ".repeat(340));
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        let Ok(Some(Packet::Event(event))) = decoder.decode_text(black_box(&text), &Limits::default()) else {
            unreachable!("the event is valid");
        };
        let args: Args<'_> = event.args;
        assert!(socketio::encode_ack(&mut out, event.namespace, 17, &args.to_owned()).is_ok());
    })
}

fn encode_msgpack() -> Box<dyn FnMut()> {
    let mut out = Vec::new();
    let text = "lorem ipsum ".repeat(340);
    Box::new(move || {
        out.clear();
        assert!(msgpack::encode_event(&mut out, "/", Some(17), "message", &("lobby", black_box(&text), 42)).is_ok());
    })
}

fn decode_msgpack() -> Box<dyn FnMut()> {
    let mut data = Vec::new();
    let encoded = msgpack::encode_event(&mut data, "/", Some(17), "message", &("lobby", "lorem ".repeat(680), 42));
    assert!(encoded.is_ok());
    Box::new(move || {
        assert!(matches!(msgpack::decode(black_box(&data), &Limits::default()), Ok(Some(Packet::Event(_)))));
    })
}

fn decode_payload() -> Box<dyn FnMut()> {
    let body = vec![format!("4{}", event("hello")); 16].join("\x1e");
    Box::new(move || {
        let valid =
            payload::decode_v4(black_box(&body)).filter(|packet| matches!(packet, Ok(engineio::Packet::Text(_))));
        assert_eq!(valid.count(), 16);
    })
}

fn decode_frame(length: usize) -> Box<dyn FnMut()> {
    const KEY: [u8; 4] = [1, 2, 3, 4];
    const LIMITS: websocket::Limits = websocket::Limits { max_message: 1 << 20, max_fragments: 1024 };
    let mut payload = vec![b'a'; length];
    apply_mask(&mut payload, KEY, 0);
    let mut frame = websocket::encode_head(true, websocket::Opcode::Text, length as u64, Some(KEY)).to_vec();
    frame.extend_from_slice(&payload);
    let mut decoder = websocket::Decoder::new(Role::Server);
    let mut input = frame.clone();
    Box::new(move || {
        input.copy_from_slice(black_box(&frame));
        let decoded = decoder.decode(&mut input, &LIMITS);
        assert!(matches!(decoded, Ok((_, Some(websocket::Event::Text(_))))));
    })
}
