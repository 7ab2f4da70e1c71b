//! What Node servers publish by the classic Redis adapter, and the emitters: read, written again, and read again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_cluster::format::{ClassicSettings, DecodeError, Decoded, Format, NodeClassic, Publication, Received};
use sockeye_cluster::message::{Body, Message};

fuzz_target!(|data: &[u8]| {
    let new = NodeClassic::new(ClassicSettings { specific_responses: true, ..Default::default() });
    let old = NodeClassic::new(ClassicSettings { forbids_acks: true, ..Default::default() });
    let Some((kind, payload)) = data.split_first() else { return };
    let channel = ["socket.io#/#", "socket.io-request#/#", "socket.io-response#/#"][usize::from(*kind) % 3];
    let Ok(Decoded::Message(message)) = new.decode(&Received::Published { channel, payload }) else { return };
    for format in [&new, &old] {
        write_and_read(format, &message);
    }
});

/// What the format writes, it reads, and it is what no Node server ends at.
fn write_and_read(format: &NodeClassic, message: &Message) {
    for publication in format.encode(message).unwrap_or_default() {
        let Publication::Publish { channel, payload } = &publication else { panic!("{publication:?}") };
        let read = format.decode(&Received::Published { channel, payload });
        // Binary data has two levels more as JSON, which may be too deep.
        let is_too_deep = matches!(&read, Err(DecodeError::Malformed(reason)) if reason.contains("depth"));
        let is_read = matches!(read, Ok(Decoded::Message(_))) || is_too_deep && payload.first() == Some(&b'{');
        assert!(is_read, "{message:?} as {publication:?}: {read:?}");
        if channel.starts_with("socket.io#") {
            assert_eq!(payload.first(), Some(&0x93));
            assert!(matches!(read, Ok(Decoded::Message(Message { body: Body::Broadcast(_), .. }))));
        }
    }
}
