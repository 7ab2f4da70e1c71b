//! WebSocket frames as they come, whole and in pieces of the size the first byte says.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_protocol::websocket::{Decoder, Event, Limits, Role};

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let limits = Limits { max_message: 300, max_fragments: 4 };
    for role in [Role::Server, Role::Client] {
        for piece in [data.len(), usize::from(first).max(1)] {
            let mut decoder = Decoder::new(role);
            let mut data = data.to_vec();
            let mut rest = &mut data[..];
            while !rest.is_empty() {
                let length = piece.min(rest.len());
                let Ok((consumed, event)) = decoder.decode(&mut rest[..length], &limits) else { break };
                assert!(consumed == length || (consumed > 0 && event.is_some()), "no progress");
                if let Some(Event::Text(text)) = event {
                    assert!(text.len() <= limits.max_message);
                }
                rest = &mut rest[consumed..];
            }
        }
    }
});
