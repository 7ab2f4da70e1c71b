//! Whatever is encoded comes back as it was: packets, payloads and values with binary data anywhere.

use std::borrow::Cow;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use sockeye_protocol::engineio::{self, Revision, decode_jsonp_form, encode_jsonp, payload};
use sockeye_protocol::socketio::{
    ArgsBuf, Decoder, Encoded, Limits, Packet, Value, append_elements, encode_ack, encode_event, msgpack,
};

fn engine_packet() -> impl Strategy<Value = engineio::Packet<'static>> {
    // Leaking a few short strings is simpler than a second, owned packet type for tests.
    let text = any::<String>().prop_map(|text| &*text.replace('\x1e', "").leak());
    prop_oneof![
        text.clone().prop_map(engineio::Packet::Open),
        text.clone().prop_map(engineio::Packet::Ping),
        text.clone().prop_map(engineio::Packet::Pong),
        text.prop_map(engineio::Packet::Text),
        vec(any::<u8>(), 0..2_000).prop_map(|data| engineio::Packet::Binary(Cow::Owned(data))),
        Just(engineio::Packet::Close),
        Just(engineio::Packet::Upgrade),
        Just(engineio::Packet::Noop),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-200_i64..70_000).prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other numbers", |number| number.is_finite()).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..300).prop_map(|data| Bytes::from(data).into()),
    ];
    leaf.prop_recursive(6, 40, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::from),
            vec((any::<String>(), inner), 0..20).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A namespace: text without the comma that would end it.
fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,]{1,20}"]
}

const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(45),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn engine_packets(packet in engine_packet()) {
        for revision in [Revision::V3, Revision::V4] {
            let mut out = Vec::new();
            packet.encode_text(revision, &mut out);
            let text = str::from_utf8(&out).unwrap();
            prop_assert_eq!(engineio::Packet::parse_text(text, revision), Ok(packet.clone()));
        }
    }

    #[test]
    fn engine_payloads(packets in vec(engine_packet(), 1..10)) {
        let [mut v4, mut text, mut binary] = [const { Vec::new() }; 3];
        for packet in &packets {
            payload::encode_v4(packet, &mut v4);
            payload::encode_v3_text(packet, &mut text);
            payload::encode_v3_binary(packet, &mut binary);
        }
        let expected: Result<Vec<_>, _> = Ok(packets);
        prop_assert_eq!(&payload::decode_v4(str::from_utf8(&v4).unwrap()).collect::<Result<_, _>>(), &expected);
        prop_assert_eq!(&payload::decode_v3_text(str::from_utf8(&text).unwrap()).collect::<Result<_, _>>(), &expected);
        prop_assert_eq!(&payload::decode_v3_binary(&binary).collect::<Result<_, _>>(), &expected);
    }

    #[test]
    fn jsonp_scripts_are_json_strings(text: String) {
        let mut out = Vec::new();
        encode_jsonp("3", &text, &mut out);
        let script = str::from_utf8(&out).unwrap();
        let json = script.strip_prefix("___eio[3](").unwrap().strip_suffix(");").unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(json).unwrap(), text);
    }

    #[test]
    fn jsonp_forms(text in r"[\\n\nab&=+% €]{0,20}") {
        // A client can't tell these two apart either; JSON never holds the first.
        prop_assume!(!text.contains("\\\n"));
        // What a JSONP client does before it submits its form.
        let escaped = text.replace("\\n", "\\\\n").replace('\n', "\\n");
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("d", &escaped).finish();
        prop_assert_eq!(decode_jsonp_form(body.as_bytes()), Some(text));
    }

    #[test]
    fn arguments_survive_a_change_of_encoding(args in (value(), value())) {
        let json = ArgsBuf::new(&args).unwrap();
        let mut packed = vec![0x92];
        msgpack::Writer::new(&mut packed).elements(&json).unwrap();
        let packed = Encoded::message_pack(&packed, 120).unwrap().items().unwrap();
        prop_assert_eq!(packed.all::<(Value, Value)>().unwrap(), args);
        prop_assert_eq!(packed.has_binary(), json.as_args().has_binary());
        let mut text = Vec::new();
        let attachments = append_elements(&mut text, &packed).unwrap();
        let mut expected = Vec::new();
        prop_assert_eq!(attachments, append_elements(&mut expected, &json).unwrap());
        prop_assert_eq!(text, expected);
    }

    #[test]
    fn socket_events(
        namespace in namespace(),
        ack in proptest::option::of(0..=1_u64 << 53),
        name: String,
        args in (value(), value()),
    ) {
        prop_assume!(!RESERVED.contains(&&*name));
        let limits = Limits { max_attachments: usize::MAX, ..Limits::default() };
        let check = |packet: Option<Packet<'_>>| {
            let Some(Packet::Event(event)) = packet else { panic!("no event: {packet:?}") };
            assert_eq!((event.namespace, event.ack, &*event.name), (&*namespace, ack, &*name));
            assert_eq!(event.args.all::<(Value, Value)>(), Ok(args.clone()));
            assert_eq!(event.args.get::<Value>(1).as_ref(), Ok(&args.1));
        };
        let mut out = Vec::new();
        let attachments = encode_event(&mut out, &namespace, ack, &name, &args).unwrap();
        let mut decoder = Decoder::new();
        let text = str::from_utf8(&out).unwrap();
        if let Some((last, others)) = attachments.split_last() {
            prop_assert!(decoder.decode_text(text, &limits).unwrap().is_none());
            for attachment in others {
                prop_assert!(decoder.decode_binary(attachment, &limits).unwrap().is_none());
            }
            check(decoder.decode_binary(last, &limits).unwrap());
        } else {
            check(decoder.decode_text(text, &limits).unwrap());
        }
        let mut packed = Vec::new();
        msgpack::encode_event(&mut packed, &namespace, ack, &name, &args).unwrap();
        check(msgpack::decode(&packed, &limits).unwrap());
    }

    #[test]
    fn socket_acks(namespace in namespace(), id in 0..=1_u64 << 53, arg in value()) {
        let limits = Limits { max_attachments: usize::MAX, ..Limits::default() };
        let mut packed = Vec::new();
        msgpack::encode_ack(&mut packed, &namespace, id, &&arg).unwrap();
        let Some(Packet::Ack(ack)) = msgpack::decode(&packed, &limits).unwrap() else { panic!("no ack") };
        prop_assert_eq!((ack.namespace, ack.id), (&*namespace, id));
        prop_assert_eq!(ack.args.all(), Ok((arg.clone(),)));

        // Forwarded from MessagePack to text.
        let mut text = Vec::new();
        let attachments = encode_ack(&mut text, &namespace, id, &ack.args).unwrap();
        let mut decoder = Decoder::new();
        let text = str::from_utf8(&text).unwrap();
        if attachments.is_empty() {
            let Some(Packet::Ack(ack)) = decoder.decode_text(text, &limits).unwrap() else { panic!("no ack") };
            prop_assert_eq!(ack.args.all(), Ok((arg.clone(),)));
        } else {
            decoder.decode_text(text, &limits).unwrap();
            for attachment in &attachments {
                if let Some(Packet::Ack(ack)) = decoder.decode_binary(attachment, &limits).unwrap() {
                    prop_assert_eq!(ack.args.all(), Ok((arg.clone(),)));
                }
            }
        }
    }

    #[test]
    fn strings_of_javascript(
        units in vec(prop_oneof![0xd7ff..0xe001_u16, any::<u16>(), 0x20..0x7f_u16], 0..20),
        is_named_so: bool,
    ) {
        // What `JSON.stringify` writes: pairs of surrogates as they are, the escape of each half that is alone.
        let json: String = char::decode_utf16(units.iter().copied()).map(|unit| match unit {
            Ok(character) => {
                let quoted = serde_json::to_string(&character).unwrap();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Err(half) => format!("\\u{:04x}", half.unpaired_surrogate()),
        }).collect();
        let expected = String::from_utf16_lossy(&units);
        prop_assume!(!RESERVED.contains(&&*expected));
        let text = if is_named_so { format!("2[\"{json}\"]") } else { format!("2[\"e\",\"{json}\"]") };
        let mut decoder = Decoder::new();
        let packet = decoder.decode_text(&text, &Limits::default()).unwrap();
        let Some(Packet::Event(event)) = packet else { panic!("no event: {packet:?}") };
        let string = if is_named_so { event.name.into_owned() } else { event.args.get(0).unwrap() };
        prop_assert_eq!(string, expected);
    }

    #[test]
    fn values_through_their_own_deserializer(value in value()) {
        let copy: Value = serde::Deserialize::deserialize(value.clone()).unwrap();
        prop_assert_eq!(copy, value);
    }
}
