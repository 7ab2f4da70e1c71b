//! The format of `createShardedAdapter` of `@socket.io/redis-adapter` 8: JSON, or MessagePack if there is binary data, on
//! sharded channels.
use crate::message::{Body, Broadcast, Message, ServerId};

use super::{
    Abilities, Acks, DecodeError, Decoded, EncodeError, Format, Publication, Received, Subscription, cluster_message,
    document::Encoding,
};

/// The format of the sharded adapter of Node servers.
#[derive(Debug)]
pub struct NodeSharded {
    server: ServerId,
    settings: ShardedSettings,
}

/// What all servers of a cluster set alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardedSettings {
    /// What the names of channels begin with, `channelPrefix` of the adapter. Default `socket.io`.
    pub channel_prefix: String,
    /// Which rooms have channels of their own, `subscriptionMode` of the adapter.
    pub subscription_mode: SubscriptionMode,
}

/// Which rooms have channels of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubscriptionMode {
    /// No room: two channels for each namespace.
    Static,
    /// Rooms, but not sockets. Every room whose name has 20 characters counts as a socket. The default.
    #[default]
    Dynamic,
    /// Rooms and sockets.
    DynamicPrivate,
}

impl Default for ShardedSettings {
    fn default() -> Self {
        Self { channel_prefix: "socket.io".into(), subscription_mode: SubscriptionMode::default() }
    }
}

impl NodeSharded {
    /// The format with these settings.
    #[must_use]
    pub fn new(settings: ShardedSettings) -> Self {
        Self { server: ServerId::default(), settings }
    }

    fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.settings.channel_prefix)
    }

    fn channel_of(&self, namespace: &str, name: &str) -> String {
        format!("{}#{namespace}#{name}#", self.settings.channel_prefix)
    }

    /// Whether broadcasts to this room alone are published on its channel.
    fn has_channel(&self, room: &str) -> bool {
        match self.settings.subscription_mode {
            SubscriptionMode::Static => false,
            SubscriptionMode::Dynamic => !looks_like_a_socket_id(room),
            SubscriptionMode::DynamicPrivate => true,
        }
    }

    fn channel_for(&self, Message { namespace, body, .. }: &Message) -> String {
        match body {
            Body::Answer { to: Some(to), .. } => self.channel_of(namespace, to),
            // Every server answers a broadcast that asks for acknowledgements.
            Body::Broadcast(Broadcast { target, acks: None, .. }) => match &*target.rooms {
                [room] if self.has_channel(room) => self.channel_of(namespace, room),
                _ => self.channel(namespace),
            },
            _ => self.channel(namespace),
        }
    }
}

impl Format for NodeSharded {
    fn set_server(&mut self, server: &ServerId) {
        self.server = server.clone();
    }

    fn abilities(&self) -> Abilities {
        Abilities { questions: true, server_events: true, acks: Acks::Counted, heartbeats: false }
    }

    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError> {
        if matches!(message.body, Body::Heartbeat(_)) {
            return Ok(Vec::new());
        }
        let encoding = if cluster_message::has_binary(&message.body) { Encoding::MessagePack } else { Encoding::Json };
        let payload = cluster_message::write(message, encoding)?.into_bytes();
        Ok(vec![Publication::Publish { channel: self.channel_for(message), payload }])
    }

    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError> {
        match received {
            Received::Published { payload, .. } => cluster_message::read(cluster_message::parse(payload)?, None),
            Received::Appended { .. } => Err(DecodeError::Malformed("this format has no streams")),
        }
    }

    fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        [self.channel(namespace), self.channel_of(namespace, &self.server)].map(Subscription::Channel).into()
    }

    fn room_subscription(&self, namespace: &str, room: &str) -> Option<Subscription> {
        self.has_channel(room).then(|| Subscription::Channel(self.channel_of(namespace, room)))
    }

    fn request_channel(&self, namespace: &str) -> Option<String> {
        Some(self.channel(namespace))
    }
}

/// As the adapter asks: JavaScript counts UTF-16 code units.
fn looks_like_a_socket_id(room: &str) -> bool {
    room.encode_utf16().count() == 20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(subscription_mode: SubscriptionMode) -> NodeSharded {
        let mut format = NodeSharded::new(ShardedSettings { subscription_mode, ..ShardedSettings::default() });
        format.set_server(&"4cda".into());
        format
    }

    fn decoded(format: &NodeSharded, payload: &[u8]) -> Message {
        match format.decode(&Received::Published { channel: "socket.io#/#", payload }) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// What `@socket.io/redis-adapter` 8.3.0 publishes.
    const CAPTURED: [(&str, &str); 6] = [
        (
            "socket.io#/#",
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"88f2be882503a1f0","nsp":"/"}"#,
        ),
        (
            "socket.io#/#room1#",
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["room1"],"except":[],"flags":{}}},"uid":"88f2be882503a1f0","nsp":"/"}"#,
        ),
        (
            "socket.io#/#",
            r#"{"type":4,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"rooms":["r2"]},"uid":"88f2be882503a1f0","nsp":"/"}"#,
        ),
        (
            "socket.io#/#",
            r#"{"type":3,"data":{"packet":{"type":2,"data":["q"]},"requestId":"c1c46caedd62365e","opts":{"rooms":["room1"],"except":[],"flags":{"timeout":500}}},"uid":"88f2be882503a1f0","nsp":"/"}"#,
        ),
        (
            "socket.io#/#",
            r#"{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"cf18"},"uid":"88f2be882503a1f0","nsp":"/"}"#,
        ),
        ("socket.io#/#", r#"{"type":9,"data":{"packet":["srv",1]},"uid":"88f2be882503a1f0","nsp":"/"}"#),
    ];

    #[test]
    fn captured_messages_are_read_and_published_again_on_the_same_channel() {
        let format = format(SubscriptionMode::Dynamic);
        for (channel, text) in CAPTURED {
            let message = decoded(&format, text.as_bytes());
            let expected = Publication::Publish { channel: channel.into(), payload: text.into() };
            assert_eq!(format.encode(&message).unwrap(), [expected]);
        }
    }

    #[test]
    fn captured_answers_go_to_the_channel_of_the_server_that_asks() {
        let format = format(SubscriptionMode::Dynamic);
        for text in [
            r#"{"type":11,"data":{"requestId":"c1c4","clientCount":1},"uid":"4cda","nsp":"/"}"#,
            r#"{"type":12,"data":{"requestId":"c1c4","packet":"answer"},"uid":"4cda","nsp":"/"}"#,
            r#"{"type":10,"data":{"requestId":"c1c4","packet":"pong1"},"uid":"4cda","nsp":"/"}"#,
        ] {
            let mut message = decoded(&format, text.as_bytes());
            let Body::Answer { to, .. } = &mut message.body else { panic!() };
            *to = Some("88f2be882503a1f0".into());
            let expected =
                Publication::Publish { channel: "socket.io#/#88f2be882503a1f0#".into(), payload: text.into() };
            assert_eq!(format.encode(&message).unwrap(), [expected]);
        }
    }

    #[test]
    fn a_captured_message_with_binary_data_is_read_and_written_as_message_pack() {
        let bytes = b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa3bin\xc4\x03\x01\x02\x03\
            \xa4opts\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80\xa3uid\xb088f2be882503a1f0\xa3nsp\xa1/";
        let format = format(SubscriptionMode::Dynamic);
        let message = decoded(&format, bytes);
        let Body::Broadcast(broadcast) = &message.body else { panic!() };
        assert_eq!(broadcast.args.as_args().get::<bytes::Bytes>(0).unwrap(), [1, 2, 3][..]);
        let expected = Publication::Publish { channel: "socket.io#/#".into(), payload: bytes[..].into() };
        assert_eq!(format.encode(&message).unwrap(), [expected]);
    }

    #[test]
    fn modes_decide_which_rooms_have_channels() {
        let (socket, room) = ("a-socket-id-has-20-ch", "room");
        let socket = &socket[..20];
        for (mode, channels) in [
            (SubscriptionMode::Static, [false, false]),
            (SubscriptionMode::Dynamic, [true, false]),
            (SubscriptionMode::DynamicPrivate, [true, true]),
        ] {
            let format = format(mode);
            for (name, has_channel) in [room, socket].into_iter().zip(channels) {
                let channel = format!("socket.io#/#{name}#");
                let subscription = has_channel.then(|| Subscription::Channel(channel.clone()));
                assert_eq!(format.room_subscription("/", name), subscription);
                let text = CAPTURED[1].1.replace("room1", name);
                let published = format.encode(&decoded(&format, text.as_bytes())).unwrap();
                let expected = if has_channel { channel } else { "socket.io#/#".into() };
                assert!(matches!(&published[..], [Publication::Publish { channel, .. }] if *channel == expected));
            }
        }
        assert!(looks_like_a_socket_id("🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀"));
    }

    #[test]
    fn a_server_listens_for_everybody_and_for_answers_to_itself() {
        let format = format(SubscriptionMode::Static);
        let expected = ["socket.io#/chat#", "socket.io#/chat#4cda#"].map(|name| Subscription::Channel(name.into()));
        assert_eq!(format.subscriptions("/chat"), expected);
        assert_eq!(format.request_channel("/chat").as_deref(), Some("socket.io#/chat#"));
        let heartbeat = Body::Heartbeat(crate::message::Heartbeat::Alive);
        let message = Message { sender: None, namespace: "/".into(), body: heartbeat };
        assert_eq!(format.encode(&message).unwrap(), []);
    }
}
