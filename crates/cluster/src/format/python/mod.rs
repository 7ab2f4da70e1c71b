//! The format of python-socketio: JSON, on one channel for all namespaces, over Redis as over RabbitMQ.
mod read;
mod settings;
mod socket_id;
mod write;

use bytes::Bytes;

pub use settings::{ExceptRooms, Generation, PythonSettings};

use super::{Abilities, Acks, DecodeError, Decoded, EncodeError, Format, Publication, Received, Subscription};
use crate::message::{Message, ServerId};

/// The format of `RedisManager`, `AsyncRedisManager`, `KombuManager` and `AsyncAioPikaManager` of python-socketio.
///
/// Python servers know these words: emit to everybody, to rooms and to sockets, except sockets; answer an emit with the
/// acknowledgements of clients; disconnect a socket; make a socket enter or leave a room; close a room. What they have no
/// word for travels as a method of ours, `sockeye`, which they ignore, so that Sockeye servers do everything among
/// themselves. This is what they miss:
///
/// * **Except rooms.** A Python server compares `skip_sid` with the ids of its sockets only, so that an event would reach
///   the members of an excepted room, too. By [`ExceptRooms::Withhold`], the default, it gets no such event;
///   [`ExceptRooms::Deliver`] accepts that excepted clients of Python servers receive. Names of the form of a socket's id
///   are taken for ids, so that `socket.to("room")` works as it should.
/// * **Acknowledgements without number.** A Python server does not tell how many clients it asks. An emit that asks for
///   acknowledgements lasts until its timeout, therefore, unless the broker tells that only Sockeye servers listen, which
///   Redis does. Who asks one socket takes the first answer and drops the rest. Python servers lose acknowledgements with
///   binary data.
/// * **Rooms that are numbers.** A room `5` of Python is another one than `"5"`. Sockeye has only the latter, and reads
///   the former as that.
/// * **`None`.** Python servers take a single argument `null` for no argument.
/// * **Commands for many sockets.** Python servers take part in commands for sockets that are named by their ids, and in
///   [`leave`](sockeye::Operator::sockets_leave) if all members of rooms leave these rooms, but not in other commands for
///   the members of rooms. They do not close connections, but end the namespace.
/// * **Questions and events of servers.** They answer none and have no handlers.
#[derive(Debug, Clone)]
pub struct Python {
    server: ServerId,
    settings: PythonSettings,
}

impl Python {
    /// The format with these settings.
    #[must_use]
    pub fn new(settings: PythonSettings) -> Self {
        Self { server: ServerId::default(), settings }
    }
}

impl Format for Python {
    fn set_server(&mut self, server: &ServerId) {
        self.server = server.clone();
    }

    fn abilities(&self) -> Abilities {
        Abilities { questions: true, server_events: true, acks: Acks::Mixed, heartbeats: true }
    }

    fn encode(&self, message: &Message) -> Result<Vec<Publication>, EncodeError> {
        let publish = |payload: Bytes| Publication::Publish { channel: self.settings.channel.clone(), payload };
        Ok(write::message(message, &self.settings)?.into_iter().map(publish).collect())
    }

    fn decode(&self, received: &Received<'_>) -> Result<Decoded, DecodeError> {
        match *received {
            Received::Published { payload, .. } => read::message(payload, self.settings.generation, &self.server),
            Received::Appended { .. } => Ok(Decoded::Ignored("this format has no streams")),
        }
    }

    fn subscriptions(&self, _: &str) -> Vec<Subscription> {
        vec![Subscription::Channel(self.settings.channel.clone())]
    }
}
