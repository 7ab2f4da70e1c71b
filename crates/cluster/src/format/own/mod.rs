//! The format of Sockeye servers among themselves: `docs/cluster-format.md` describes it.
mod read;
mod signature;
mod write;

use bytes::Bytes;

pub use signature::{KeyError, Keys};

use super::{Abilities, Acks, DecodeError, Decoded, EncodeError, Format, Publication, Received, Subscription};
use crate::message::{Body, Message};

/// The format of Sockeye servers among themselves: everything that the adapter can do, in MessagePack, signed if there are
/// keys.
///
/// A message is published on the channel of the room that it is for, if it is for one room, so that it comes only to the
/// servers that have members of the room.
#[derive(Debug, Clone)]
pub struct Own {
    prefix: String,
    keys: Keys,
}

impl Own {
    /// The format with channels that begin with `prefix`, a word of letters and digits; the default is `sockeye`.
    #[must_use]
    pub fn new(prefix: &str, keys: Keys) -> Self {
        Self { prefix: prefix.to_owned(), keys }
    }

    /// The channel that all servers with the namespace listen to.
    fn everyone(&self, namespace: &str) -> String {
        format!("{}.{}.all", self.prefix, token(namespace))
    }

    fn room(&self, namespace: &str, room: &str) -> String {
        format!("{}.{}.room.{}", self.prefix, token(namespace), token(room))
    }

    /// The channel of a message.
    fn channel(&self, message: &Message) -> String {
        match &message.body {
            Body::Broadcast(broadcast) if broadcast.acks.is_none() => match broadcast.target.rooms.as_slice() {
                [room] => self.room(&message.namespace, room),
                _ => self.everyone(&message.namespace),
            },
            _ => self.everyone(&message.namespace),
        }
    }
}

impl Default for Own {
    fn default() -> Self {
        Self::new("sockeye", Keys::default())
    }
}

impl Format for Own {
    fn abilities(&self) -> Abilities {
        Abilities { questions: true, server_events: true, acks: Acks::Counted, heartbeats: true }
    }

    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError> {
        let channel = self.channel(message);
        let bytes = write::message(message)?;
        let payload = self.keys.signed(&channel, bytes);
        Ok(vec![Publication::Publish { channel, payload: Bytes::from(payload) }])
    }

    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError> {
        match *received {
            Received::Published { channel, payload } => read::message(self.keys.verified(channel, payload)?),
            Received::Appended { .. } => Ok(Decoded::Ignored("this format has no streams")),
        }
    }

    fn subscriptions(&self, namespace: &str) -> Vec<Subscription> {
        vec![Subscription::Channel(self.everyone(namespace))]
    }

    fn room_subscription(&self, namespace: &str, room: &str) -> Option<Subscription> {
        Some(Subscription::Channel(self.room(namespace, room)))
    }

    fn every_room_subscription(&self, namespace: &str) -> Option<Subscription> {
        Some(Subscription::Pattern(format!("{}.{}.room.*", self.prefix, token(namespace))))
    }
}

/// Writes a message without signature, for formats that carry it in messages of theirs.
pub(super) fn to_bytes(message: &Message) -> Result<Vec<u8>, EncodeError> {
    write::message(message)
}

/// Reads what [`to_bytes`] writes.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    read::message(bytes)
}

/// A name as a part of a channel: every byte but letters, digits, `-` and `_` as `=` and two hexadecimal digits. So it
/// contains nothing that a broker takes for a separator or a wildcard. An empty name is `=`.
fn token(name: &str) -> String {
    use std::fmt::Write;

    if name.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(name.len() + 2);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ok = write!(token, "={byte:02x}");
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sockeye::{
        ArgsBuf,
        adapter::{RoomNames, Target},
    };

    use super::*;
    use crate::message::{AckRequest, Answer, Broadcast, Heartbeat, Question};

    fn rooms(names: &[&str]) -> RoomNames {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn target(names: &[&str]) -> Target {
        Target { rooms: rooms(names), except: rooms(&["x"]), ..Target::default() }
    }

    fn bodies() -> Vec<Body> {
        let args = ArgsBuf::new(&(1, "two", Bytes::from_static(&[3]))).unwrap();
        let broadcast = |names: &[&str], acks| {
            Body::Broadcast(Broadcast { event: "e".into(), args: args.clone(), target: target(names), acks })
        };
        let answer = |answer| Body::Answer { request: "r".into(), to: Some("s".into()), answer };
        let request = |question| Body::Request { id: "r".into(), question };
        vec![
            broadcast(&["a"], None),
            broadcast(&["a", "b"], None),
            broadcast(&["a"], Some(AckRequest { id: "r".into(), timeout_ms: Some(5_000) })),
            Body::Join { target: target(&["a"]), rooms: rooms(&["b"]) },
            Body::Leave { target: target(&[]), rooms: rooms(&["b", "c"]) },
            Body::Disconnect { target: target(&["a"]), close: true },
            request(Question::Sockets { target: target(&["a"]) }),
            request(Question::SocketIds { rooms: rooms(&["a"]) }),
            request(Question::Rooms),
            request(Question::Count { target: target(&["a"]) }),
            request(Question::ServerEvent { event: "e".into(), args: args.clone() }),
            answer(Answer::Sockets(Vec::new())),
            answer(Answer::SocketIds(vec!["i".into()])),
            answer(Answer::Rooms(vec!["r".into()])),
            answer(Answer::Count(7)),
            answer(Answer::ServerEvent(args.clone())),
            answer(Answer::AckCount(2)),
            answer(Answer::Ack(args.clone())),
            answer(Answer::Done),
            Body::ServerEvent { event: "e".into(), args: args.clone() },
            Body::Heartbeat(Heartbeat::Started),
            Body::Heartbeat(Heartbeat::Stopping),
        ]
    }

    fn published(format: &Own, body: Body) -> (String, Bytes) {
        let message = Message { sender: Some("s".into()), namespace: "/chat room".into(), body };
        match format.encode(&message).unwrap().remove(0) {
            Publication::Publish { channel, payload } => (channel, payload),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let signed = Own::new("p", Keys::new("k1", b"a secret of thirty-two bytes or so").unwrap());
        for format in [Own::default(), signed] {
            for body in bodies() {
                let (channel, payload) = published(&format, body.clone());
                let decoded = format.decode(&Received::Published { channel: &channel, payload: &payload }).unwrap();
                let Decoded::Message(message) = decoded else { panic!("{decoded:?}") };
                assert_eq!((message.sender.as_deref(), &*message.namespace), (Some("s"), "/chat room"));
                let (_, again) = published(&Own::default(), message.body);
                let (_, before) = published(&Own::default(), body);
                assert_eq!(again, before);
            }
        }
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_refused() {
        let format = Own::default();
        for body in bodies() {
            let (channel, payload) = published(&format, body);
            let read = |payload: &[u8]| format.decode(&Received::Published { channel: &channel, payload });
            for length in 0..payload.len() {
                assert!(read(&payload[..length]).is_err());
            }
            assert!(read(&[&payload[..], b"\xc0"].concat()).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_ignored_and_counted() {
        let payload = [0x93, 0x02, 0xc0, 0xc0];
        let decoded = Own::default().decode(&Received::Published { channel: "c", payload: &payload }).unwrap();
        assert!(matches!(decoded, Decoded::Ignored(_)), "{decoded:?}");
    }

    #[test]
    fn channels_contain_no_separators_or_wildcards_of_names() {
        let format = Own::default();
        let subscription = format.room_subscription("/a.b", "* > é");
        assert_eq!(subscription, Some(Subscription::Channel("sockeye.=2fa=2eb.room.=2a=20=3e=20=c3=a9".into())));
        let all = |name| format.subscriptions(name).remove(0);
        assert_ne!(all(""), all("="));
        assert_eq!(published(&format, bodies().remove(0)).0, "sockeye.=2fchat=20room.room.a");
        assert_eq!(published(&format, bodies().remove(1)).0, "sockeye.=2fchat=20room.all");
    }
}
