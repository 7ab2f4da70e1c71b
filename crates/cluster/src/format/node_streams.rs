//! The format of `@socket.io/redis-streams-adapter` 0.3: what must not be lost is appended to a stream, and requests and
//! answers are published.
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use crate::message::{Body, Message, ServerId};

use super::{
    Abilities, Acks, DecodeError, Decoded, EncodeError, Format, Publication, Received, Subscription,
    cluster_message::{self, Kind},
    document::Encoding,
};

/// The format of the streams adapter of Node servers.
#[derive(Debug)]
pub struct NodeStreams {
    server: ServerId,
    settings: StreamsSettings,
}

/// What all servers of a cluster set alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsSettings {
    /// The stream, or what the names of several streams begin with; `streamName` of the adapter. Default `socket.io`.
    pub stream_name: String,
    /// How many streams the namespaces are spread over, `streamCount` of the adapter. Default 1. With several, Node servers
    /// read no messages in namespaces whose hash is negative, because none of them reads the stream that they compute.
    pub stream_count: u32,
    /// What the names of channels begin with, `channelPrefix` of the adapter. Default `socket.io`.
    pub channel_prefix: String,
    /// Whether nothing but text is appended to the stream, for programs that read it as JSON. Events with binary data are
    /// then refused. Default false. With `onlyPlaintext` Node servers do not refuse them, but change the data.
    pub only_plaintext: bool,
}

impl Default for StreamsSettings {
    fn default() -> Self {
        Self {
            stream_name: "socket.io".into(),
            stream_count: 1,
            channel_prefix: "socket.io".into(),
            only_plaintext: false,
        }
    }
}

impl NodeStreams {
    /// The format with these settings.
    #[must_use]
    pub fn new(settings: StreamsSettings) -> Self {
        Self { server: ServerId::default(), settings }
    }

    fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.settings.channel_prefix)
    }

    fn channel_of(&self, namespace: &str, server: &str) -> String {
        format!("{}#{namespace}#{server}#", self.settings.channel_prefix)
    }

    fn stream(&self, namespace: &str) -> String {
        let StreamsSettings { stream_name, stream_count, .. } = &self.settings;
        match stream_count {
            0 | 1 => stream_name.clone(),
            // The remainder has the sign of the hash, in JavaScript as here.
            count => format!("{stream_name}-{}", i64::from(java_hash(namespace)) % i64::from(*count)),
        }
    }

    fn append(&self, message: &Message, kind: Kind) -> Result<Publication, EncodeError> {
        let data = if cluster_message::has_binary(&message.body) {
            if self.settings.only_plaintext {
                return Err(EncodeError::Impossible("take binary data, because `only_plaintext` is set"));
            }
            let data = cluster_message::write_data(&message.body, Encoding::MessagePack)?.into_bytes();
            BASE64.encode(data).into()
        } else {
            cluster_message::write_data(&message.body, Encoding::Json)?.into_bytes()
        };
        let fields = vec![
            ("uid", Bytes::copy_from_slice(cluster_message::sender(message).as_bytes())),
            ("nsp", Bytes::copy_from_slice(message.namespace.as_bytes())),
            ("type", kind.number().to_string().into()),
            ("data", data),
        ];
        Ok(Publication::Append { stream: self.stream(&message.namespace), fields })
    }
}

impl Format for NodeStreams {
    fn set_server(&mut self, server: &ServerId) {
        self.server = server.clone();
    }

    fn abilities(&self) -> Abilities {
        Abilities { questions: true, server_events: true, acks: Acks::Counted, heartbeats: false }
    }

    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError> {
        let channel = match &message.body {
            Body::Heartbeat(_) => return Ok(Vec::new()),
            Body::Broadcast(broadcast) if broadcast.acks.is_none() => None,
            Body::Join { .. } | Body::Leave { .. } | Body::Disconnect { .. } => None,
            Body::Answer { to: Some(to), .. } => Some(self.channel_of(&message.namespace, to)),
            _ => Some(self.channel(&message.namespace)),
        };
        Ok(vec![match channel {
            Some(channel) => Publication::Publish {
                channel,
                payload: cluster_message::write(message, Encoding::MessagePack)?.into_bytes(),
            },
            None => self.append(message, Kind::of(&message.body)?)?,
        }])
    }

    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError> {
        match received {
            Received::Published { payload, .. } => cluster_message::read(cluster_message::parse(payload)?, None),
            Received::Appended { fields, .. } => read_entry(fields),
        }
    }

    fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        vec![
            Subscription::Stream(self.stream(namespace)),
            Subscription::Channel(self.channel(namespace)),
            Subscription::Channel(self.channel_of(namespace, &self.server)),
        ]
    }

    fn request_channel(&self, namespace: &str) -> Option<String> {
        Some(self.channel(namespace))
    }
}

/// The base64 of Node's `Buffer`, which reads it with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn read_entry(fields: &[(&str, &[u8])]) -> Result<Decoded, DecodeError> {
    let field = |wanted| {
        let (_, value) = fields.iter().find(|(name, _)| *name == wanted)?;
        str::from_utf8(value).ok()
    };
    // Others may append to the stream, too; Node servers skip what has no namespace.
    let Some(namespace) = field("nsp") else { return Ok(Decoded::Ignored("an entry without a namespace")) };
    let kind = field("type").and_then(|kind| kind.parse().ok()).ok_or(DecodeError::Malformed("it has no type"))?;
    let data = field("data").filter(|data| !data.is_empty());
    let decoded = data
        .filter(|data| !data.starts_with('{'))
        .map(|data| BASE64.decode(data).map_err(|_| DecodeError::Malformed("it is neither a JSON object nor base64")))
        .transpose()?;
    let data = decoded.as_deref().or(data.map(str::as_bytes)).map(cluster_message::parse).transpose()?;
    cluster_message::read_parts(kind, field("uid"), namespace, data)
}

/// Java's hash of a string, which the adapter computes over UTF-16 code units, too.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(settings: StreamsSettings) -> NodeStreams {
        let mut format = NodeStreams::new(settings);
        format.set_server(&"4cda".into());
        format
    }

    fn entry(data: &str) -> [(&'static str, &[u8]); 4] {
        [("uid", b"795acc37fd32c8d3"), ("nsp", b"/"), ("type", b"3"), ("data", data.as_bytes())]
    }

    fn decoded(fields: &[(&str, &[u8])]) -> Message {
        match format(StreamsSettings::default()).decode(&Received::Appended { id: "1795197884800-0", fields }) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// What `@socket.io/redis-streams-adapter` 0.3.1 appends.
    const TEXT: &str = r#"{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    const BINARY: &str = "gqZwYWNrZXSCpHR5cGUCpGRhdGGSo2JpbsQDAQIDpG9wdHODpXJvb21zkaVyb29tMaZleGNlcHSQpWZsYWdzgA==";

    #[test]
    fn captured_entries_are_read_and_appended_again() {
        let format = format(StreamsSettings::default());
        for data in [TEXT, BINARY] {
            let published = format.encode(&decoded(&entry(data))).unwrap();
            let [Publication::Append { stream, fields }] = &published[..] else { panic!("{published:?}") };
            assert_eq!(stream, "socket.io");
            assert_eq!(fields.iter().map(|(name, value)| (*name, &value[..])).collect::<Vec<_>>(), entry(data));
        }
    }

    #[test]
    fn commands_are_appended_and_questions_and_answers_are_published_as_message_pack() {
        let format = format(StreamsSettings::default());
        let options = r#""opts":{"rooms":[],"except":[],"flags":{}}"#;
        for (kind, data, appended) in [
            (3, format!(r#"{{"packet":{{"type":2,"data":["e"]}},"requestId":"q",{options}}}"#), false),
            (4, format!(r#"{{{options},"rooms":["r"]}}"#), true),
            (5, format!(r#"{{{options},"rooms":["r"]}}"#), true),
            (6, format!(r#"{{{options},"close":false}}"#), true),
            (7, format!(r#"{{{options},"requestId":"q"}}"#), false),
            (9, r#"{"packet":["srv",1]}"#.into(), false),
            (12, r#"{"requestId":"q","packet":1}"#.into(), false),
        ] {
            let kind = kind.to_string();
            let mut fields = entry(&data);
            fields[2].1 = kind.as_bytes();
            let mut message = decoded(&fields);
            let mut expected = "socket.io#/#";
            if let Body::Answer { to, .. } = &mut message.body {
                *to = Some("ab".into());
                expected = "socket.io#/#ab#";
            }
            match &format.encode(&message).unwrap()[..] {
                [Publication::Append { .. }] => assert!(appended, "{kind}"),
                [Publication::Publish { channel, payload }] => {
                    assert!(!appended && channel == expected && payload[0] == 0x84, "{kind}");
                    let received = Received::Published { channel, payload };
                    assert!(matches!(format.decode(&received), Ok(Decoded::Message(_))));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn binary_data_is_refused_where_only_text_is_allowed() {
        let format = format(StreamsSettings { only_plaintext: true, ..StreamsSettings::default() });
        assert!(format.encode(&decoded(&entry(TEXT))).is_ok());
        assert!(matches!(format.encode(&decoded(&entry(BINARY))), Err(EncodeError::Impossible(_))));
    }

    #[test]
    fn namespaces_are_spread_over_streams_as_javascript_does() {
        // `hashCode` of the adapter in Node.js 20.
        for (text, hash) in [("", 0), ("/", 47), ("/chat", 46_457_863), ("/ö🚀🚀", -1_016_559_059)] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
        let format = format(StreamsSettings { stream_count: 4, ..StreamsSettings::default() });
        assert_eq!(format.stream("/"), "socket.io-3");
        assert_eq!(format.stream("/ö🚀🚀"), "socket.io--3");
        let expected = [
            Subscription::Stream("socket.io-3".into()),
            Subscription::Channel("socket.io#/#".into()),
            Subscription::Channel("socket.io#/#4cda#".into()),
        ];
        assert_eq!(format.subscriptions("/"), expected);
    }

    #[test]
    fn entries_of_others_are_ignored_and_broken_ones_refused() {
        let format = format(StreamsSettings::default());
        let decode = |fields: &[(&str, &[u8])]| format.decode(&Received::Appended { id: "1-0", fields });
        assert!(matches!(decode(&[("key", b"value")]), Ok(Decoded::Ignored(_))));
        for data in ["!", "{", "AAA=", "gqZwYWNr", ""] {
            assert!(matches!(decode(&entry(data)), Err(DecodeError::Malformed(_))), "{data}");
        }
    }
}
