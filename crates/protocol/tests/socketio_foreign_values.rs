//! Values of JavaScript and Python that Rust's JSON types can't hold, and user data that looks like a placeholder.
//!
//! The expected values are what `socket.io-parser` 4.2.7 and `socket.io-msgpack-parser` 3.0.2 return for the same
//! bytes.

use bytes::Bytes;
use serde_json::value::RawValue;
use sockeye_protocol::socketio::{ArgsBuf, DecodeError, Decoder, Limits, Packet, Value, encode_event, msgpack};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Decodes an event whose attachments are `A`, `B`, and so on.
fn decode(text: &str, attachments: u8) -> Result<ArgsBuf, DecodeError> {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    let mut packet = decoder.decode_text(text, &limits)?.map(args_of);
    for number in 0..attachments {
        packet = decoder.decode_binary(&[b'A' + number], &limits)?.map(args_of);
    }
    Ok(packet.expect("a whole packet"))
}

fn args_of(packet: Packet<'_>) -> ArgsBuf {
    match packet {
        Packet::Event(event) => event.args.to_owned(),
        Packet::Ack(ack) => ack.args.to_owned(),
        other => panic!("no arguments: {other:?}"),
    }
}

fn first<T: serde::de::DeserializeOwned>(text: &str, attachments: u8) -> T {
    decode(text, attachments).unwrap().as_args().get(0).unwrap()
}

/// Decodes the only argument of a MessagePack event.
fn unpack<T: serde::de::DeserializeOwned>(argument: &str) -> T {
    let packet = hex(&format!("83 a474797065 02 a36e7370 a12f a464617461 92 a165 {argument}"));
    args_of(msgpack::decode(&packet, &Limits::default()).unwrap().unwrap()).as_args().get(0).unwrap()
}

/// Encodes an event with one argument as MessagePack and returns the argument's bytes.
fn pack(argument: &impl serde::Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::encode_event(&mut out, "/", None, "e", &argument).unwrap();
    out.split_off(hex("83 a474797065 02 a36e7370 a12f a464617461 92 a165").len())
}

#[test]
fn message_pack_values_survive_a_value() {
    let rows = [
        ("NaN", "cb 7ff8000000000000"),
        ("Infinity", "cb 7ff0000000000000"),
        ("-Infinity", "cb fff0000000000000"),
        ("undefined", "d4 00 00"),
        ("a date", "d7 00 0000018bcfe5687b"),
        ("a date before 1970", "d7 00 ffffffffffffffff"),
        ("all of them, nested", "82 a161 93 cb7ff8000000000000 d40000 c0 a162 81 a163 d7000000000000000000"),
    ];
    for (name, bytes) in rows {
        let value: Value = unpack(bytes);
        assert_eq!(pack(&value), hex(bytes), "{name}");
        let copy: Value = serde::Deserialize::deserialize(value).unwrap();
        assert_eq!(pack(&copy), hex(bytes), "{name}, through the deserializer of Value");
    }
}

#[test]
fn floats_that_are_not_finite_are_packed_as_floats() {
    assert_eq!(pack(&f64::INFINITY), hex("cb 7ff0000000000000"));
    assert_eq!(pack(&f64::NAN), hex("cb 7ff8000000000000"));
    assert!(unpack::<f64>("cb 7ff8000000000000").is_nan());
    let mut json = Vec::new();
    encode_event(&mut json, "/", None, "e", &(f64::NAN, Value::from(f64::INFINITY))).unwrap();
    assert_eq!(str::from_utf8(&json), Ok(r#"2["e",null,null]"#), "JSON has only null for them, as in JavaScript");
}

#[test]
fn message_pack_keys_become_text_as_javascript_does_it() {
    let rows = [
        ("cb 3ff8000000000000", "1.5"),
        ("cb 7ff8000000000000", "NaN"),
        ("c0", "null"),
        ("d4 00 00", "undefined"),
        ("c2", "false"),
        ("c4 03 616263", "abc"),
        ("ff", "-1"),
    ];
    for (bytes, key) in rows {
        let expected = Value::Object([(key.to_owned(), true.into())].into_iter().collect());
        assert_eq!(unpack::<Value>(&format!("81 {bytes} c3")), expected, "{bytes}");
    }
}

#[test]
fn raw_json_is_packed_as_the_data_it_holds() {
    let raw = RawValue::from_string(r#"{"a":[1,"\ud83d",1e400]}"#.to_owned()).unwrap();
    assert_eq!(pack(&raw), hex("81 a161 93 01 a3efbfbd cb7ff0000000000000"));
}

#[test]
fn a_number_beyond_f64_is_infinite() {
    for text in ["1e400", &format!("1{}", "0".repeat(400))] {
        assert_eq!(first::<f64>(&format!(r#"2["e",{text}]"#), 0), f64::INFINITY);
        assert_eq!(first::<Value>(&format!(r#"2["e",[-{text}]]"#), 0), Value::from(vec![f64::NEG_INFINITY]));
    }
}

#[test]
fn a_number_beyond_f64_beside_an_attachment_costs_neither_event_nor_connection() {
    let text = r#"51-["e",1e400,{"_placeholder":true,"num":0},{"a":[-1e400,1]}]"#;
    let args = decode(text, 1).unwrap();
    assert_eq!(args.as_args().get::<Bytes>(1), Ok(Bytes::from_static(b"A")));
    assert_eq!(args.as_args().get::<f64>(0), Ok(f64::INFINITY));
    let mut forwarded = Vec::new();
    let attachments = encode_event(&mut forwarded, "/", None, "e", &args).unwrap();
    assert_eq!((str::from_utf8(&forwarded), attachments), (Ok(text), vec![Bytes::from_static(b"A")]));
}

#[test]
fn user_data_that_looks_like_a_placeholder_is_read_as_the_reference_reads_it() {
    let a = || Value::from(Bytes::from_static(b"A"));
    let b = || Value::from(Bytes::from_static(b"B"));
    let map = |key: &str, value| Value::Object([(key.to_owned(), value)].into_iter().collect());
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let rows = [
        // Both objects get the attachment that was meant for the second.
        (format!(r#"51-["e",{placeholder},{placeholder}]"#), 1, vec![a(), a()]),
        (format!(r#"51-["e",[{{"b":{placeholder}}}],{placeholder}]"#), 1, vec![vec![map("b", a())].into(), a()]),
        // What is nested in a placeholder goes with it.
        (r#"51-["e",{"_placeholder":true,"num":0,"x":{"_placeholder":true,"num":9}}]"#.to_owned(), 1, vec![a()]),
        // An attachment that no placeholder names is dropped.
        (r#"51-["e",1]"#.to_owned(), 1, vec![1.into()]),
        (r#"52-["e",{"_placeholder":true,"num":1}]"#.to_owned(), 2, vec![b()]),
        (r#"61-5[{"_placeholder":true,"num":0}]"#.to_owned(), 1, vec![a()]),
        // JavaScript reads a fraction as the name of a property that no array has.
        (r#"51-["e",{"_placeholder":true,"num":0.5}]"#.to_owned(), 1, vec![Value::Undefined]),
        (r#"51-["e",{"_placeholder":true,"num":-0}]"#.to_owned(), 1, vec![a()]),
        (r#"52-["e",{"_placeholder":true,"num":1.0}]"#.to_owned(), 2, vec![b()]),
        // Only `true` marks a placeholder.
        (
            r#"51-["e",{"_placeholder":1,"num":0}]"#.to_owned(),
            1,
            vec![serde_json::json!({"_placeholder":1,"num":0}).into()],
        ),
        // Without attachments it is data like any other.
        (
            r#"2["e",{"_placeholder":true,"num":0}]"#.to_owned(),
            0,
            vec![serde_json::json!({"_placeholder":true,"num":0}).into()],
        ),
    ];
    for (text, attachments, expected) in rows {
        assert_eq!(decode(&text, attachments).unwrap().as_args().all(), Ok(expected), "{text}");
    }
}

#[test]
fn a_placeholder_that_names_no_attachment_is_refused_as_by_the_reference() {
    for number in ["1", "-1", "\"0\"", "null", "1e400", "-0.5"] {
        let text = format!(r#"51-["e",{{"_placeholder":true,"num":{number}}}]"#);
        assert_eq!(decode(&text, 1).unwrap_err(), DecodeError::IllegalPlaceholders, "{text}");
    }
    assert_eq!(decode(r#"51-["e",{"_placeholder":true}]"#, 1).unwrap_err(), DecodeError::IllegalPlaceholders);
}

#[test]
fn an_attachment_counts_as_often_as_placeholders_name_it() {
    let limits = Limits { max_attachment_bytes: 100, ..Limits::default() };
    let decode = |count: usize| {
        let mut decoder = Decoder::new();
        let placeholders = vec![r#"{"_placeholder":true,"num":0}"#; count].join(",");
        decoder.decode_text(&format!(r#"51-["e",{placeholders}]"#), &limits).unwrap();
        decoder.decode_binary(&[0; 50], &limits).map(|packet| packet.is_some())
    };
    assert_eq!(decode(2), Ok(true));
    assert_eq!(decode(3), Err(DecodeError::AttachmentsTooLarge { limit: 100 }));
}

#[test]
fn a_number_as_event_name_is_written_as_javascript_writes_it() {
    let rows = [
        ("1e400", "Infinity"),
        ("-1e400", "-Infinity"),
        ("1e21", "1e+21"),
        ("-1e21", "-1e+21"),
        ("123456789012345680000", "123456789012345680000"),
        ("1.5e-7", "1.5e-7"),
        ("1e-6", "0.000001"),
        ("5e-324", "5e-324"),
        ("0.1", "0.1"),
        ("1e300", "1e+300"),
        ("9007199254740993", "9007199254740992"),
    ];
    for (number, name) in rows {
        let mut decoder = Decoder::new();
        let text = format!("2[{number}]");
        let Some(Packet::Event(event)) = decoder.decode_text(&text, &Limits::default()).unwrap() else { panic!() };
        assert_eq!(event.name, name, "{text}");
    }
    for (bytes, name) in [("cb 7ff0000000000000", "Infinity"), ("cb 7ff8000000000000", "NaN")] {
        let packet = hex(&format!("83 a474797065 02 a36e7370 a12f a464617461 91 {bytes}"));
        let Some(Packet::Event(event)) = msgpack::decode(&packet, &Limits::default()).unwrap() else { panic!() };
        assert_eq!(event.name, name);
    }
}
