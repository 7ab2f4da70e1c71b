//! A text packet, and behind each line feed one of its attachments.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::socketio::{Decoder, Limits, Packet, Value};

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_attachments: 3, max_attachment_bytes: 16, max_depth: 8, ..Limits::default() };
    let mut messages = data.split(|byte| *byte == b'\n');
    let text = String::from_utf8_lossy(messages.next().unwrap_or_default());
    let mut decoder = Decoder::new();
    if !matches!(decoder.decode_text(&text, &limits), Ok(None)) {
        return;
    }
    for attachment in messages {
        match decoder.decode_binary(attachment, &limits) {
            Ok(Some(Packet::Event(event))) => {
                assert!((0..event.args.len()).all(|index| event.args.get::<Value>(index).is_ok()));
                assert!(event.args.all::<Vec<Value>>().is_ok());
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
});
