//! What Node servers publish by the sharded, streams and PostgreSQL adapters: read, written in each of these formats, and
//! read again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_cluster::format::{
    Decoded, Format, NodePostgres, NodeSharded, NodeStreams, Publication, Received, Subscription,
};
use sockeye_cluster::message::Message;

fuzz_target!(|data: &[u8]| {
    let sharded = NodeSharded::new(Default::default());
    let streams = NodeStreams::new(Default::default());
    let postgres = NodePostgres::new(Default::default());
    let formats: [&dyn Format; 3] = [&sharded, &streams, &postgres];
    let Some((kind, rest)) = data.split_first() else { return };
    let kind = (kind % 16).to_string();
    let fields: &[(&str, &[u8])] = &[("uid", b"u"), ("nsp", b"/"), ("type", kind.as_bytes()), ("data", rest)];
    for format in formats {
        for received in [
            Received::Published { channel: "socket.io#/", payload: data },
            Received::Appended { id: "1-0", fields },
        ] {
            if let Ok(Decoded::Message(message)) = format.decode(&received) {
                formats.iter().for_each(|format| write_and_read(*format, &message));
                let _: Vec<Subscription> = format.subscriptions(&message.namespace);
            }
        }
    }
});

/// What a format writes, it reads.
fn write_and_read(format: &dyn Format, message: &Message) {
    for publication in format.encode(message).unwrap_or_default() {
        let read = match &publication {
            Publication::Publish { channel, payload } | Publication::Attach { channel, payload, .. } => {
                format.decode(&Received::Published { channel, payload })
            }
            Publication::Append { fields, .. } => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
                format.decode(&Received::Appended { id: "1-0", fields: &fields })
            }
        };
        // One level more may be too deep.
        assert!(matches!(read, Ok(Decoded::Message(_))), "{message:?} as {publication:?}: {read:?}");
        if let Publication::Attach { channel, announcement: (before, after), .. } = &publication {
            let payload = format!("{before}7{after}");
            let read = format.decode(&Received::Published { channel, payload: payload.as_bytes() });
            assert!(matches!(read, Ok(Decoded::Attachment(7) | Decoded::Ignored(_))), "{payload}: {read:?}");
        }
    }
}
