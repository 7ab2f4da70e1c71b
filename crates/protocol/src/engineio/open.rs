use serde::{Deserialize, Serialize};

/// The `open` packet as a server writes it.
///
/// It serialises to exactly the five keys `sid`, `upgrades`, `pingInterval`, `pingTimeout` and `maxPayload`, in this
/// order; the official protocol suites refuse any other key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPacket<'a> {
    /// The session identifier.
    pub sid: &'a str,
    /// The transports this session can upgrade to.
    pub upgrades: &'a [&'a str],
    /// Time between two pings, in milliseconds.
    pub ping_interval: u64,
    /// How long the answer to a ping may take, in milliseconds.
    pub ping_timeout: u64,
    /// The largest message or polling body the server accepts, in bytes.
    pub max_payload: u64,
}

impl OpenPacket<'_> {
    /// Appends the packet in its textual form, `0{"sid":…}`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { sid, upgrades, ping_interval, ping_timeout, max_payload } = self;
        out.reserve(ROOM + sid.len());
        out.push(b'0');
        let mut open = b'{';
        let mut field = |key: &str, write: &dyn Fn(&mut Vec<u8>) -> serde_json::Result<()>| {
            out.extend_from_slice(&[std::mem::replace(&mut open, b','), b'"']);
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            // Strings and integers always have a JSON form, and writing to a `Vec` cannot fail.
            let _always = write(out);
        };
        field("sid", &|out| serde_json::to_writer(out, sid));
        field("upgrades", &|out| serde_json::to_writer(out, upgrades));
        field("pingInterval", &|out| serde_json::to_writer(out, ping_interval));
        field("pingTimeout", &|out| serde_json::to_writer(out, ping_timeout));
        field("maxPayload", &|out| serde_json::to_writer(out, max_payload));
        out.push(b'}');
    }
}

/// Enough for all but the identifier, unless the numbers are very large.
const ROOM: usize = 112;

/// The `open` packet as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The session identifier.
    pub sid: String,
    /// The transports this session can upgrade to.
    #[serde(default)]
    pub upgrades: Vec<String>,
    /// Time between two pings, in milliseconds.
    pub ping_interval: u64,
    /// How long the answer to a ping may take, in milliseconds.
    pub ping_timeout: u64,
    /// The largest message or polling body the server accepts, in bytes; servers of revision 3 do not send it.
    #[serde(default)]
    pub max_payload: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: OpenPacket<'_> = OpenPacket {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrades: &["websocket"],
        ping_interval: 25_000,
        ping_timeout: 20_000,
        max_payload: 1_000_000,
    };

    #[test]
    fn the_five_keys_stand_in_the_expected_order() {
        let mut out = Vec::new();
        OPEN.encode(&mut out);
        assert_eq!(
            str::from_utf8(&out).unwrap(),
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
    }

    #[test]
    fn a_client_reads_what_a_server_writes() {
        let mut out = Vec::new();
        OPEN.encode(&mut out);
        let handshake: Handshake = serde_json::from_slice(&out[1..]).unwrap();
        assert_eq!(handshake.sid, OPEN.sid);
        assert_eq!(handshake.upgrades, OPEN.upgrades);
        assert_eq!((handshake.ping_interval, handshake.ping_timeout), (25_000, 20_000));
        assert_eq!(handshake.max_payload, Some(1_000_000));
    }

    #[test]
    fn max_payload_is_optional() {
        let handshake: Handshake =
            serde_json::from_str(r#"{"sid":"a","upgrades":[],"pingInterval":1,"pingTimeout":2}"#).unwrap();
        assert_eq!(handshake.max_payload, None);
    }
}
