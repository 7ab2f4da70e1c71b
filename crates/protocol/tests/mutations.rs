//! Decodes valid inputs after random but repeatable mutations. No decoder may panic, loop, accept data that it cannot
//! decode later, or use more memory than its input explains.
//!
//! `SOCKEYE_MUTATIONS` sets the number of inputs for each decoder, 100,000 by default.

use sockeye_protocol::engineio::{self, decode_jsonp_form, payload};
use sockeye_protocol::socketio::{self, Args, Decoder, Limits, Packet, Value, msgpack};
use sockeye_protocol::websocket;

/// A small generator (SplitMix64), so that each run of a test sees the same inputs on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// Bytes that have a meaning for some decoder.
const TELLING: &[u8] =
    b"\0\x01\x04\x1e\x7f\x80\x81\x88\xc1\xc6\xc7\xd4\xdb\xdd\xdf\xfe\xff0123456789bde-+.,:?/\\\"[]{}tfn _";

fn mutate(random: &mut Random, corpus: &[&[u8]]) -> Vec<u8> {
    let mut data = random.pick(corpus).to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let end = (at + 1 + random.below(8)).min(data.len());
        match random.below(7) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 => data.truncate(at),
            2 => {
                let other = random.pick(corpus);
                let from = random.below(other.len());
                data.splice(at.., other[from..].iter().copied());
            }
            3 => drop(data.drain(at..end)),
            4 => {
                let copy = data[at..end].to_vec();
                data.splice(at..at, copy);
            }
            5 if at < data.len() => data[at] = TELLING[random.below(TELLING.len())],
            _ => data.insert(at, TELLING[random.below(TELLING.len())]),
        }
    }
    data
}

fn for_each_mutation(corpus: &[&[u8]], mut check: impl FnMut(&[u8], &mut Random)) {
    let count = std::env::var("SOCKEYE_MUTATIONS").map_or(100_000, |count| count.parse().expect("SOCKEYE_MUTATIONS"));
    let mut random = Random(42);
    for _ in 0..count {
        let data = mutate(&mut random, corpus);
        let memory = allocation_counter::measure(|| check(&data, &mut random));
        assert!(memory.bytes_max <= most_memory(data.len()), "{} bytes for {data:?}", memory.bytes_max);
        assert_eq!(memory.bytes_current, 0, "bytes are left of {data:?}");
    }
}

/// The most memory that decoding an input of this length may use at once. One digit can become a much larger value, in
/// an array that doubles as it grows.
fn most_memory(length: usize) -> u64 {
    8_192 + 128 * length as u64
}

const REVISIONS: [engineio::Revision; 2] = [engineio::Revision::V3, engineio::Revision::V4];

#[test]
fn engine_packets() {
    let corpus: [&[u8]; 9] = [
        b"0{\"sid\":\"a\"}",
        b"1",
        b"2probe",
        b"3",
        b"4hello \xe2\x82\xac",
        b"5",
        b"bAQIDBA==",
        b"b4AQID",
        b"\x04\x01",
    ];
    for_each_mutation(&corpus, |data, _| {
        for revision in REVISIONS {
            if let Ok(engineio::Packet::Binary(binary)) =
                engineio::Packet::parse_text(&String::from_utf8_lossy(data), revision)
            {
                assert!(binary.len() < data.len(), "base64 shrinks");
            }
            let _ = engineio::Packet::parse_binary(data, revision);
        }
    });
}

#[test]
fn engine_payloads() {
    let corpus: [&[u8]; 8] = [
        b"4hello\x1e2\x1ebAQIDBA==",
        b"6:4hello1:210:b4AQIDBA==",
        "4:4€😀11:4äöüäöüäöüä1:6".as_bytes(),
        b"\x00\x06\xff4hello\x01\x04\xff\x04\x01\x02\x03\x00\x01\xff2",
        b"\x01\x01\x02\xff\x04abcdefghijk",
        b"2",
        b"1:2",
        b"\x00\x01\xff2",
    ];
    for_each_mutation(&corpus, |data, _| {
        let text = String::from_utf8_lossy(data);
        // Each packet takes a byte at least, and the iterator ends with its first error.
        assert!(payload::decode_v4(&text).count() <= text.len() + 1);
        assert!(payload::decode_v3_text(&text).count() <= text.len());
        assert!(payload::decode_v3_binary(data).count() <= data.len());
    });
}

#[test]
fn jsonp_forms() {
    let corpus: [&[u8]; 4] = [b"d=6%3A4hello", b"d=a\\\\nb\\nc\\", b"x=1&d=%5C%5Cn%E2%82%AC", b"a&d&=&d=+"];
    for_each_mutation(&corpus, |data, _| {
        if let Some(payload) = decode_jsonp_form(data) {
            // An invalid byte becomes a replacement character of three.
            assert!(payload.len() <= data.len() * 3);
        }
    });
}

const SOCKET_LIMITS: Limits =
    Limits { max_attachments: 3, max_attachment_bytes: 16, max_depth: 8, revision: socketio::Revision::V5 };

/// Decodes and forwards a packet that a decoder has accepted; neither may fail.
fn exercise(packet: &Packet<'_>, has_attachments: bool) {
    let args = match packet {
        Packet::Event(event) => event.args,
        Packet::Ack(ack) => ack.args,
        Packet::Connect { payload, .. } => {
            assert!(payload.as_ref().is_none_or(|payload| payload.get().starts_with('{')));
            return;
        }
        _ => return,
    };
    for index in 0..args.len() {
        let value = args.get::<Value>(index);
        assert!(value.is_ok() || !has_attachments, "{value:?}");
        let _ = args.get::<(String, Vec<u8>)>(index);
    }
    assert!(args.get::<Value>(args.len()).is_err());
    let values = args.all::<Vec<Value>>();
    assert!(values.as_ref().is_ok_and(|values| values.len() == args.len()) || !has_attachments);
    let _ = args.all::<(u8, String)>();
    forward(args, values.ok());
}

fn forward(args: Args<'_>, values: Option<Vec<Value>>) {
    let mut text = Vec::new();
    let Ok(attachments) = socketio::encode_event(&mut text, "/", None, "e", &args) else { return };
    let limits = Limits { max_attachments: 1_000, max_attachment_bytes: 1_000, max_depth: 120, ..SOCKET_LIMITS };
    let mut decoder = Decoder::new();
    let text = str::from_utf8(&text).expect("text");
    let mut packet = decoder.decode_text(text, &limits).expect("what is forwarded decodes");
    for (index, attachment) in attachments.iter().enumerate() {
        assert!(packet.is_none(), "{index} attachments too few");
        packet = decoder.decode_binary(attachment, &limits).expect("what is forwarded decodes");
    }
    let Some(Packet::Event(event)) = packet else { panic!("{text}") };
    let forwarded: Option<Vec<Value>> = event.args.all().ok();
    let as_json = |values: Option<Vec<Value>>| values.map(|values| values.into_iter().map(as_json).collect::<Vec<_>>());
    assert_eq!(as_json(forwarded), as_json(values), "{text}");
}

/// What JSON makes of a value that only MessagePack has.
fn as_json(value: Value) -> Value {
    match value {
        Value::Undefined => Value::Null,
        Value::Number(number) if !number.as_f64().is_finite() => Value::Null,
        Value::Date(date) => date.to_string().into(),
        Value::Array(items) => items.into_iter().map(as_json).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, as_json(value))).collect()),
        value => value,
    }
}

#[test]
fn socket_text() {
    let corpus: [&[u8]; 17] = [
        b"0",
        b"0/x?a=b,{\"token\":[1,2,{\"a\":null}]}",
        b"1/x,",
        b"2[\"chat\",1,\"2\",{\"3\":[true,false]}]",
        "2/x,456[\"ä\\u00e4\\n\\\"\",\"€😀\",-1.5e3,[[[[]]]]]".as_bytes(),
        b"2[1,2]",
        b"31[]",
        b"3/x,12[1,\"2\"]",
        b"4/x,{\"message\":\"no\",\"data\":{\"a\":1}}",
        b"51-[\"a\",{\"_placeholder\":true,\"num\":0}]",
        b"52-/x,7[\"a\",{\"_placeholder\":true,\"num\":1},{\"b\":[{\"num\":0,\"_placeholder\":true}]}]",
        b"61-9[{\"_placeholder\":true,\"num\":0}]",
        b"53-[\"a\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0},[{\"_placeholder\":true,\"num\":2}]]",
        b"2[\"connect\"]",
        br#"2["\ud83d","hi \ude00",{"\ud83d\ude00":"\ud83d"}]"#,
        br#"51-["a","\ud83d",{"_placeholder":true,"num":0,"\ude00":1}]"#,
        br#"52-["a",1e400,{"_placeholder":true,"num":0.5},{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}]"#,
    ];
    let (mut accepted, mut completed) = (0, 0);
    for_each_mutation(&corpus, |data, random| {
        let text = String::from_utf8_lossy(data);
        for revision in [socketio::Revision::V4, socketio::Revision::V5] {
            let limits = Limits { revision, ..SOCKET_LIMITS };
            let mut decoder = Decoder::new();
            let Ok(packet) = decoder.decode_text(&text, &limits) else { continue };
            if let Some(packet) = packet {
                if let Packet::Event(event) = &packet {
                    assert!((0..event.args.len()).all(|index| event.args.raw(index).is_some()), "{text}");
                }
                accepted += 1;
                exercise(&packet, false);
            }
            let mut count = 0;
            while decoder.is_waiting() {
                count += 1;
                assert!(count <= limits.max_attachments, "{text}");
                let length = random.below(9);
                let Ok(packet) = decoder.decode_binary(&data[..length.min(data.len())], &limits) else { break };
                if let Some(packet) = packet {
                    completed += 1;
                    exercise(&packet, true);
                }
            }
        }
    });
    assert!(accepted > 0 && completed > 0, "the mutations are too rough to get anywhere");
}

#[test]
fn socket_msgpack() {
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    let mut encode = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        corpus.push(out);
    };
    let data = serde_json::json!({"a": [1, -2, 0.5, null, true, "text", 70_000, -70_000, 5_000_000_000_u64]});
    let binary = bytes::Bytes::from_static(&[1, 2, 3]);
    encode(&|out| msgpack::encode_event(out, "/", Some(7), "chat", &(&data, binary.clone())).unwrap());
    encode(&|out| msgpack::encode_event(out, "/x", None, "e", &(&"a".repeat(40), [[[[1]]]])).unwrap());
    encode(&|out| msgpack::encode_ack(out, "/", 300, &(&binary, 1.5)).unwrap());
    encode(&|out| msgpack::encode_connect(out, "/x", Some(&data)).unwrap());
    encode(&|out| msgpack::encode_connect_error(out, "/x", "no").unwrap());
    encode(&|out| msgpack::encode_disconnect(out, "/").unwrap());
    // undefined, an old and a new Date, an ArrayBuffer, lengths of 32 bits.
    corpus.push(b"\xd4\0\0\xd7\0\0\0\x01\x8b\xcf\xe5\x68\x7b\xd6\xff\0\0\0\0\xc7\x02\0\x01\x02".to_vec());
    corpus.push(b"\xdb\0\0\0\x01a\xdd\0\0\0\x01\xc0\xdf\0\0\0\x01\xa1a\xc0\xc6\0\0\0\x01a\xc9\0\0\0\x01\x05a".to_vec());
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let mut accepted = 0;
    for_each_mutation(&corpus, |data, _| {
        if let Ok(Some(packet)) = msgpack::decode(data, &SOCKET_LIMITS) {
            accepted += 1;
            exercise(&packet, false);
        }
    });
    assert!(accepted > 0, "the mutations are too rough to get anywhere");
}

#[test]
fn websocket_frames() {
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for mask in [None, Some([1, 2, 3, 4])] {
        let frame = |finished: bool, opcode: u8, payload: &[u8]| {
            let mut out = vec![u8::from(finished) << 7 | opcode];
            let masked = u8::from(mask.is_some()) << 7;
            match payload.len() {
                length @ ..126 => out.push(masked | length as u8),
                length => {
                    out.push(masked | 126);
                    out.extend((length as u16).to_be_bytes());
                }
            }
            out.extend(mask.into_iter().flatten());
            let key = mask.unwrap_or_default();
            out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            out
        };
        corpus.push(frame(true, 1, "hello €😀".as_bytes()));
        corpus.push(frame(true, 2, &[7; 200]));
        corpus.push([frame(false, 1, b"he\xe2"), frame(true, 9, b"ping"), frame(true, 0, b"\x82\xacllo")].concat());
        corpus.push([frame(true, 10, b""), frame(true, 8, b"\x03\xe8bye")].concat());
    }
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let limits = websocket::Limits { max_message: 300, max_fragments: 4 };
    for_each_mutation(&corpus, |data, random| {
        for role in [websocket::Role::Server, websocket::Role::Client] {
            let mut decoder = websocket::Decoder::new(role);
            let mut data = data.to_vec();
            let mut rest = &mut data[..];
            while !rest.is_empty() {
                // Input that arrives in pieces must decode like input that arrives at once.
                let length = if random.below(2) == 0 { rest.len() } else { 1 + random.below(rest.len()) };
                let Ok((consumed, event)) = decoder.decode(&mut rest[..length], &limits) else { break };
                assert!(consumed == length || (consumed > 0 && event.is_some()), "no progress");
                if let Some(websocket::Event::Text(text)) = event {
                    assert!(text.len() <= limits.max_message);
                }
                rest = &mut rest[consumed..];
            }
        }
    });
}
