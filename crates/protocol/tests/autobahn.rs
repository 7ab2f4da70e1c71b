//! The cases of the Autobahn test suite, families 1 to 7, as far as they concern the codec. Their numbers are the
//! suite's. Each case runs on both sides, in one piece, byte by byte and in odd chunks.
mod websocket_support;

use sockeye_protocol::websocket::{CloseCode, DecodeError, Decoder, Limits, Opcode, Role};
use websocket_support::{Owned, decode, frame};

const LIMITS: Limits = Limits { max_message: 16 << 20, max_fragments: 100_000 };

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Feeds frames, each with its first byte and its payload, and expects these events, then this end.
#[track_caller]
fn case(number: &str, frames: &[(u8, &[u8])], events: &[Owned], end: Result<(), DecodeError>) {
    for role in [Role::Server, Role::Client] {
        let stream: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect();
        for sizes in [&[usize::MAX][..], &[1], &[2, 3, 1, 7], &[997]] {
            let (decoded, ended) = decode(role, &stream, sizes, &LIMITS);
            assert_eq!(ended, end, "case {number}, {role:?}, chunks of {sizes:?}");
            assert!(decoded == events, "case {number}, {role:?}, chunks of {sizes:?}: {decoded:?}");
        }
    }
}

#[track_caller]
fn passes(number: &str, frames: &[(u8, &[u8])], events: &[Owned]) {
    case(number, frames, events, Ok(()));
}

#[track_caller]
fn fails(number: &str, frames: &[(u8, &[u8])], events: &[Owned], error: DecodeError) {
    case(number, frames, events, Err(error));
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

fn ping(payload: &[u8]) -> Owned {
    Owned::Ping(payload.to_vec())
}

fn pong(payload: &[u8]) -> Owned {
    Owned::Pong(payload.to_vec())
}

fn close(code: u16, reason: &str) -> Owned {
    Owned::Close(Some((code, reason.to_owned())))
}

#[test]
fn family_1_messages_of_every_kind_of_length() {
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        passes("1.1", &[(FIN | TEXT, &payload)], &[Owned::Text("*".repeat(length))]);
        let payload = vec![0xfe; length];
        passes("1.2", &[(FIN | BINARY, &payload)], &[Owned::Binary(payload.clone())]);
    }
}

#[test]
fn family_2_pings_and_pongs() {
    passes("2.1", &[(FIN | PING, b"")], &[ping(b"")]);
    passes("2.2", &[(FIN | PING, b"Hello, world!")], &[ping(b"Hello, world!")]);
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    passes("2.3", &[(FIN | PING, &binary)], &[ping(&binary)]);
    passes("2.4 and 2.6", &[(FIN | PING, &[0xfe; 125])], &[ping(&[0xfe; 125])]);
    fails("2.5", &[(FIN | PING, &[0xfe; 126])], &[], DecodeError::LongControl(Opcode::Ping));
    passes("2.7", &[(FIN | PONG, b"")], &[pong(b"")]);
    passes("2.8", &[(FIN | PONG, b"unsolicited")], &[pong(b"unsolicited")]);
    passes("2.9", &[(FIN | PONG, b"unsolicited"), (FIN | PING, b"ping")], &[pong(b"unsolicited"), ping(b"ping")]);
    let payloads: Vec<String> = (0..10).map(|number| format!("payload-{number}")).collect();
    let pings: Vec<(u8, &[u8])> = payloads.iter().map(|payload| (FIN | PING, payload.as_bytes())).collect();
    let events: Vec<Owned> = payloads.iter().map(|payload| ping(payload.as_bytes())).collect();
    passes("2.10 and 2.11", &pings, &events);
}

#[test]
fn family_3_reserved_bits() {
    let hello: (u8, &[u8]) = (FIN | TEXT, b"Hello, world!");
    let error = DecodeError::ReservedBits;
    fails("3.1", &[(FIN | 0x10 | TEXT, b"Hello, world!")], &[], error);
    fails("3.2 to 3.4", &[hello, (FIN | 0x20 | TEXT, b"x"), (FIN | PING, b"")], &[text("Hello, world!")], error);
    fails("3.3", &[hello, (FIN | 0x30 | TEXT, b"x"), (FIN | PING, b"")], &[text("Hello, world!")], error);
    fails("3.4", &[hello, (FIN | 0x40 | TEXT, b"x"), (FIN | PING, b"")], &[text("Hello, world!")], error);
    fails("3.5", &[(FIN | 0x50 | BINARY, &[0xff; 8])], &[], error);
    fails("3.6", &[(FIN | 0x60 | PING, b"Hello, world!")], &[], error);
    fails("3.7", &[(FIN | 0x70 | CLOSE, b"")], &[], error);
}

#[test]
fn family_4_reserved_opcodes() {
    for opcode in (3..=7).chain(11..=15) {
        let error = DecodeError::ReservedOpcode(opcode);
        fails("4.x.1", &[(FIN | opcode, b"")], &[], error);
        fails("4.x.2", &[(FIN | opcode, b"reserved opcode payload")], &[], error);
        let frames: [(u8, &[u8]); 3] = [(FIN | TEXT, b"Hello"), (FIN | opcode, b"reserved"), (FIN | PING, b"")];
        fails("4.x.3 to 4.x.5", &frames, &[text("Hello")], error);
    }
}

#[test]
fn family_5_fragmentation() {
    fails("5.1", &[(PING, b"frag"), (FIN, b"ment")], &[], DecodeError::FragmentedControl(Opcode::Ping));
    fails("5.2", &[(PONG, b"frag"), (FIN, b"ment")], &[], DecodeError::FragmentedControl(Opcode::Pong));
    passes("5.3 to 5.5", &[(TEXT, b"frag"), (FIN, b"ment")], &[text("fragment")]);
    let frames: [(u8, &[u8]); 3] = [(TEXT, b"frag"), (FIN | PING, b"ping"), (FIN, b"ment")];
    passes("5.6 to 5.8", &frames, &[ping(b"ping"), text("fragment")]);

    let error = DecodeError::UnexpectedContinuation;
    fails("5.9 to 5.11", &[(FIN | CONTINUATION, b"non-continuation"), (FIN | TEXT, b"Hello")], &[], error);
    fails("5.12 to 5.14", &[(CONTINUATION, b"non-continuation"), (FIN | TEXT, b"Hello")], &[], error);
    let frames: [(u8, &[u8]); 4] = [(TEXT, b"frag"), (FIN, b"ment"), (CONTINUATION, b"x"), (FIN | TEXT, b"Hello")];
    fails("5.15", &frames, &[text("fragment")], error);
    fails("5.16", &[(CONTINUATION, b"a"), (TEXT, b"b"), (FIN, b"c")], &[], error);
    fails("5.17", &[(FIN | CONTINUATION, b"a"), (TEXT, b"b"), (FIN, b"c")], &[], error);
    fails("5.18", &[(TEXT, b"frag"), (FIN | TEXT, b"ment")], &[], DecodeError::InterruptedMessage);

    let frames: [(u8, &[u8]); 7] = [
        (TEXT, b"1"),
        (CONTINUATION, b"2"),
        (FIN | PING, b"first"),
        (CONTINUATION, b"3"),
        (CONTINUATION, b"4"),
        (FIN | PING, b"second"),
        (FIN | CONTINUATION, b"5"),
    ];
    passes("5.19 and 5.20", &frames, &[ping(b"first"), ping(b"second"), text("12345")]);
}

#[test]
fn family_6_1_to_6_2_valid_text_in_fragments() {
    passes("6.1.1", &[(FIN | TEXT, b"")], &[text("")]);
    passes("6.1.2", &[(TEXT, b""), (CONTINUATION, b""), (FIN, b"")], &[text("")]);
    passes("6.1.3", &[(TEXT, b""), (CONTINUATION, b"middle"), (FIN, b"")], &[text("middle")]);
    let hello = "Hello-µ@ßöäüàá-UTF-8!!";
    passes("6.2.1", &[(FIN | TEXT, hello.as_bytes())], &[text(hello)]);
    for split in 0..hello.len() {
        let (left, right) = hello.as_bytes().split_at(split);
        passes("6.2.2", &[(TEXT, left), (FIN, right)], &[text(hello)]);
    }
    passes("6.2.3", &by_octets(hello.as_bytes()), &[text(hello)]);
    let kosme = "κόσμε";
    passes("6.2.4", &by_octets(kosme.as_bytes()), &[text(kosme)]);
}

#[test]
fn family_6_3_invalid_text() {
    let invalid = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    fails("6.3.1", &[(FIN | TEXT, invalid)], &[], DecodeError::InvalidUtf8);
    fails("6.3.2", &by_octets(invalid), &[], DecodeError::InvalidUtf8);
}

#[test]
fn family_6_4_invalid_text_is_refused_at_once() {
    // The byte behind F4 makes the text invalid; the first of these payloads is the only one that is still possible.
    let possible = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4";
    let certain = b"\x90";
    let rest = b"\x80\x80edited";
    for role in [Role::Server, Role::Client] {
        let feed = |parts: &[&[u8]]| {
            let mut decoder = Decoder::new(role);
            let mut results = parts.iter().map(|part| match decoder.decode(&mut part.to_vec(), &LIMITS) {
                Ok((consumed, event)) => {
                    assert_eq!((consumed, event), (part.len(), None));
                    Ok(())
                }
                Err(error) => Err(error),
            });
            results.position(|result| result == Err(DecodeError::InvalidUtf8))
        };
        // In fragments: the second is refused before the third has come.
        let second = [certain, &rest[..]].concat();
        let frames = [frame(role, TEXT, possible), frame(role, CONTINUATION, &second), frame(role, FIN, b"more")];
        assert_eq!(feed(&[&frames[0], &frames[1], &frames[2]]), Some(1), "6.4.1");
        let frames = [frame(role, TEXT, possible), frame(role, CONTINUATION, certain), frame(role, FIN, rest)];
        assert_eq!(feed(&[&frames[0], &frames[1], &frames[2]]), Some(1), "6.4.2");
        // In one frame of which only a part has come.
        let whole = frame(role, FIN | TEXT, &[&possible[..], certain, rest].concat());
        let cut = whole.len() - rest.len();
        assert_eq!(feed(&[&whole[..cut - 1], &whole[cut - 1..cut], &whole[cut..]]), Some(1), "6.4.3 and 6.4.4");
    }
}

#[test]
fn family_6_5_to_6_23_sequences() {
    let valid: [&[u8]; 23] = [
        b"\x68\x65\x6c\x6c\x6f\x24\x77\x6f\x72\x6c\x64",
        b"\x68\x65\x6c\x6c\x6f\xc2\xa2\x77\x6f\x72\x6c\x64",
        b"\x68\x65\x6c\x6c\x6f\xe2\x82\xac\x77\x6f\x72\x6c\x64",
        b"\x68\x65\x6c\x6c\x6f\xf0\xa4\xad\xa2\x77\x6f\x72\x6c\x64",
        b"\xce\xba",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        // The first and the last of every length.
        b"\x00",
        b"\xc2\x80",
        b"\xe0\xa0\x80",
        b"\xf0\x90\x80\x80",
        b"\x7f",
        b"\xdf\xbf",
        b"\xef\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        // Around the surrogates.
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        // Noncharacters are valid.
        b"\xef\xbf\xbe",
        b"\xf0\x9f\xbf\xbe",
        b"\xf3\xbf\xbf\xbf",
        b"\xf4\x8f\xbf\xbe",
        b"\xef\xbf\xb9\xef\xbf\xba\xef\xbf\xbb",
        b"\xef\xbf\xbc",
    ];
    for payload in valid {
        let expected = [text(std::str::from_utf8(payload).unwrap())];
        passes("6.x", &[(FIN | TEXT, payload)], &expected);
        passes("6.x by octets", &by_octets(payload), &expected);
    }

    let invalid: [&[u8]; 56] = [
        // Text that ends within a character.
        b"\xce",
        b"\xce\xba\xe1",
        b"\xce\xba\xe1\xbd",
        b"\xce\xba\xe1\xbd\xb9\xcf",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce",
        // Sequences of five and six bytes, and beyond the last character.
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        // Continuations without a lead.
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\x80\xbf\x80\xbf\x80\xbf",
        b"\xbe\xbf\xbd",
        // Leads without a continuation.
        b"\xc0 \xc1 \xdf ",
        b"\xe0 \xef ",
        b"\xf0 \xf4 ",
        b"\xf8 \xfb ",
        b"\xfc \xfd ",
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
        b"\xc0\xe0\x80\xf0\x80\x80",
        // Bytes that never occur.
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        // Overlong forms.
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x80\x80\x80\xaf",
        b"\xfc\x80\x80\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf8\x87\xbf\xbf\xbf",
        b"\xfc\x83\xbf\xbf\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        // Surrogates, alone and in pairs.
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
    ];
    for payload in invalid {
        fails("6.x", &[(FIN | TEXT, payload)], &[], DecodeError::InvalidUtf8);
        fails("6.x by octets", &by_octets(payload), &[], DecodeError::InvalidUtf8);
    }
}

#[test]
fn family_7_1_nothing_counts_after_a_close() {
    let normal: (u8, &[u8]) = (FIN | CLOSE, b"\x03\xe8");
    let closed = close(1000, "");
    passes("7.1.1", &[(FIN | TEXT, b"Hello"), normal], &[text("Hello"), closed.clone()]);
    passes("7.1.2", &[normal, normal], std::slice::from_ref(&closed));
    passes("7.1.3", &[normal, (FIN | PING, b"")], std::slice::from_ref(&closed));
    passes("7.1.4", &[normal, (FIN | TEXT, b"Hello")], std::slice::from_ref(&closed));
    passes("7.1.5", &[(TEXT, b"frag"), normal, (FIN, b"ment")], std::slice::from_ref(&closed));
    let long = vec![b'*'; 256 << 10];
    let frames: [(u8, &[u8]); 4] = [(FIN | TEXT, &long), (FIN | TEXT, b"Hello"), normal, (FIN | PING, b"")];
    passes("7.1.6", &frames, &[text(&"*".repeat(256 << 10)), text("Hello"), closed]);
}

#[test]
fn family_7_3_to_7_5_payloads_of_a_close() {
    passes("7.3.1", &[(FIN | CLOSE, b"")], &[Owned::Close(None)]);
    fails("7.3.2", &[(FIN | CLOSE, b"a")], &[], DecodeError::ShortClose);
    passes("7.3.3", &[(FIN | CLOSE, b"\x03\xe8")], &[close(1000, "")]);
    passes("7.3.4", &[(FIN | CLOSE, b"\x03\xe8Hello World!")], &[close(1000, "Hello World!")]);
    let mut payload = b"\x03\xe8".to_vec();
    payload.extend([b'*'; 123]);
    passes("7.3.5", &[(FIN | CLOSE, &payload)], &[close(1000, &"*".repeat(123))]);
    payload.push(b'*');
    fails("7.3.6", &[(FIN | CLOSE, &payload)], &[], DecodeError::LongControl(Opcode::Close));
    let reason = b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    fails("7.5.1", &[(FIN | CLOSE, reason)], &[], DecodeError::InvalidUtf8);
}

#[test]
fn family_7_7_to_7_13_close_codes() {
    let valid: [u16; 16] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for code in valid {
        passes("7.7", &[(FIN | CLOSE, &code.to_be_bytes())], &[close(code, "")]);
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        fails("7.9 and 7.13", &[(FIN | CLOSE, &code.to_be_bytes())], &[], DecodeError::InvalidCloseCode(code));
    }
}

#[test]
fn faults_are_answered_with_the_codes_of_the_rfc() {
    assert_eq!(DecodeError::InvalidUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(DecodeError::MessageTooBig { size: 2, limit: 1 }.close_code(), CloseCode::TOO_BIG);
    assert_eq!(DecodeError::TooManyFragments { limit: 1 }.close_code(), CloseCode::TOO_BIG);
    for error in [
        DecodeError::ReservedBits,
        DecodeError::ReservedOpcode(3),
        DecodeError::FragmentedControl(Opcode::Ping),
        DecodeError::LongControl(Opcode::Ping),
        DecodeError::LengthNotMinimal(1),
        DecodeError::LengthOutOfRange(u64::MAX),
        DecodeError::Unmasked,
        DecodeError::Masked,
        DecodeError::UnexpectedContinuation,
        DecodeError::InterruptedMessage,
        DecodeError::ShortClose,
        DecodeError::InvalidCloseCode(1005),
    ] {
        assert_eq!(error.close_code(), CloseCode::PROTOCOL);
    }
}

/// A text in fragments of one byte.
fn by_octets(payload: &[u8]) -> Vec<(u8, &[u8])> {
    let last = payload.len() - 1;
    let first_byte = |index| if index == 0 { TEXT } else { CONTINUATION } | if index == last { FIN } else { 0 };
    payload.chunks(1).enumerate().map(|(index, byte)| (first_byte(index), byte)).collect()
}
