//! Decodes valid and invalid text packets of both protocol revisions.

use sockeye_protocol::socketio::{DecodeError, Decoder, Limits, Packet, Revision};

const V4: Limits = Limits { max_attachments: 10, max_attachment_bytes: 100, max_depth: 8, revision: Revision::V4 };
const V5: Limits = Limits { revision: Revision::V5, ..V4 };

/// Writes a packet down in a compact form: kind, namespace, id, name, number of arguments and their JSON.
fn describe(packet: Option<Packet<'_>>) -> String {
    let Some(packet) = packet else { return "nothing".to_owned() };
    let args = |args: sockeye_protocol::socketio::Args<'_>| {
        let raw: Vec<_> = (0..args.len()).map(|index| args.raw(index).unwrap().get()).collect();
        raw.join(" ")
    };
    match packet {
        Packet::Connect { namespace, query, payload } => {
            let payload = payload.as_deref().map_or("-", |payload| payload.get());
            format!("connect {namespace} {} {payload}", query.unwrap_or("-"))
        }
        Packet::Disconnect { namespace } => format!("disconnect {namespace}"),
        Packet::Event(event) => {
            format!("event {} {:?} {:?} {}", event.namespace, event.ack, event.name, args(event.args))
        }
        Packet::Ack(ack) => format!("ack {} {} {}", ack.namespace, ack.id, args(ack.args)),
        Packet::ConnectError { namespace, payload } => format!("error {namespace} {}", payload.get()),
    }
}

fn decode(text: &str, limits: &Limits) -> Result<String, DecodeError> {
    Decoder::new().decode_text(text, limits).map(describe)
}

#[test]
fn accepted() {
    let rows = [
        ("0", "connect / - -"),
        (r#"0{"token":1}"#, r#"connect / - {"token":1}"#),
        (r#"0/x,{"token":1}"#, r#"connect /x - {"token":1}"#),
        ("0/x", "connect /x - -"),
        ("0/x,", "connect /x - -"),
        ("1", "disconnect /"),
        ("1/x,", "disconnect /x"),
        ("2", r#"event / None "" "#),
        ("2/x,", r#"event /x None "" "#),
        (r#"2["a"]"#, r#"event / None "a" "#),
        (r#"2["a",1,"2",{"3":[true]}]"#, r#"event / None "a" 1 "2" {"3":[true]}"#),
        (r#"2 [ "a" , 1 , [ 2 ] ] "#, r#"event / None "a" 1 [ 2 ]"#),
        (r#"2/x,456["a",null]"#, r#"event /x Some(456) "a" null"#),
        (r#"20["a"]"#, r#"event / Some(0) "a" "#),
        (r#"29007199254740992["a"]"#, r#"event / Some(9007199254740992) "a" "#),
        ("2[1,2]", r#"event / None "1" 2"#),
        ("2[1.0]", r#"event / None "1" "#),
        ("2[-0]", r#"event / None "0" "#),
        (r#"2["error"]"#, r#"event / None "error" "#),
        (r#"2["\u00e4\"",1]"#, r#"event / None "ä\"" 1"#),
        (r#"2["Connect"]"#, r#"event / None "Connect" "#),
        (r#"2["a",{"_placeholder":true,"num":0}]"#, r#"event / None "a" {"_placeholder":true,"num":0}"#),
        (r#"2["a",{"__proto__":1,"a":{"__proto__":2}}]"#, r#"event / None "a" {"__proto__":1,"a":{"__proto__":2}}"#),
        ("31", "ack / 1 "),
        ("31[]", "ack / 1 "),
        (r#"3/x,12[1,"2"]"#, r#"ack /x 12 1 "2""#),
        ("3[]", "nothing"),
        ("3", "nothing"),
        (r#"4{"message":"no"}"#, r#"error / {"message":"no"}"#),
        (r#"4/x,"no""#, r#"error /x "no""#),
        (r#"51-["a",{"_placeholder":true,"num":0}]"#, "nothing"),
    ];
    for (text, expected) in rows {
        for limits in [&V4, &V5] {
            assert_eq!(decode(text, limits).as_deref(), Ok(expected), "{text}");
        }
    }
}

#[test]
fn a_lone_surrogate_is_accepted_in_names_and_payloads() {
    let rows = [
        (r#"2["hi \ud83d",1]"#, "event / None \"hi \u{fffd}\" 1"),
        (r#"2["\ude00","\ud83d"]"#, "event / None \"\u{fffd}\" \"\\ud83d\""),
        (r#"2["a",{"\ud83d":["\ud83d\ude00"]}]"#, r#"event / None "a" {"\ud83d":["\ud83d\ude00"]}"#),
        (r#"31["\ud83d"]"#, r#"ack / 1 "\ud83d""#),
        (r#"0{"name":"\ud83d\ude00\ud83d"}"#, r#"connect / - {"name":"\ud83d\ude00\ufffd"}"#),
        (r#"4{"message":"no \ud83d"}"#, r#"error / {"message":"no \ufffd"}"#),
        (r#"51-["\ud83d","\ude00",{"_placeholder":true,"num":0}]"#, "nothing"),
    ];
    for (text, expected) in rows {
        for limits in [&V4, &V5] {
            assert_eq!(decode(text, limits).as_deref(), Ok(expected), "{text}");
        }
    }
}

#[test]
fn only_revision_4_splits_the_query_off_a_namespace() {
    let rows = [
        ("0/x?token=1", "connect /x token=1 -", "connect /x?token=1 - -"),
        ("0/x?token=1,", "connect /x token=1 -", "connect /x?token=1 - -"),
        ("0/x?", "connect /x  -", "connect /x? - -"),
        (r#"2/x?a,["b"]"#, r#"event /x None "b" "#, r#"event /x?a None "b" "#),
        ("1/x?a,", "disconnect /x", "disconnect /x?a"),
    ];
    for (text, v4, v5) in rows {
        assert_eq!(decode(text, &V4).as_deref(), Ok(v4), "{text}");
        assert_eq!(decode(text, &V5).as_deref(), Ok(v5), "{text}");
    }
}

#[test]
fn only_revision_4_accepts_any_json_as_connect_error() {
    for json in ["null", "12", "[1]", "true"] {
        let text = format!("4/x,{json}");
        assert_eq!(decode(&text, &V4), Ok(format!("error /x {json}")));
        assert!(matches!(decode(&text, &V5), Err(DecodeError::InvalidPayload(_))), "{text}");
    }
}

#[test]
fn invalid_payloads() {
    let rows = [
        "0[]",
        "0\"x\"",
        "0null",
        "0{",
        "0{}x",
        "0/x,[]",
        "0/x,1",
        "1{}",
        "1/x,[]",
        "1x",
        "2[]",
        "2{}",
        "2[true]",
        "2[null]",
        "2[{\"toString\":\"a\"}]",
        "2[[\"a\"]]",
        "2\"a\"",
        "2abc[\"a\"]",
        "2[\"a\"",
        "2[\"a\",",
        "2[\"a\",]",
        "2[\"a\"]]",
        "2[\"a\"]x",
        "2[\"a\" 1]",
        "2[\"a\",nul]",
        "2[\"a\",'b']",
        "2[-]",
        "2-1[\"a\"]",
        "31{}",
        "31\"a\"",
        "31[",
        "31[1,]",
        "3abc[]",
        "3/x,1[1]2",
        "4",
        "4/x,",
        "4{",
        "51-{}",
        "51-[]",
        "51-[true]",
        "61-1{\"_placeholder\":true,\"num\":0}",
    ];
    for text in rows {
        for limits in [&V4, &V5] {
            assert!(matches!(decode(text, limits), Err(DecodeError::InvalidPayload(_))), "{text}");
        }
    }
}

#[test]
fn other_faults() {
    use DecodeError as E;
    let too_many = E::TooManyAttachments { limit: 10 };
    let rows = [
        ("", E::UnknownType),
        ("7", E::UnknownType),
        ("abc", E::UnknownType),
        ("€", E::UnknownType),
        ("5", E::IllegalAttachments),
        (r#"5["a"]"#, E::IllegalAttachments),
        (r#"51["a",{"_placeholder":true,"num":0}]"#, E::IllegalAttachments),
        (r#"5-["a"]"#, E::IllegalAttachments),
        (r#"50-["a"]"#, E::IllegalAttachments),
        (r#"500-["a"]"#, E::IllegalAttachments),
        (r#"5-1-["a"]"#, E::IllegalAttachments),
        (r#"5x-["a"]"#, E::IllegalAttachments),
        (r#"51.5-["a"]"#, E::IllegalAttachments),
        (r#"5 1-["a"]"#, E::IllegalAttachments),
        (r#"51e1-["a"]"#, E::IllegalAttachments),
        (r#"50-1["a"]"#, E::IllegalAttachments),
        (r#"60-1["a"]"#, E::IllegalAttachments),
        (r#"511-["a"]"#, too_many.clone()),
        (r#"599999999999999999999999-["a"]"#, too_many),
        (r#"51-["a",{"_placeholder":true}]"#, E::IllegalPlaceholders),
        (r#"51-["a",{"_placeholder":true,"num":"splice"}]"#, E::IllegalPlaceholders),
        (r#"51-["a",{"_placeholder":true,"num":-1}]"#, E::IllegalPlaceholders),
        (r#"51-["a",{"_placeholder":true,"num":1}]"#, E::IllegalPlaceholders),
        (r#"29007199254740993["a"]"#, E::AckIdTooLarge),
        (r#"2999999999999999999999999999["a"]"#, E::AckIdTooLarge),
        ("2[\"a\",[[[[[[[[[1]]]]]]]]]]", E::TooDeep { limit: 8 }),
        (r#"0{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}"#, E::TooDeep { limit: 8 }),
        (r#"2["connect"]"#, E::ReservedEvent("connect")),
        (r#"2["connect_error"]"#, E::ReservedEvent("connect_error")),
        (r#"2["disconnect",1]"#, E::ReservedEvent("disconnect")),
        (r#"2["disconnecting"]"#, E::ReservedEvent("disconnecting")),
        (r#"2["newListener"]"#, E::ReservedEvent("newListener")),
        (r#"2["removeListener"]"#, E::ReservedEvent("removeListener")),
        (r#"2["\u0063onnect"]"#, E::ReservedEvent("connect")),
    ];
    for (text, error) in rows {
        for limits in [&V4, &V5] {
            assert_eq!(decode(text, limits), Err(error.clone()), "{text}");
        }
    }
}

#[test]
fn deep_text_does_not_overflow_the_stack() {
    let text = format!("2[\"a\",{}", "[".repeat(1_000_000));
    let limits = Limits { max_depth: usize::MAX, ..V5 };
    assert!(matches!(decode(&text, &limits), Err(DecodeError::TooDeep { .. })));
}

#[test]
fn announced_attachments_allocate_nothing() {
    let limits = Limits { max_attachments: usize::MAX, ..V5 };
    let text = format!(r#"5{}-["a"]"#, usize::MAX);
    assert_eq!(decode(&text, &limits).as_deref(), Ok("nothing"));
}

const TWO: &str = r#"52-/x,7["a",{"_placeholder":true,"num":1},{"b":[{"num":0,"_placeholder":true}]}]"#;

#[test]
fn attachments_complete_a_packet() {
    let mut decoder = Decoder::new();
    assert!(decoder.decode_text(TWO, &V5).unwrap().is_none());
    assert!(decoder.is_waiting());
    assert!(decoder.decode_binary(&[1, 2], &V5).unwrap().is_none());
    assert!(decoder.is_waiting());
    let Some(Packet::Event(event)) = decoder.decode_binary(&[3], &V5).unwrap() else { panic!("no event") };
    assert_eq!((event.namespace, event.ack, &*event.name, event.args.len()), ("/x", Some(7), "a", 2));
    assert_eq!(event.args.get::<Vec<u8>>(0), Ok(vec![3]));
    assert!(!decoder.is_waiting());
    decoder.release();
    assert_eq!(decoder.decode_text("1", &V5).map(describe).as_deref(), Ok("disconnect /"));
}

#[test]
fn a_binary_acknowledgement_is_decoded() {
    let mut decoder = Decoder::new();
    assert!(decoder.decode_text(r#"61-9[{"_placeholder":true,"num":0}]"#, &V5).unwrap().is_none());
    let Some(Packet::Ack(ack)) = decoder.decode_binary(&[1], &V5).unwrap() else { panic!("no ack") };
    assert_eq!((ack.id, ack.args.get::<Vec<u8>>(0)), (9, Ok(vec![1])));
    assert!(decoder.decode_text(r#"61-[{"_placeholder":true,"num":0}]"#, &V5).unwrap().is_none());
    assert!(decoder.is_waiting(), "without an id its attachments still have to come");
    assert!(decoder.decode_binary(&[1], &V5).unwrap().is_none());
    assert!(!decoder.is_waiting());
}

#[test]
fn ten_attachments_are_allowed() {
    let placeholders: Vec<_> = (0..10).map(|number| format!(r#"{{"_placeholder":true,"num":{number}}}"#)).collect();
    let mut decoder = Decoder::new();
    assert!(decoder.decode_text(&format!(r#"510-["a",{}]"#, placeholders.join(",")), &V5).unwrap().is_none());
    for number in 0..9 {
        assert!(decoder.decode_binary(&[number], &V5).unwrap().is_none());
    }
    let Some(Packet::Event(event)) = decoder.decode_binary(&[9], &V5).unwrap() else { panic!("no event") };
    assert_eq!(event.args.all(), Ok((0..10).map(|number| vec![number]).collect::<Vec<Vec<u8>>>()));
}

#[test]
fn text_between_attachments_is_refused() {
    let mut decoder = Decoder::new();
    decoder.decode_text(TWO, &V5).unwrap();
    decoder.decode_binary(&[1], &V5).unwrap();
    assert_eq!(decoder.decode_text("2[\"a\"]", &V5).unwrap_err(), DecodeError::AttachmentsMissing { missing: 1 });
}

#[test]
fn a_binary_message_that_was_not_announced_is_refused() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode_binary(&[1], &V5).unwrap_err(), DecodeError::UnexpectedBinary);
    decoder.decode_text("2[\"a\"]", &V5).unwrap();
    assert_eq!(decoder.decode_binary(&[1], &V5).unwrap_err(), DecodeError::UnexpectedBinary);
    decoder.decode_text(r#"51-["a",{"_placeholder":true,"num":0}]"#, &V5).unwrap();
    assert!(decoder.decode_binary(&[1], &V5).unwrap().is_some());
    assert_eq!(decoder.decode_binary(&[1], &V5).unwrap_err(), DecodeError::UnexpectedBinary);
}

#[test]
fn the_limit_in_bytes_counts_all_attachments() {
    let mut decoder = Decoder::new();
    decoder.decode_text(TWO, &V5).unwrap();
    decoder.decode_binary(&[0; 60], &V5).unwrap();
    assert_eq!(decoder.decode_binary(&[0; 41], &V5).unwrap_err(), DecodeError::AttachmentsTooLarge { limit: 100 });
}
