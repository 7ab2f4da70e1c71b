//! Payloads of HTTP long-polling, of both revisions and both kinds.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::engineio::payload;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // Each packet takes a byte at least, and the iterator ends with its first error.
    assert!(payload::decode_v4(&text).count() <= text.len() + 1);
    assert!(payload::decode_v3_text(&text).count() <= text.len());
    assert!(payload::decode_v3_binary(data).count() <= data.len());
});
