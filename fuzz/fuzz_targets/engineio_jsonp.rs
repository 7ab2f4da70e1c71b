//! The forms that JSONP posts.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::engineio::decode_jsonp_form;

fuzz_target!(|data: &[u8]| {
    if let Some(payload) = decode_jsonp_form(data) {
        // An invalid byte becomes a replacement character of three.
        assert!(payload.len() <= data.len() * 3);
    }
});
