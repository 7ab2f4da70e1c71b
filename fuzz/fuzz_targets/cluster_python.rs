//! What Python servers publish: read, written in both generations, and read again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use sockeye_cluster::format::{
    DecodeError, Decoded, ExceptRooms, Format, Generation, Publication, Python, PythonSettings, Received,
};
use sockeye_cluster::message::Body;

fuzz_target!(|data: &[u8]| {
    let formats = [Generation::Second, Generation::Third].map(|generation| {
        Python::new(PythonSettings { generation, except_rooms: ExceptRooms::Deliver, ..PythonSettings::default() })
    });
    for format in &formats {
        let Ok(Decoded::Message(message)) = read(format, data) else { continue };
        for publication in format.encode(&message).unwrap_or_default() {
            let Publication::Publish { payload, .. } = &publication else { panic!("{publication:?}") };
            assert!(std::str::from_utf8(payload).is_ok());
            let json: serde_json::Value = serde_json::from_slice(payload).expect("it is JSON");
            assert_ne!(json.get("room"), Some(&serde_json::json!([])), "Python servers fail on it");
            let again = read(format, payload);
            if let (Body::Broadcast(sent), Ok(Decoded::Message(again))) = (&message.body, &again) {
                let Body::Broadcast(again) = &again.body else { panic!("{again:?}") };
                assert_eq!(sent.args.as_args().len(), again.args.as_args().len(), "{publication:?}");
                assert_eq!(sent.target.rooms, again.target.rooms);
            }
        }
    }
});

fn read(format: &Python, payload: &[u8]) -> Result<Decoded, DecodeError> {
    format.decode(&Received::Published { channel: "socketio", payload })
}
