//! Values that are navigated and written in another encoding without being decoded.

use bytes::Bytes;
use sockeye_protocol::socketio::msgpack::Writer;
use sockeye_protocol::socketio::{Args, ArgsBuf, Date, Encoded, Value, append_elements};

const DEPTH: usize = 64;

fn message_pack(args: Args<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).elements(&args).unwrap();
    out
}

fn json(args: Args<'_>) -> (String, Vec<Bytes>) {
    let mut out = Vec::new();
    let attachments = append_elements(&mut out, &args).unwrap();
    (String::from_utf8(out).unwrap(), attachments)
}

#[test]
fn exactly_one_value_is_accepted() {
    for text in ["", " ", "1 2", "[1", "{\"a\"}", "nul", "1,"] {
        assert!(Encoded::json(text, DEPTH).is_err(), "{text}");
    }
    for bytes in [&[][..], &[1, 2], &[0x92, 1], &[0xc1], &[0xa1], &[0x81, 1]] {
        assert!(Encoded::message_pack(bytes, DEPTH).is_err(), "{bytes:?}");
    }
    let nested = "[".repeat(65) + &"]".repeat(65);
    assert!(Encoded::json(&nested, 64).is_err() && Encoded::json(&nested, 65).is_ok());
    let nested = [vec![0x91; 65], vec![0]].concat();
    assert!(Encoded::message_pack(&nested, 64).is_err() && Encoded::message_pack(&nested, 65).is_ok());
}

#[test]
fn members_and_items_are_found_in_both_encodings() {
    let text = r#" { "a" : [ "x", 1.5, {"deep":[]} ] , "n":null, "\u0062":true, "b":false, "s":"\ud83d" } "#;
    let from_json = Encoded::json(text, DEPTH).unwrap();
    let mut out = Vec::new();
    Writer::new(&mut out).value(&from_json).unwrap();
    for value in [from_json, Encoded::message_pack(&out, DEPTH).unwrap()] {
        assert_eq!(value.members().unwrap().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "n", "b", "b", "s"]);
        assert_eq!(value.get("b").unwrap().as_bool(), Some(false));
        assert!(value.get("n").unwrap().is_null() && value.get("missing").is_none());
        assert_eq!(value.get("s").unwrap().as_str().unwrap(), "\u{fffd}");
        let items = value.get("a").unwrap().items().unwrap();
        assert_eq!(items.len(), 3);
        let (first, others) = items.split_first().unwrap();
        assert_eq!((first.as_str().unwrap(), first.as_number()), ("x".into(), None));
        assert_eq!(others.iter().next().unwrap().as_number().unwrap().as_f64(), 1.5);
        assert_eq!(others.all::<(f64, Value)>().unwrap().1.get("deep"), Some(&Value::Array(vec![])));
        assert!(first.items().is_none() && first.members().is_none() && value.items().is_none());
        assert!(others.split_first().unwrap().1.split_first().unwrap().1.split_first().is_none());
    }
    assert!(Encoded::json("[]", DEPTH).unwrap().items().unwrap().is_empty());
    assert_eq!(Encoded::json("7e1", DEPTH).unwrap().as_name().unwrap(), "70");
}

#[test]
fn json_becomes_the_message_pack_that_javascript_writes() {
    // `notepack.io` 3.0.1: `encode([1, "2", {a: [true, null]}, 1.5, -1, 300, 70000, -200])`, without the head.
    let args = Encoded::json(r#"[1,"2",{"a":[true,null]},1.5,-1,300,70000,-200]"#, DEPTH).unwrap().items().unwrap();
    let expected =
        b"\x01\xa12\x81\xa1a\x92\xc3\xc0\xcb\x3f\xf8\0\0\0\0\0\0\xff\xcd\x01\x2c\xce\0\x01\x11\x70\xd1\xff\x38";
    assert_eq!(message_pack(args), expected);
    for (count, head) in [(15, &[0x9f][..]), (16, &[0xdc, 0, 16]), (65_536, &[0xdd, 0, 1, 0, 0])] {
        let text = format!("[[{}]]", vec!["0"; count].join(","));
        let out = message_pack(Encoded::json(&text, DEPTH).unwrap().items().unwrap());
        assert_eq!(out, [head, &vec![0; count]].concat());
    }
}

#[test]
fn attachments_take_the_places_of_their_placeholders() {
    let args =
        ArgsBuf::new(&("x", Bytes::from_static(b"\x01\x02\x03"), [Some(Bytes::from_static(b"\x04")), None])).unwrap();
    let out = message_pack(args.as_args());
    assert_eq!(out, b"\xa1x\xc4\x03\x01\x02\x03\x92\xc4\x01\x04\xc0");
    let whole = [&[0x93], &out[..]].concat();
    let back = Encoded::message_pack(&whole, DEPTH).unwrap().items().unwrap();
    assert!(args.as_args().has_binary() && back.has_binary());
    let (text, attachments) = json(back);
    assert_eq!(text, r#""x",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1},null]"#);
    assert_eq!(attachments, [&b"\x01\x02\x03"[..], b"\x04"]);
}

#[test]
fn what_looks_like_a_placeholder_is_data_if_there_are_no_attachments() {
    let args = Encoded::json(r#"[{"_placeholder":true,"num":7}]"#, DEPTH).unwrap().items().unwrap();
    assert_eq!(message_pack(args), b"\x82\xac_placeholder\xc3\xa3num\x07");
    assert!(!args.has_binary());
}

#[test]
fn dates_and_undefined_get_the_form_that_every_decoder_knows() {
    let bytes = b"\x93\xd7\0\0\0\x01\x8b\xcf\xe5\x68\0\xd4\0\0\xd6\xff\x65\x53\xf1\0";
    let args = Encoded::message_pack(bytes, DEPTH).unwrap().items().unwrap();
    assert_eq!(message_pack(args), b"\xd6\xff\x65\x53\xf1\0\xc0\xd6\xff\x65\x53\xf1\0");
    assert_eq!(json(args).0, r#""2023-11-14T22:13:20.000Z",null,"2023-11-14T22:13:20.000Z""#);
    let date = Date::from_unix_milliseconds(1_700_000_000_000);
    assert_eq!(args.all::<(Value, Value, Value)>().unwrap(), (date.into(), Value::Undefined, date.into()));
}

#[test]
fn json_gets_attachments_for_all_its_placeholders() {
    let text = r#"[{"_placeholder":true,"num":1},{"a":{"_placeholder":true,"num":0}}]"#;
    let encoded = Encoded::json(text, DEPTH).unwrap();
    let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
    let args = encoded.with_attachments(&attachments, 0).unwrap().items().unwrap();
    assert_eq!(args.get::<Bytes>(0).unwrap(), "one");
    assert_eq!(args.get::<Value>(1).unwrap().get("a"), Some(&Value::Binary(Bytes::from_static(b"zero"))));
    assert!(encoded.with_attachments(&attachments[..1], 0).is_err(), "a placeholder without attachment");
    let thrice = [r#"{"_placeholder":true,"num":0}"#; 3].join(",");
    let thrice = format!("[{thrice}]");
    let encoded = Encoded::json(&thrice, DEPTH).unwrap();
    assert!(encoded.with_attachments(&attachments[..1], 11).is_err(), "an attachment that is named too often");
    assert!(encoded.with_attachments(&attachments[..1], 12).is_ok());
}
