//! Socket.IO packets as text, their arguments read and forwarded.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::socketio::{Decoder, Limits, Packet, Revision, Value, encode_event};

fuzz_target!(|text: &str| {
    for revision in [Revision::V4, Revision::V5] {
        let limits = Limits { max_attachments: 3, max_attachment_bytes: 16, max_depth: 8, revision };
        let mut decoder = Decoder::new();
        if let Ok(Some(Packet::Event(event))) = decoder.decode_text(text, &limits) {
            for index in 0..event.args.len() {
                assert!(event.args.raw(index).is_some());
                let _ = event.args.get::<Value>(index);
            }
            assert!(event.args.get::<Value>(event.args.len()).is_err());
            let _ = event.args.all::<(u8, String)>();
            let _ = encode_event(&mut Vec::new(), "/", None, "e", &event.args);
        }
    }
});
