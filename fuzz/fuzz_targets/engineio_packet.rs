//! Engine.IO packets of both revisions.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::engineio::{Packet, Revision};

fuzz_target!(|data: &[u8]| {
    for revision in [Revision::V3, Revision::V4] {
        if let Ok(Packet::Binary(binary)) = Packet::parse_text(&String::from_utf8_lossy(data), revision) {
            assert!(binary.len() < data.len().max(1) * 3, "base64 shrinks");
        }
        let _ = Packet::parse_binary(data, revision);
    }
});
