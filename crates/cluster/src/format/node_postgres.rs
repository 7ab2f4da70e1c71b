//! The format of `@socket.io/postgres-adapter` 0.5: JSON on the channel of a namespace. What is binary or long is stored in
//! a table, and its number is announced.
use crate::message::{Message, ServerId};

use super::{
    Abilities, Acks, DecodeError, Decoded, EncodeError, Format, Publication, Received, Subscription,
    cluster_message::{self, Kind},
    document::{Document, Encoding},
};

/// The format of the PostgreSQL adapter of Node servers.
#[derive(Debug)]
pub struct NodePostgres {
    server: ServerId,
    settings: PostgresSettings,
}

/// What all servers of a cluster set alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// What the names of channels begin with, `channelPrefix` of the adapter. Default `socket.io`.
    pub channel_prefix: String,
    /// From how many bytes on a message is stored in the table. Default and maximum 8,000: PostgreSQL refuses to notify of
    /// that many.
    pub payload_threshold: usize,
}

/// From how many bytes on PostgreSQL refuses a notification.
const NOTIFICATION_LIMIT: usize = 8_000;

/// How many bytes PostgreSQL keeps of the name of a channel.
const CHANNEL_LIMIT: usize = 63;

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { channel_prefix: "socket.io".into(), payload_threshold: NOTIFICATION_LIMIT }
    }
}

impl NodePostgres {
    /// The format with these settings.
    #[must_use]
    pub fn new(settings: PostgresSettings) -> Self {
        Self { server: ServerId::default(), settings }
    }

    fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}", self.settings.channel_prefix)
    }
}

impl Format for NodePostgres {
    fn set_server(&mut self, server: &ServerId) {
        self.server = server.clone();
    }

    fn abilities(&self) -> Abilities {
        Abilities { questions: true, server_events: true, acks: Acks::Counted, heartbeats: true }
    }

    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError> {
        let channel = self.channel(&message.namespace);
        if channel.len() > CHANNEL_LIMIT {
            return Err(EncodeError::Impossible(
                "reach this namespace, because PostgreSQL keeps 63 bytes of a channel's name: use a shorter one",
            ));
        }
        if !cluster_message::has_binary(&message.body) {
            let payload = cluster_message::write_counted(message, Encoding::Json)?.into_bytes();
            if payload.len() < self.settings.payload_threshold.min(NOTIFICATION_LIMIT) {
                return Ok(vec![Publication::Publish { channel, payload }]);
            }
        }
        let announcement = announcement(message, Kind::of(&message.body)?)?;
        let payload = cluster_message::write_counted(message, Encoding::MessagePack)?.into_bytes();
        Ok(vec![Publication::Attach { channel, payload, announcement }])
    }

    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError> {
        let Received::Published { channel, payload } = received else {
            return Err(DecodeError::Malformed("this format has no streams"));
        };
        let message = cluster_message::parse(payload)?;
        let announced = payload.starts_with(b"{").then(|| message.get("attachmentId")).flatten();
        if let Some(id) = announced.filter(|id| !id.is_null()) {
            if message.get("uid").and_then(|uid| uid.as_str()).as_deref() == Some(&*self.server) {
                return Ok(Decoded::Ignored("a message of this server"));
            }
            // The driver of Node servers reads a `bigserial` as text.
            let id = id.as_name().and_then(|id| id.parse().ok());
            return id.map(Decoded::Attachment).ok_or(DecodeError::Malformed("the number of an attachment is none"));
        }
        // Emitters do not name the namespace.
        let namespace = channel.strip_prefix(&*self.settings.channel_prefix).and_then(|rest| rest.strip_prefix('#'));
        cluster_message::read(message, namespace)
    }

    fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        vec![Subscription::Channel(self.channel(namespace))]
    }
}

/// What is notified before and after the number of the attachment. Node servers read its namespace from the attachment.
fn announcement(message: &Message, kind: Kind) -> Result<(String, String), EncodeError> {
    let mut head = Document::new(Encoding::Json, 64);
    head.map(3)?;
    head.key("uid")?;
    head.string(cluster_message::counted(cluster_message::sender(message)))?;
    head.key("type")?;
    head.value(&kind.number())?;
    head.key("attachmentId")?;
    let head = String::from_utf8_lossy(&head.into_bytes()).into_owned() + "\"";
    Ok((head, "\"}".into()))
}

#[cfg(test)]
mod tests {
    use sockeye::ArgsBuf;

    use super::*;
    use crate::message::{Body, Broadcast, Heartbeat};

    fn format() -> NodePostgres {
        let mut format = NodePostgres::new(PostgresSettings::default());
        format.set_server(&"4cda".into());
        format
    }

    fn decode(channel: &str, payload: &[u8]) -> Result<Decoded, DecodeError> {
        format().decode(&Received::Published { channel, payload })
    }

    fn decoded(channel: &str, payload: &[u8]) -> Message {
        match decode(channel, payload) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn broadcast(text: &str) -> Message {
        let args = ArgsBuf::new(&text).unwrap();
        let body = Body::Broadcast(Broadcast { event: "e".into(), args, target: Default::default(), acks: None });
        Message { sender: Some("u".into()), namespace: "/".into(), body }
    }

    #[test]
    fn messages_and_heartbeats_are_read_and_written_as_node_servers_write_them() {
        for text in [
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"88f2be882503a1f0","nsp":"/chat"}"#,
            r#"{"type":1,"uid":"88f2be882503a1f0","nsp":"/chat"}"#,
            r#"{"type":2,"uid":"88f2be882503a1f0","nsp":"/chat"}"#,
            r#"{"type":13,"uid":"88f2be882503a1f0","nsp":"/chat"}"#,
        ] {
            let message = decoded("socket.io#/chat", text.as_bytes());
            let expected = Publication::Publish { channel: "socket.io#/chat".into(), payload: text.into() };
            assert_eq!(format().encode(&message).unwrap(), [expected]);
        }
        let stopping = decoded("socket.io#/", br#"{"type":13,"uid":"u","nsp":"/"}"#);
        assert!(matches!(stopping.body, Body::Heartbeat(Heartbeat::Stopping)));
    }

    #[test]
    fn an_emitter_that_names_no_namespace_means_that_of_the_channel() {
        let text = r#"{"type":9,"data":{"packet":["e"]},"uid":"emitter"}"#;
        assert_eq!(&*decoded("socket.io#/a#b", text.as_bytes()).namespace, "/a#b");
        assert!(matches!(decode("other", text.as_bytes()), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn messages_of_8000_bytes_are_stored_and_announced() {
        let head = r#"{"type":3,"data":{"packet":{"type":2,"data":["e",""]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"u","nsp":"/"}"#.len();
        for (length, stored) in [(7_999, false), (8_000, true)] {
            let published = format().encode(&broadcast(&"x".repeat(length - head))).unwrap();
            match &published[..] {
                [Publication::Publish { payload, .. }] => assert!(!stored && payload.len() == length),
                [Publication::Attach { channel, payload, announcement }] => {
                    assert!(stored && channel == "socket.io#/");
                    let (before, after) = announcement;
                    let header = format!("{before}17{after}");
                    assert_eq!(header, r#"{"uid":"u","type":3,"attachmentId":"17"}"#);
                    assert!(matches!(decode(channel, header.as_bytes()), Ok(Decoded::Attachment(17))));
                    assert_eq!(&*decoded(channel, payload).namespace, "/");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn node_servers_count_a_server_on_several_buses_once_and_sockeye_servers_see_the_number() {
        let name = "0123456789abcdef0123456789abcdef";
        let sender = format!("{name}.7~redis");
        let mut message = broadcast("");
        message.sender = Some(sender.as_str().into());
        let published = format().encode(&message).unwrap();
        let [Publication::Publish { channel, payload }] = &published[..] else { panic!("{published:?}") };
        let text = str::from_utf8(payload).unwrap();
        assert!(text.ends_with(&format!(r#""uid":"{name}","nsp":"/","sender":"{sender}"}}"#)), "{text}");
        assert_eq!(decoded(channel, payload).sender.as_deref(), Some(&*sender));
        message.body = Body::Broadcast(Broadcast {
            event: "e".into(),
            args: ArgsBuf::new(&"x".repeat(9_000)).unwrap(),
            target: Default::default(),
            acks: None,
        });
        let published = format().encode(&message).unwrap();
        let [Publication::Attach { announcement, .. }] = &published[..] else { panic!("{published:?}") };
        assert!(announcement.0.starts_with(&format!(r#"{{"uid":"{name}","type""#)));
    }

    #[test]
    fn binary_data_is_stored_however_short() {
        let mut message = broadcast("");
        let Body::Broadcast(broadcast) = &mut message.body else { panic!() };
        broadcast.args = ArgsBuf::new(&bytes::Bytes::from_static(&[1])).unwrap();
        let published = format().encode(&message).unwrap();
        let [Publication::Attach { payload, .. }] = &published[..] else { panic!("{published:?}") };
        let Body::Broadcast(broadcast) = decoded("socket.io#/", payload).body else { panic!() };
        assert_eq!(broadcast.args.as_args().get::<bytes::Bytes>(0).unwrap(), [1][..]);
    }

    #[test]
    fn announcements_are_read_with_numbers_as_text_or_not_and_those_of_this_server_are_ignored() {
        for id in ["7", r#""7""#] {
            let header = format!(r#"{{"uid":"u","type":3,"attachmentId":{id}}}"#);
            assert!(matches!(decode("socket.io#/", header.as_bytes()), Ok(Decoded::Attachment(7))));
            let own = header.replace("\"u\"", "\"4cda\"");
            assert!(matches!(decode("socket.io#/", own.as_bytes()), Ok(Decoded::Ignored(_))));
        }
        for id in ["-1", r#""x""#, "[]", "1.5", "true"] {
            let header = format!(r#"{{"uid":"u","type":3,"attachmentId":{id}}}"#);
            assert!(matches!(decode("socket.io#/", header.as_bytes()), Err(DecodeError::Malformed(_))), "{id}");
        }
    }

    #[test]
    fn a_namespace_whose_channel_has_no_room_for_its_name_is_refused() {
        let mut message = broadcast("");
        message.namespace = format!("/{}", "x".repeat(52)).into();
        assert!(format().encode(&message).is_ok());
        message.namespace = format!("/{}", "x".repeat(53)).into();
        assert!(matches!(format().encode(&message), Err(EncodeError::Impossible(_))));
    }
}
