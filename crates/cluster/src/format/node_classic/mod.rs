//! The format of `createAdapter` of `@socket.io/redis-adapter` 8.3 and of `@socket.io/redis-emitter` 5.1, and of their
//! predecessors `socket.io-redis` 6.1.1 and `socket.io-emitter` 3.2: events as MessagePack on channels of namespaces and
//! rooms, requests and answers as JSON, or MessagePack, on channels of their own.
mod read;
mod text;
mod write;

use bytes::Bytes;
use sockeye::adapter::Target;

use super::{
    Abilities, Acks, DecodeError, Decoded, EncodeError, Format, Publication, Received, Subscription, cluster_message,
    document::Encoding,
};
use crate::message::{Answer, Body, Broadcast, Message, ServerId};

/// The format of the classic Redis adapter of Node servers.
#[derive(Debug)]
pub struct NodeClassic {
    server: ServerId,
    settings: ClassicSettings,
}

/// What all servers of a cluster set alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicSettings {
    /// What the names of channels begin with, `key` of the adapter and of the emitters. Default `socket.io`.
    pub prefix: String,
    /// Whether answers go only to the server that asks, `publishOnSpecificResponseChannel` of the adapter. Old servers
    /// (`socket.io-redis`) do not hear such answers. Default false.
    pub specific_responses: bool,
    /// Whether there are old servers (`socket.io-redis`), which a request or an answer in MessagePack ends. Then no client
    /// of another server is asked for acknowledgements, and binary data in events of servers and in the data of sockets
    /// becomes what `JSON.stringify` makes of it. Default false.
    pub forbids_acks: bool,
}

impl Default for ClassicSettings {
    fn default() -> Self {
        Self { prefix: "socket.io".into(), specific_responses: false, forbids_acks: false }
    }
}

impl NodeClassic {
    /// The format with these settings.
    #[must_use]
    pub fn new(settings: ClassicSettings) -> Self {
        Self { server: ServerId::default(), settings }
    }

    fn channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.settings.prefix)
    }

    fn channel_of_room(&self, namespace: &str, room: &str) -> String {
        format!("{}#{namespace}#{room}#", self.settings.prefix)
    }

    fn requests(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.settings.prefix)
    }

    fn answers(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.settings.prefix)
    }

    fn answers_to(&self, namespace: &str, server: &str) -> String {
        format!("{}-response#{namespace}#{server}#", self.settings.prefix)
    }

    fn channel_for(&self, namespace: &str, target: &Target) -> String {
        match &*target.rooms {
            [room] => self.channel_of_room(namespace, room),
            _ => self.channel(namespace),
        }
    }

    /// Node servers never address an answer to an event of servers.
    fn channel_for_answer(&self, namespace: &str, to: Option<&str>, answer: &Answer) -> String {
        match to {
            Some(to) if self.settings.specific_responses && !matches!(answer, Answer::ServerEvent(_)) => {
                self.answers_to(namespace, to)
            }
            _ => self.answers(namespace),
        }
    }

    /// How a request or an answer is written.
    fn encoding(&self, body: &Body) -> Encoding {
        let is_message_pack = matches!(body, Body::Broadcast(_) | Body::Answer { answer: Answer::Ack(_), .. })
            || cluster_message::has_binary(body);
        if is_message_pack && !self.settings.forbids_acks { Encoding::MessagePack } else { Encoding::Json }
    }

    fn write(&self, message: &Message) -> Result<(String, Bytes), EncodeError> {
        let namespace = &message.namespace;
        let encoding = self.encoding(&message.body);
        if encoding == Encoding::Json
            && let Some(body) = text::without_binary(&message.body)?
        {
            return self.write(&Message { body, ..message.clone() });
        }
        Ok(match &message.body {
            Body::Answer { request, to, answer } => (
                self.channel_for_answer(namespace, to.as_deref(), answer),
                write::answer(message.sender.as_deref(), request, answer, encoding)?,
            ),
            _ => (self.requests(namespace), write::request(message, encoding)?),
        })
    }
}

impl Default for NodeClassic {
    fn default() -> Self {
        Self::new(ClassicSettings::default())
    }
}

impl Format for NodeClassic {
    fn set_server(&mut self, server: &ServerId) {
        self.server = server.clone();
    }

    fn abilities(&self) -> Abilities {
        let acks = if self.settings.forbids_acks { Acks::None } else { Acks::Counted };
        Abilities { questions: true, server_events: true, acks, heartbeats: false }
    }

    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError> {
        let (channel, payload) = match &message.body {
            Body::Heartbeat(_) => return Ok(Vec::new()),
            Body::Broadcast(broadcast @ Broadcast { target, acks, .. })
                if acks.is_none() || self.settings.forbids_acks =>
            {
                (self.channel_for(&message.namespace, target), write::broadcast(message, broadcast)?)
            }
            _ => self.write(message)?,
        };
        Ok(vec![Publication::Publish { channel, payload }])
    }

    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError> {
        let Received::Published { channel, payload } = received else {
            return Err(DecodeError::Malformed("this format has no streams"));
        };
        let Some(channel) = channel.strip_prefix(&*self.settings.prefix) else {
            return Ok(Decoded::Ignored("a message of another cluster"));
        };
        if let Some(channel) = channel.strip_prefix("-request#") {
            let namespace = channel.strip_suffix('#').ok_or(UNKNOWN_CHANNEL)?;
            read::request(namespace, cluster_message::parse(payload)?)
        } else if let Some(channel) = channel.strip_prefix("-response#") {
            let channel = channel.strip_suffix('#').ok_or(UNKNOWN_CHANNEL)?;
            let own = channel.strip_suffix(&*self.server).and_then(|channel| channel.strip_suffix('#'));
            let (namespace, to) = match own {
                Some(namespace) => (namespace, Some(self.server.clone())),
                None => (channel, None),
            };
            read::answer(namespace, to, cluster_message::parse(payload)?)
        } else if let Some(channel) = channel.strip_prefix('#') {
            read::broadcast(channel, payload)
        } else {
            Err(UNKNOWN_CHANNEL)
        }
    }

    fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        [
            self.channel(namespace),
            self.requests(namespace),
            self.answers(namespace),
            self.answers_to(namespace, &self.server),
        ]
        .map(Subscription::Channel)
        .into()
    }

    fn room_subscription(&self, namespace: &str, room: &str) -> Option<Subscription> {
        Some(Subscription::Channel(self.channel_of_room(namespace, room)))
    }

    /// The pattern leaves out the namespace's own channel, which is subscribed besides: Redis delivers a message once for
    /// each subscription.
    fn every_room_subscription(&self, namespace: &str) -> Option<Subscription> {
        Some(Subscription::Pattern(format!("{}?*", escaped(&self.channel(namespace)))))
    }

    fn request_channel(&self, namespace: &str) -> Option<String> {
        Some(self.requests(namespace))
    }
}

const UNKNOWN_CHANNEL: DecodeError = DecodeError::Malformed("the channel is none of this format");

/// The text with what Redis takes for wildcards escaped.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests;
