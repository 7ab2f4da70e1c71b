//! Socket.IO packets as MessagePack, their arguments read and forwarded.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::socketio::{Limits, Packet, Revision, Value, encode_event, msgpack};

fuzz_target!(|data: &[u8]| {
    for revision in [Revision::V4, Revision::V5] {
        let limits = Limits { max_depth: 8, revision, ..Limits::default() };
        if let Ok(Some(Packet::Event(event))) = msgpack::decode(data, &limits) {
            for index in 0..event.args.len() {
                let _ = event.args.get::<Value>(index);
            }
            assert!(event.args.get::<Value>(event.args.len()).is_err());
            let _ = event.args.all::<Vec<Value>>();
            let _ = encode_event(&mut Vec::new(), "/", None, "e", &event.args);
        }
    }
});
