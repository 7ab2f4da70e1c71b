//! The MessagePack parser: what the reference writes is read, and what is malformed is refused.

use bytes::Bytes;
use sockeye_protocol::socketio::{Date, DecodeError, Limits, Packet, Revision, Value, msgpack};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn fault(data: &[u8]) -> DecodeError {
    msgpack::decode(data, &Limits::default()).map(|packet| format!("{packet:?}")).expect_err("it must be refused")
}

/// Builds `{type, nsp: "/", data}` from MessagePack bytes.
fn packet(kind: u8, data: &[u8]) -> Vec<u8> {
    [&hex("83 a474797065")[..], &[kind], &hex("a36e7370 a12f a464617461"), data].concat()
}

#[test]
fn packets_of_the_reference_are_read() {
    // The bytes are what `socket.io-msgpack-parser` 3.0.2 writes.
    let limits = Limits::default();
    let connect = hex("83a47479706500a36e7370a12fa464617461d40000");
    let Some(Packet::Connect { namespace: "/", payload: None, .. }) = msgpack::decode(&connect, &limits).unwrap()
    else {
        panic!("not a connect packet without payload");
    };
    let connect = hex("83a47479706500a36e7370a22f78a46461746181a5746f6b656ea3313233");
    let Some(Packet::Connect { namespace: "/x", payload: Some(payload), query: None }) =
        msgpack::decode(&connect, &limits).unwrap()
    else {
        panic!("not a connect packet with a payload");
    };
    assert_eq!(payload.get(), r#"{"token":"123"}"#);
    let disconnect = hex("82a47479706501a36e7370a12f");
    assert!(matches!(msgpack::decode(&disconnect, &limits), Ok(Some(Packet::Disconnect { namespace: "/" }))));

    // chat: 1, -5, 3.5, "ä", a Buffer, a Date, undefined, [null, true], {a: 1e10}, with id 7 and compression.
    let event = hex(
        "85a47479706502a4646174619aa46368617401fbcb400c000000000000a2c3a4c403010203d7000000018bcfe5687bd4000092c0c3
         81a161cf00000002540be400a76f7074696f6e7381a8636f6d7072657373c3a2696407a36e7370a12f",
    );
    let Some(Packet::Event(event)) = msgpack::decode(&event, &limits).unwrap() else { panic!("not an event") };
    assert_eq!((event.namespace, event.ack, &*event.name, event.args.len()), ("/", Some(7), "chat", 9));
    assert!(event.args.raw(0).is_none());
    let args = event.args.all::<(u8, i8, f32, String, Bytes, String, Option<u8>, (Option<u8>, bool), Value)>().unwrap();
    assert_eq!((args.0, args.1, args.2, &*args.3), (1, -5, 3.5, "ä"));
    assert_eq!((&args.4[..], &*args.5, args.6), (&[1, 2, 3][..], "2023-11-14T22:13:20.123Z", None));
    assert_eq!((args.7, args.8.get("a")), ((None, true), Some(&10_000_000_000_i64.into())));

    let ack = hex("84a47479706503a2696405a36e7370a22f78a46461746190");
    let Some(Packet::Ack(ack)) = msgpack::decode(&ack, &limits).unwrap() else { panic!("not an ack") };
    assert_eq!((ack.namespace, ack.id, ack.args.len()), ("/x", 5, 0));
    let buffer = hex("83a47479706502a36e7370a12fa46461746192a162c702000908");
    let Some(Packet::Event(event)) = msgpack::decode(&buffer, &limits).unwrap() else { panic!("not an event") };
    assert_eq!(event.args.get::<Bytes>(0), Ok(Bytes::from_static(&[9, 8])));
    let error = hex("83a47479706504a36e7370a22f78a46461746181a76d657373616765a26e6f");
    let Some(Packet::ConnectError { namespace: "/x", payload }) = msgpack::decode(&error, &limits).unwrap() else {
        panic!("not an error");
    };
    assert_eq!(payload.get(), r#"{"message":"no"}"#);
}

#[test]
fn packets_are_written_as_the_reference_does() {
    // But for the order of the members the bytes are those of the reference.
    let mut out = Vec::new();
    msgpack::encode_connect(&mut out, "/x", Some(&serde_json::json!({"token": "123"}))).unwrap();
    assert_eq!(out, hex("83a47479706500a36e7370a22f78a46461746181a5746f6b656ea3313233"));
    out.clear();
    msgpack::encode_connect(&mut out, "/", None::<&()>).unwrap();
    assert_eq!(out, hex("82a47479706500a36e7370a12f"));
    out.clear();
    msgpack::encode_connect_error(&mut out, "/x", &serde_json::json!({"message": "no"})).unwrap();
    assert_eq!(out, hex("83a47479706504a36e7370a22f78a46461746181a76d657373616765a26e6f"));
    out.clear();
    msgpack::encode_disconnect(&mut out, "/").unwrap();
    assert_eq!(out, hex("82a47479706501a36e7370a12f"));
    out.clear();
    let args = (1, -5, 3.5, "ä", Bytes::from_static(&[1, 2, 3]), 10_000_000_000_i64, -33, [(); 1]);
    msgpack::encode_event(&mut out, "/", Some(200), "chat", &args).unwrap();
    assert_eq!(
        out,
        hex("84a47479706502a36e7370a12fa26964ccc8a46461746199a46368617401fbcb400c000000000000a2c3a4c403010203
             cf00000002540be400d0df91c0")
    );
    out.clear();
    msgpack::encode_ack(&mut out, "/x", 5, &()).unwrap();
    assert_eq!(out, hex("84a47479706503a36e7370a22f78a2696405a46461746190"));
}

#[test]
fn each_number_and_length_form_is_read() {
    let rows: [(&str, Value); 15] = [
        ("7f", 127.into()),
        ("ff", (-1).into()),
        ("cc ff", 255.into()),
        ("cd ffff", 65_535.into()),
        ("ce ffffffff", u32::MAX.into()),
        ("cf ffffffffffffffff", u64::MAX.into()),
        ("d0 80", (-128).into()),
        ("d1 8000", i16::MIN.into()),
        ("d2 80000000", i32::MIN.into()),
        ("d3 8000000000000000", i64::MIN.into()),
        ("ca 3fc00000", 1.5.into()),
        ("c6 00000001 07", Bytes::from_static(&[7]).into()),
        ("db 00000001 61", "a".into()),
        ("dd 00000001 c3", vec![true].into()),
        ("df 00000001 01 c3", Value::Object([("1".to_owned(), true.into())].into_iter().collect())),
    ];
    for (bytes, expected) in rows {
        let data = packet(2, &hex(&format!("92 a165 {bytes}")));
        let Some(Packet::Event(event)) = msgpack::decode(&data, &Limits::default()).unwrap() else { panic!("{bytes}") };
        assert_eq!(event.args.get::<Value>(0), Ok(expected), "{bytes}");
    }
}

#[test]
fn extensions_are_tolerated() {
    let rows: [(&str, Value); 8] = [
        ("d4 00 00", Value::Undefined),
        ("d7 00 0000018bcfe5687b", Date::from_unix_milliseconds(1_700_000_000_123).into()),
        ("d6 ff 00000000", Date::from_unix_milliseconds(0).into()),
        ("c7 0c ff 00000000 ffffffffffffffff", Date::from_unix_milliseconds(-1_000).into()),
        ("c7 02 00 0102", Bytes::from_static(&[1, 2]).into()),
        ("c7 08 00 0000018bcfe5687b", Bytes::from_static(&[0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x7b]).into()),
        ("d5 05 0102", Bytes::from_static(&[1, 2]).into()),
        ("c7 03 ff 010203", Bytes::from_static(&[1, 2, 3]).into()),
    ];
    for (bytes, expected) in rows {
        let data = packet(2, &hex(&format!("92 a165 {bytes}")));
        let Some(Packet::Event(event)) = msgpack::decode(&data, &Limits::default()).unwrap() else { panic!("{bytes}") };
        assert_eq!(event.args.get::<Value>(0), Ok(expected), "{bytes}");
    }
}

#[test]
fn numeric_names_are_accepted() {
    for (bytes, name) in [("07", "7"), ("ff", "-1"), ("cb 3ff8000000000000", "1.5"), ("a0", "")] {
        let data = packet(2, &hex(&format!("91 {bytes}")));
        let Some(Packet::Event(event)) = msgpack::decode(&data, &Limits::default()).unwrap() else { panic!("{bytes}") };
        assert_eq!(event.name, name);
    }
}

#[test]
fn malformed_packets_are_refused() {
    let rows = [
        "",
        "c0",
        "90",
        "01",
        "c1",
        "80",                                         // not a map, or an empty one
        "81 a474797065 02",                           // no namespace
        "82 a474797065 02 a36e7370 01",               // a namespace that is no string
        "82 a474797065 02 a36e7370 a178",             // a namespace without /
        "82 a474797065 05 a36e7370 a12f",             // an unknown type
        "82 a474797065 a132 a36e7370 a12f",           // a type that is no number
        "82 a474797065 01 a36e7370 a12f 00",          // something after the packet
        "82 01 02 a36e7370 a12f",                     // a key that is no string
        "df ffffffff a474797065 01",                  // fewer members than announced
        "83 a474797065 02 a36e7370 a12f a26964 ff",   // an id below zero
        "83 a474797065 03 a36e7370 a12f a26964 a131", // an id that is no number
        "82 a474797065 02 a36e7370 a12f",             // an event without data
    ];
    for row in rows {
        assert!(matches!(fault(&hex(row)), DecodeError::InvalidPayload(_) | DecodeError::UnknownType), "{row}");
    }
    let payloads = [
        (0, "90"),
        (0, "a178"),
        (0, "01"),
        (1, "80"),
        (2, "90"),
        (2, "80"),
        (2, "91c3"),
        (2, "91c0"),
        (2, "9180"),
        (2, "a165"),
        (2, "92a165"),
        (2, "92a165c1"),
        (2, "92a165a2ff"),
        (2, "92a165a1ff"),
        (2, "92a165c4"),
        (2, "92a165c6ffffffff00"),
        (2, "92a165ddffffffff"),
        (2, "92a165dfffffffff"),
        (2, "92a165dbffffffff"),
        (2, "92a165c9ffffffff00"),
        (2, "92a165cb00"),
        (2, "92a165d4"),
        (2, "92a165d400"),
        (3, "80"),
        (4, "c0"),
        (4, "01"),
        (4, "90"),
    ];
    for (kind, data) in payloads {
        let error = fault(&packet(kind, &hex(data)));
        assert!(matches!(error, DecodeError::InvalidPayload(_)), "{kind} {data}: {error:?}");
    }
}

#[test]
fn names_ids_and_depth_are_checked() {
    assert_eq!(fault(&packet(2, &hex("91 a7 636f6e6e656374"))), DecodeError::ReservedEvent("connect"));
    let id = hex("84 a474797065 02 a36e7370 a12f a26964 cf 0020000000000001 a464617461 91 a165");
    assert_eq!(fault(&id), DecodeError::AckIdTooLarge);
    let limits = Limits { max_depth: 2, ..Limits::default() };
    let nested = |depth: usize| packet(2, &[&hex("92 a165")[..], &vec![0x91; depth - 1], &[0x90]].concat());
    assert!(msgpack::decode(&nested(2), &limits).is_ok());
    assert!(matches!(msgpack::decode(&nested(3), &limits), Err(DecodeError::TooDeep { .. })));
    let limits = Limits { max_depth: usize::MAX, ..limits };
    assert!(matches!(msgpack::decode(&nested(1_000_000), &limits), Err(DecodeError::TooDeep { .. })));
}

#[test]
fn an_acknowledgement_without_an_id_answers_nothing() {
    assert!(msgpack::decode(&packet(3, &[0x90]), &Limits::default()).unwrap().is_none());
}

#[test]
fn revision_4_splits_the_query_off() {
    let data = hex("82 a474797065 00 a36e7370 a4 2f783f61");
    let limits = Limits { revision: Revision::V4, ..Limits::default() };
    let Some(Packet::Connect { namespace, query, .. }) = msgpack::decode(&data, &limits).unwrap() else { panic!() };
    assert_eq!((namespace, query), ("/x", Some("a")));
    let Some(Packet::Connect { namespace, query, .. }) = msgpack::decode(&data, &Limits::default()).unwrap() else {
        panic!()
    };
    assert_eq!((namespace, query), ("/x?a", None));
}
