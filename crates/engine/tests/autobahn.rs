//! The cases of the Autobahn test suite, families 1 to 7 and 10, over real connections to a server that echoes. Their
//! numbers are the suite's. A text message is an Engine.IO packet here, so it begins with its type, `4`.
//!
//! Each case goes out in one piece, and once more byte by byte unless it is long.
mod support;

use Received::{Binary, Close, Pong, Text};
use sockeye_engine::Config;
use sockeye_protocol::websocket::{Opcode, apply_mask, encode_head};
use support::{Received, Server, start};
use tokio::io::AsyncWriteExt;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const PROTOCOL_ERROR: Received = Close(Some(1002));
const INVALID_TEXT: Received = Close(Some(1007));

/// Each frame's first byte and payload.
type Frames<'a> = &'a [(u8, &'a [u8])];

/// A frame as clients send it. `first` is its first byte, valid or not.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = encode_head(true, Opcode::Text, payload.len() as u64, Some(mask)).to_vec();
    bytes[0] = first;
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], mask, 0);
    bytes
}

/// Sends frames and expects these answers and no others.
async fn case(server: &Server, number: &str, frames: Frames<'_>, answers: &[Received]) {
    let stream: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
    for piece in [usize::MAX, 1] {
        if piece == 1 && stream.len() > 1_000 {
            continue;
        }
        let mut websocket = server.websocket("EIO=4&transport=websocket").await;
        websocket.text().await;
        for piece in stream.chunks(piece.min(stream.len())) {
            // Behind a fault the server may be gone.
            if websocket.stream.write_all(piece).await.is_err() {
                break;
            }
        }
        for answer in answers {
            let received = websocket.receive().await;
            assert!(received == *answer, "case {number}: expected {answer:?}, got {received:?}");
        }
        if matches!(answers.last(), Some(Close(_))) {
            assert_eq!(websocket.receive().await, Received::End, "case {number}");
        } else {
            // The connection goes on, and nothing else was answered.
            websocket.stream.write_all(&frame(FIN | PING, b"the end")).await.unwrap();
            assert_eq!(websocket.receive().await, pong(b"the end"), "case {number}");
        }
    }
}

fn text(text: &str) -> Received {
    Text(text.to_owned())
}

fn pong(payload: &[u8]) -> Received {
    Pong(payload.to_vec())
}

#[tokio::test]
async fn family_1_messages_of_every_form_of_length_are_echoed() {
    let server = start(Config::default()).await;
    for length in [1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = format!("4{}", "*".repeat(length - 1));
        case(&server, "1.1", &[(FIN | TEXT, payload.as_bytes())], &[text(&payload)]).await;
    }
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![0xfe; length];
        case(&server, "1.2", &[(FIN | BINARY, &payload)], &[Binary(payload.clone())]).await;
    }
}

#[tokio::test]
async fn family_2_pings_are_answered_and_pongs_ignored() {
    let server = start(Config::default()).await;
    let odd = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    for (number, payload) in [("2.1", &b""[..]), ("2.2", b"Hello, world!"), ("2.3", &odd), ("2.4", &[0xfe; 125])] {
        case(&server, number, &[(FIN | PING, payload)], &[pong(payload)]).await;
    }
    case(&server, "2.5", &[(FIN | PING, &[0xfe; 126])], &[PROTOCOL_ERROR]).await;
    case(&server, "2.7", &[(FIN | PONG, b"")], &[]).await;
    case(&server, "2.8", &[(FIN | PONG, b"unsolicited")], &[]).await;
    case(&server, "2.9", &[(FIN | PONG, b"unsolicited"), (FIN | PING, b"ping")], &[pong(b"ping")]).await;
    let payloads: Vec<String> = (0..10).map(|number| format!("payload-{number}")).collect();
    let pings: Vec<(u8, &[u8])> = payloads.iter().map(|payload| (FIN | PING, payload.as_bytes())).collect();
    let pongs: Vec<Received> = payloads.iter().map(|payload| pong(payload.as_bytes())).collect();
    case(&server, "2.10 and 2.11", &pings, &pongs).await;
}

#[tokio::test]
async fn family_3_reserved_bits_are_refused() {
    let server = start(Config::default()).await;
    let hello: (u8, &[u8]) = (FIN | TEXT, b"4Hello, world!");
    let ping: (u8, &[u8]) = (FIN | PING, b"");
    case(&server, "3.1", &[(FIN | 0x10 | TEXT, b"4Hello")], &[PROTOCOL_ERROR]).await;
    for (number, bits) in [("3.2", 0x20), ("3.3", 0x30), ("3.4", 0x40)] {
        let frames = [hello, (FIN | bits | TEXT, b"4x"), ping];
        case(&server, number, &frames, &[text("4Hello, world!"), PROTOCOL_ERROR]).await;
    }
    case(&server, "3.5", &[(FIN | 0x50 | BINARY, &[0xff; 8])], &[PROTOCOL_ERROR]).await;
    case(&server, "3.6", &[(FIN | 0x60 | PING, b"Hello, world!")], &[PROTOCOL_ERROR]).await;
    case(&server, "3.7", &[(FIN | 0x70 | CLOSE, b"")], &[PROTOCOL_ERROR]).await;
}

#[tokio::test]
async fn family_4_reserved_opcodes_are_refused() {
    let server = start(Config::default()).await;
    for opcode in (3..=7).chain(11..=15) {
        case(&server, "4.x.1", &[(FIN | opcode, b"")], &[PROTOCOL_ERROR]).await;
        case(&server, "4.x.2", &[(FIN | opcode, b"reserved opcode payload")], &[PROTOCOL_ERROR]).await;
        let frames: [(u8, &[u8]); 3] = [(FIN | TEXT, b"4Hello"), (FIN | opcode, b"reserved"), (FIN | PING, b"")];
        case(&server, "4.x.3 to 4.x.5", &frames, &[text("4Hello"), PROTOCOL_ERROR]).await;
    }
}

#[tokio::test]
async fn family_5_fragments_are_joined_and_misplaced_ones_refused() {
    let server = start(Config::default()).await;
    let hello: (u8, &[u8]) = (FIN | TEXT, b"4Hello");
    let rows: [(&str, Frames<'_>, &[Received]); 12] = [
        ("5.1", &[(PING, b"frag"), (FIN, b"ment")], &[PROTOCOL_ERROR]),
        ("5.2", &[(PONG, b"frag"), (FIN, b"ment")], &[PROTOCOL_ERROR]),
        ("5.3 to 5.5", &[(TEXT, b"4frag"), (FIN, b"ment")], &[text("4fragment")]),
        ("5.6 to 5.8", &[(TEXT, b"4frag"), (FIN | PING, b"ping"), (FIN, b"ment")], &[pong(b"ping"), text("4fragment")]),
        ("5.9 to 5.11", &[(FIN | CONTINUATION, b"non-continuation"), hello], &[PROTOCOL_ERROR]),
        ("5.12 to 5.14", &[(CONTINUATION, b"non-continuation"), hello], &[PROTOCOL_ERROR]),
        (
            "5.15",
            &[(TEXT, b"4frag"), (FIN, b"ment"), (CONTINUATION, b"x"), hello],
            &[text("4fragment"), PROTOCOL_ERROR],
        ),
        ("5.16", &[(CONTINUATION, b"a"), (TEXT, b"4b"), (FIN, b"c")], &[PROTOCOL_ERROR]),
        ("5.17", &[(FIN | CONTINUATION, b"a"), (TEXT, b"4b"), (FIN, b"c")], &[PROTOCOL_ERROR]),
        ("5.18", &[(TEXT, b"4frag"), (FIN | TEXT, b"4ment")], &[PROTOCOL_ERROR]),
        (
            "5.19 and 5.20",
            &[
                (TEXT, b"41"),
                (CONTINUATION, b"2"),
                (FIN | PING, b"first"),
                (CONTINUATION, b"3"),
                (CONTINUATION, b"4"),
                (FIN | PING, b"second"),
                (FIN | CONTINUATION, b"5"),
            ],
            &[pong(b"first"), pong(b"second"), text("412345")],
        ),
        ("5 with nothing in it", &[(BINARY, b""), (CONTINUATION, b""), (FIN, b"")], &[Binary(Vec::new())]),
    ];
    for (number, frames, answers) in rows {
        case(&server, number, frames, answers).await;
    }
}

#[tokio::test]
async fn family_6_valid_text_is_echoed() {
    let server = start(Config::default()).await;
    case(&server, "6.1", &[(TEXT, b"4"), (CONTINUATION, b""), (FIN, b"")], &[text("4")]).await;
    case(&server, "6.1.3", &[(TEXT, b""), (CONTINUATION, b"4middle"), (FIN, b"")], &[text("4middle")]).await;
    for message in [
        "4Hello-µ@ßöäüàá-UTF-8!!",
        "4κόσμε",
        // The first and the last of every length, and around the surrogates.
        "4\u{0}\u{80}\u{800}\u{10000}",
        "4\u{7f}\u{7ff}\u{ffff}\u{10ffff}",
        "4\u{d7ff}\u{e000}\u{fffd}",
        // Noncharacters are valid.
        "4\u{fffe}\u{1fffe}\u{10fffe}\u{fdd0}",
    ] {
        case(&server, "6.2 to 6.23", &[(FIN | TEXT, message.as_bytes())], &[text(message)]).await;
        case(&server, "6.2 to 6.23 by octets", &by_octets(message.as_bytes()), &[text(message)]).await;
    }
}

#[tokio::test]
async fn family_6_invalid_text_is_refused() {
    let server = start(Config::default()).await;
    for payload in [
        &b"4\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        // Text that ends within a character, continuations without a lead, leads without a continuation.
        b"4\xce",
        b"4\xe1\xbd",
        b"4\x80",
        b"4\xbe\xbf\xbd",
        b"4\xe0 \xef ",
        b"4\xc0",
        b"4\xf0\x80\x80",
        // Beyond the last character, sequences of five and six bytes, bytes that never occur.
        b"4\xf4\x90\x80\x80",
        b"4\xf8\x88\x80\x80\x80",
        b"4\xfc\x84\x80\x80\x80\x80",
        b"4\xfe\xfe\xff\xff",
        // Overlong forms and surrogates, alone and in pairs.
        b"4\xc0\xaf",
        b"4\xe0\x9f\xbf",
        b"4\xf0\x80\x80\x80",
        b"4\xed\xa0\x80",
        b"4\xed\xbf\xbf",
        b"4\xed\xa0\x80\xed\xb0\x80",
    ] {
        case(&server, "6.3 to 6.21", &[(FIN | TEXT, payload)], &[INVALID_TEXT]).await;
        case(&server, "6.3 to 6.21 by octets", &by_octets(payload), &[INVALID_TEXT]).await;
    }
}

#[tokio::test]
async fn family_6_4_invalid_text_is_refused_before_all_of_it_has_arrived() {
    let server = start(Config::default()).await;
    let frames: [(u8, &[u8]); 2] = [(TEXT, b"4\xce\xba\xf4"), (CONTINUATION, b"\x90")];
    case(&server, "6.4.1 and 6.4.2", &frames, &[INVALID_TEXT]).await;
    let mut websocket = server.websocket("EIO=4&transport=websocket").await;
    websocket.text().await;
    let whole = frame(FIN | TEXT, b"4\xce\xba\xf4\x90\x80\x80edited");
    websocket.stream.write_all(&whole[..whole.len() - 8]).await.unwrap();
    assert_eq!(websocket.receive().await, INVALID_TEXT, "6.4.3 and 6.4.4");
}

#[tokio::test]
async fn family_7_1_frames_after_a_close_frame_are_ignored() {
    let server = start(Config::default()).await;
    let normal: (u8, &[u8]) = (FIN | CLOSE, b"\x03\xe8");
    let closed = Close(Some(1000));
    case(&server, "7.1.1", &[(FIN | TEXT, b"4Hello"), normal], &[text("4Hello"), Close(Some(1000))]).await;
    for (number, frames) in [
        ("7.1.2", &[normal, normal][..]),
        ("7.1.3", &[normal, (FIN | PING, b"")]),
        ("7.1.4", &[normal, (FIN | TEXT, b"4Hello")]),
        ("7.1.5", &[(TEXT, b"4frag"), normal, (FIN, b"ment")]),
    ] {
        case(&server, number, frames, std::slice::from_ref(&closed)).await;
    }
    let long = format!("4{}", "*".repeat(256 << 10));
    let frames: [(u8, &[u8]); 4] = [(FIN | TEXT, long.as_bytes()), (FIN | TEXT, b"4Hello"), normal, (FIN | PING, b"")];
    case(&server, "7.1.6", &frames, &[text(&long), text("4Hello"), closed]).await;
}

#[tokio::test]
async fn family_7_3_to_7_13_the_payload_and_code_of_a_close_frame_are_checked() {
    let server = start(Config::default()).await;
    let normal = || Close(Some(1000));
    let longest = [b"\x03\xe8".as_slice(), &[b'*'; 123]].concat();
    let longer = [b"\x03\xe8".as_slice(), &[b'*'; 124]].concat();
    for (number, payload, answer) in [
        ("7.3.1", &b""[..], normal()),
        ("7.3.2", b"a", PROTOCOL_ERROR),
        ("7.3.3", b"\x03\xe8", normal()),
        ("7.3.4", b"\x03\xe8Hello World!", normal()),
        ("7.3.5", &longest, normal()),
        ("7.3.6", &longer, PROTOCOL_ERROR),
        ("7.5.1", b"\x03\xe8\xce\xba\xed\xa0\x80edited", INVALID_TEXT),
    ] {
        case(&server, number, &[(FIN | CLOSE, payload)], &[answer]).await;
    }
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        case(&server, "7.7", &[(FIN | CLOSE, &code.to_be_bytes())], &[Close(Some(code))]).await;
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        case(&server, "7.9 and 7.13", &[(FIN | CLOSE, &code.to_be_bytes())], &[PROTOCOL_ERROR]).await;
    }
}

#[tokio::test]
async fn family_10_a_long_message_in_many_fragments_is_echoed() {
    let server = start(Config::default()).await;
    let message = format!("4{}", "*".repeat(65_535));
    let last = message.len().div_ceil(1_300) - 1;
    let frames: Vec<(u8, &[u8])> = message
        .as_bytes()
        .chunks(1_300)
        .enumerate()
        .map(|(index, part)| (if index == 0 { TEXT } else { CONTINUATION } | if index == last { FIN } else { 0 }, part))
        .collect();
    case(&server, "10.1.1", &frames, &[text(&message)]).await;
}

/// A text in fragments of one byte.
fn by_octets(payload: &[u8]) -> Vec<(u8, &[u8])> {
    let last = payload.len() - 1;
    let first = |index| if index == 0 { TEXT } else { CONTINUATION } | if index == last { FIN } else { 0 };
    payload.chunks(1).enumerate().map(|(index, byte)| (first(index), byte)).collect()
}
