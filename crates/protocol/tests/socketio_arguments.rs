//! Encodes Rust types as arguments and decodes them again, with binary data at any depth, as JSON and as MessagePack.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sockeye_protocol::socketio::{
    Args, ArgsBuf, ArgumentError, Arguments, Date, Decoder, Limits, Packet, Value, append_argument, encode_ack,
    encode_connect, encode_connect_error, encode_disconnect, encode_event, msgpack,
};

fn text_of(args: &impl Arguments) -> (String, Vec<Bytes>) {
    let mut out = b"4".to_vec();
    let attachments = encode_event(&mut out, "/", None, "e", args).unwrap();
    (String::from_utf8(out).unwrap(), attachments)
}

/// Encodes and decodes `args` with both parsers and calls `check` with each result.
fn through_both(args: &impl Arguments, check: impl Fn(Args<'_>)) {
    let limits = Limits::default();
    let (text, attachments) = text_of(args);
    let mut decoder = Decoder::new();
    if attachments.is_empty() {
        let Some(Packet::Event(event)) = decoder.decode_text(&text[1..], &limits).unwrap() else { panic!("no event") };
        check(event.args);
    } else {
        assert!(decoder.decode_text(&text[1..], &limits).unwrap().is_none());
        let (last, others) = attachments.split_last().unwrap();
        for attachment in others {
            assert!(decoder.decode_binary(attachment, &limits).unwrap().is_none());
        }
        let Some(Packet::Event(event)) = decoder.decode_binary(last, &limits).unwrap() else { panic!("no event") };
        check(event.args);
        check(event.args.to_owned().as_args());
    }
    let mut packed = Vec::new();
    msgpack::encode_event(&mut packed, "/x", Some(1), "e", args).unwrap();
    let Some(Packet::Event(event)) = msgpack::decode(&packed, &limits).unwrap() else { panic!("no event") };
    assert_eq!((event.namespace, event.ack, &*event.name), ("/x", Some(1), "e"));
    check(event.args);
    check(event.args.to_owned().as_args());
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: T) {
    through_both(&&data, |args| assert_eq!(args.get::<T>(0).as_ref(), Ok(&data)));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    content: Bytes,
    parts: Vec<Part>,
    thumbnail: Option<Bytes>,
    sizes: BTreeMap<u32, Bytes>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Empty,
    Data(Bytes),
    Range(i64, u64),
    Named { name: char, ratio: f64, exact: bool },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapper(Bytes);

fn file() -> File {
    File {
        name: "ä€😀\"\n".to_owned(),
        content: Bytes::from_static(&[0, 1, 255]),
        parts: vec![
            Part::Empty,
            Part::Data(Bytes::from_static(b"x")),
            Part::Range(-70_000, u64::MAX),
            Part::Named { name: 'ß', ratio: 0.5, exact: true },
        ],
        thumbnail: Some(Bytes::new()),
        sizes: BTreeMap::from([(7, Bytes::from_static(b"seven"))]),
    }
}

#[test]
fn rust_types_round_trip() {
    comes_back(file());
    comes_back((Unit, Wrapper(Bytes::from_static(b"w")), Some(1_i8), None::<u8>, ()));
    comes_back(vec![Part::Empty, Part::Range(i64::MIN, 0)]);
    comes_back(BTreeMap::from([(-1_i64, true), (2, false)]));
    comes_back(BTreeMap::from([(true, Bytes::from_static(b"b"))]));
    comes_back("a string longer than thirty-one bytes takes another form".repeat(2_000));
    comes_back((0..70_000).collect::<Vec<u32>>());
    comes_back((-130..130).map(|number| number * 300).collect::<Vec<i64>>());
    comes_back((1.5_f32, -2.25_f64, u128::from(u64::MAX)));
    comes_back(Bytes::from(vec![7; 70_000]));
}

#[test]
fn placeholders_replace_binary_data() {
    let (text, attachments) = text_of(&(1, Bytes::from_static(b"a"), &file()));
    assert_eq!(attachments, [&b"a"[..], &[0, 1, 255], b"x", b"", b"seven"]);
    assert!(text.starts_with(r#"455-["e",1,{"_placeholder":true,"num":0},{"name":"#), "{text}");
    assert!(text.contains(r#""parts":["Empty",{"Data":{"_placeholder":true,"num":2}},{"Range":"#), "{text}");
}

#[test]
fn an_argument_is_appended_to_an_encoded_event() {
    /// This many arguments, of which `append_argument` adds the last.
    struct Announced(usize);

    impl Arguments for Announced {
        fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
            (1..self.0).try_for_each(|number| seq.serialize_element(&number))
        }

        fn count(&self) -> usize {
            self.0
        }
    }

    for count in [1, 2, 15, 70_000] {
        let check = |packet: Option<Packet<'_>>| {
            let Some(Packet::Event(event)) = packet else { panic!("no event") };
            assert_eq!((event.args.len(), event.args.get(count - 1)), (count, Ok("the \"last\"".to_owned())));
        };
        let mut out = Vec::new();
        encode_event(&mut out, "/", None, "e", &Announced(count)).unwrap();
        append_argument(&mut out, "the \"last\"").unwrap();
        check(Decoder::new().decode_text(std::str::from_utf8(&out).unwrap(), &Limits::default()).unwrap());
        let mut out = Vec::new();
        msgpack::encode_event(&mut out, "/", None, "e", &Announced(count)).unwrap();
        msgpack::append_argument(&mut out, "the \"last\"").unwrap();
        check(msgpack::decode(&out, &Limits::default()).unwrap());
    }
}

#[test]
fn packets_are_written_as_the_reference_does() {
    let data = json!({"z": 1, "a": [true, null]});
    let mut out = Vec::new();
    encode_event(&mut out, "/", None, "message-back", &(1, "2", json!({"3": [true]}))).unwrap();
    out.push(b'\n');
    encode_event(&mut out, "/custom", Some(12), "e", &()).unwrap();
    out.push(b'\n');
    encode_ack(&mut out, "/", 456, &(1, "2", json!({"3": [false]}))).unwrap();
    out.push(b'\n');
    let attachments = encode_ack(&mut out, "/x", 789, &(Bytes::from_static(&[1]), Bytes::from_static(&[2]))).unwrap();
    assert_eq!(attachments, [&[1][..], &[2]]);
    out.push(b'\n');
    encode_connect(&mut out, "/", Some(&json!({"sid": "abc"}))).unwrap();
    out.push(b'\n');
    encode_connect(&mut out, "/custom", None::<&()>).unwrap();
    out.push(b'\n');
    encode_connect_error(&mut out, "/random", &json!({"message": "Invalid namespace"})).unwrap();
    out.push(b'\n');
    encode_disconnect(&mut out, "/");
    out.push(b'\n');
    encode_disconnect(&mut out, "/custom");
    out.push(b'\n');
    encode_event(&mut out, "/", None, "auth", &data).unwrap();
    let expected = r#"2["message-back",1,"2",{"3":[true]}]
2/custom,12["e"]
3456[1,"2",{"3":[false]}]
62-/x,789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]
0{"sid":"abc"}
0/custom,
4/random,{"message":"Invalid namespace"}
1
1/custom,
2["auth",{"z":1,"a":[true,null]}]"#;
    assert_eq!(str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn a_failed_encoding_leaves_the_buffer_as_it_was() {
    let bad = BTreeMap::from([(vec![1], 2)]);
    let mut out = b"before".to_vec();
    assert!(encode_event(&mut out, "/", None, "e", &(Bytes::from_static(b"a"), &bad)).is_err());
    assert!(encode_ack(&mut out, "/", 1, &&bad).is_err());
    assert!(encode_connect(&mut out, "/", Some(&bad)).is_err());
    assert!(encode_connect_error(&mut out, "/", &bad).is_err());
    assert!(msgpack::encode_event(&mut out, "/", None, "e", &&bad).is_err());
    assert!(msgpack::encode_connect(&mut out, "/", Some(&bad)).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn all_arguments_at_once() {
    through_both(&(1, "two", Bytes::from_static(&[3])), |args| {
        assert_eq!(args.all(), Ok((1_u8, "two".to_owned(), vec![3_u8])));
        assert_eq!(args.all(), Ok((1_u8, "two".to_owned())), "an argument too many is ignored");
        assert_eq!(args.all(), Ok(()));
        let values: Vec<Value> = args.all().unwrap();
        assert_eq!(values, [1.into(), "two".into(), Bytes::from_static(&[3]).into()]);
        let error = args.all::<(u8, u8, Vec<u8>)>().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("argument 1") && !error.to_string().contains(&cause), "{error}: {cause}");
        assert!(matches!(args.all::<(u8, String, Vec<u8>, u8)>(), Err(ArgumentError::Mismatch(_))));
    });
    through_both(&(1, 2), |args| assert_eq!(args.all(), Ok(vec![1_u8, 2])));
}

#[test]
fn errors_name_the_argument() {
    through_both(&(1, "two"), |args| {
        assert_eq!(args.get::<u8>(2), Err(ArgumentError::Missing { index: 2, count: 2 }));
        let error = args.get::<u8>(1).unwrap_err();
        assert!(matches!(error, ArgumentError::Invalid { index: 1, .. }), "{error}");
    });
    through_both(&(), |args| {
        assert!(args.is_empty());
        assert_eq!(args.get::<u8>(0), Err(ArgumentError::Missing { index: 0, count: 0 }));
    });
}

#[test]
fn forwarded_arguments_are_not_touched() {
    let text = r#"2["a", {"z": 1.50, "a": 1e2} ,[ ]]"#;
    let mut decoder = Decoder::new();
    let Some(Packet::Event(event)) = decoder.decode_text(text, &Limits::default()).unwrap() else { panic!("no event") };
    assert_eq!(text_of(&event.args).0, r#"42["e",{"z": 1.50, "a": 1e2} ,[ ]]"#);
    assert_eq!(text_of(&event.args.to_owned()).0, r#"42["e",{"z": 1.50, "a": 1e2} ,[ ]]"#);
    assert_eq!(text_of(&Args::EMPTY).0, r#"42["e"]"#);
}

#[test]
fn a_lone_surrogate_is_decoded_as_u_fffd_and_forwarded_unchanged() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    let text = r#"2["chat","hi \ud83d",{"\ude00":["\ud83d\ude00","\ud83d"]},7]"#;
    let Some(Packet::Event(event)) = decoder.decode_text(text, &limits).unwrap() else { panic!("no event") };
    let args = event.args;
    assert_eq!(args.get::<String>(0).as_deref(), Ok("hi \u{fffd}"));
    assert_eq!(args.get(1), Ok(json!({ "\u{fffd}": ["😀", "\u{fffd}"] })));
    assert_eq!(args.all(), Ok(("hi \u{fffd}".to_owned(), Value::from(json!({ "\u{fffd}": ["😀", "\u{fffd}"] })), 7)));
    assert_eq!(args.raw(0).unwrap().get(), r#""hi \ud83d""#);
    assert_eq!(text_of(&args).0, text.replace("2[\"chat", "42[\"e"));
    let error = args.get::<u8>(0).unwrap_err();
    assert!(matches!(error, ArgumentError::Invalid { index: 0, .. }), "{error}");
    assert_eq!(args.get::<u8>(3), Err(ArgumentError::Missing { index: 3, count: 3 }));

    let text = r#"52-["chat","hi \ud83d",{"_placeholder":true,"num":1},{"\ude00":{"_placeholder":true,"num":0}}]"#;
    assert!(decoder.decode_text(text, &limits).unwrap().is_none());
    assert!(decoder.decode_binary(b"a", &limits).unwrap().is_none());
    let Some(Packet::Event(event)) = decoder.decode_binary(b"b", &limits).unwrap() else { panic!("no event") };
    let members = BTreeMap::from([("\u{fffd}".to_owned(), Bytes::from_static(b"a"))]);
    assert_eq!(event.args.all(), Ok(("hi \u{fffd}".to_owned(), Bytes::from_static(b"b"), members.clone())));
    assert_eq!((event.args.get(0), event.args.get(2)), (Ok("hi \u{fffd}".to_owned()), Ok(members)));
    let (forwarded, attachments) = text_of(&event.args);
    assert_eq!(forwarded, text.replace("52-[\"chat", "452-[\"e"));
    assert_eq!(attachments, [&b"a"[..], b"b"]);
}

#[test]
fn forwarded_arguments_take_their_attachments_along() {
    let binary = (Bytes::from_static(b"a"), 2, vec![Bytes::from_static(b"b")]);
    let (text, attachments) = text_of(&binary);
    assert_eq!(text_of(&ArgsBuf::new(&binary).unwrap()), (text.clone(), attachments.clone()));
    through_both(&binary, |args| {
        assert_eq!(args.count(), 3);
        assert_eq!(text_of(&args), (text.clone(), attachments.clone()), "both parsers forward to JSON");
        through_both(&args, |args| {
            assert_eq!(args.all(), Ok((b"a".to_vec(), 2, vec![Bytes::from_static(b"b")])), "and to each other");
        });
    });
}

#[test]
fn structs_take_several_arguments_in_order() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Params {
        room: String,
        count: u8,
    }
    through_both(&("lobby", 3), |args| {
        assert_eq!(args.all(), Ok(Params { room: "lobby".to_owned(), count: 3 }));
    });
}

#[test]
fn values_convert() {
    let json = json!({"b": [1, -2, 0.5, null, true], "a": {"c": "text"}});
    let value = Value::from(json.clone());
    assert_eq!(value.get("a").and_then(|a| a.get("c")).and_then(Value::as_str), Some("text"));
    assert_eq!(value.get("b").and_then(Value::as_array).map(<[Value]>::len), Some(5));
    assert_eq!(serde_json::to_string(&value).unwrap(), serde_json::to_string(&json).unwrap());
    assert_eq!(serde_json::Value::try_from(value), Ok(json));
    assert_eq!(serde_json::to_string(&Value::from(f64::NAN)).unwrap(), "null");
    let only_message_pack = vec![f64::INFINITY.into(), Value::Undefined, Date::from_unix_milliseconds(0).into()];
    assert_eq!(
        serde_json::Value::try_from(Value::Array(only_message_pack)),
        Ok(json!([null, null, "1970-01-01T00:00:00.000Z"]))
    );
    let binary = Value::from(vec![Bytes::from_static(b"x")]);
    assert!(serde_json::Value::try_from(binary).is_err());
}

#[test]
fn more_items_than_a_type_takes_are_an_error() {
    // The third item of the first array must not be taken for the second array.
    through_both(&&json!([[1, 2, [3, 4]], [5, 6]]), |args| assert!(args.get::<Vec<(u8, u8)>>(0).is_err()));
    through_both(&&[[1, 2, 3], [4, 5, 6]], |args| {
        assert_eq!(args.get::<[[u8; 3]; 2]>(0), Ok([[1, 2, 3], [4, 5, 6]]));
    });
    through_both(&(&[[1, 2, 3], [4, 5, 6]], Bytes::from_static(b"x")), |args| {
        assert!(args.get::<Vec<(u8, u8)>>(0).is_err());
    });
}

#[test]
fn an_error_quotes_at_most_200_bytes_of_a_value() {
    #[derive(Debug, serde::Deserialize)]
    enum Colour {
        Red,
    }
    let long = "é".repeat(500_000);
    let args = ArgsBuf::new(&(long.as_str(), Colour::Red as u8)).unwrap();
    let error = args.as_args().get::<Colour>(0).unwrap_err();
    let quoted = std::error::Error::source(&error).unwrap().to_string();
    assert!(quoted.len() < 210 && quoted.starts_with("unknown variant `é") && quoted.contains("Red"), "{quoted}");
}
