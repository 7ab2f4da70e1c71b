use sockeye_protocol::socketio::Arguments;

use crate::{EventContext, FromContext, HasSocket as _, Rejection};

/// The id of an event that is to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckId {
    /// The number that the peer gave the event.
    pub number: u64,
    /// In which of its stays in the namespace the socket got it: each has numbers of its own. A server's socket has one
    /// stay, the first.
    pub stay: u64,
}

impl From<u64> for AckId {
    /// A number of the first stay.
    fn from(number: u64) -> Self {
        Self { number, stay: 0 }
    }
}

/// A socket that can acknowledge the events that came for it.
pub trait Acknowledge {
    /// Why an acknowledgement could not be sent.
    type Error: std::fmt::Display;

    /// Sends the acknowledgement of this id.
    ///
    /// # Errors
    /// If the arguments cannot be encoded or the socket is not connected any more.
    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), Self::Error>;
}

/// The acknowledgement of an event. A handler that takes it as a parameter sends the acknowledgement itself, at any time.
/// Without it, the handler's result is sent.
#[derive(Debug)]
pub struct Ack<Socket> {
    socket: Socket,
    id: Option<AckId>,
}

impl<Socket: Acknowledge> Ack<Socket> {
    /// Whether the peer asked for an acknowledgement. If it did not, [`send`](Self::send) does nothing.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Acknowledges the event.
    ///
    /// # Errors
    /// If the arguments cannot be encoded or the socket is not connected any more.
    pub fn send(self, args: impl Arguments) -> Result<(), Socket::Error> {
        match self.id {
            Some(id) => self.socket.send_ack(id, &args),
            None => Ok(()),
        }
    }
}

impl<Socket: Clone> FromContext<EventContext<'_, Socket>> for Ack<Socket> {
    fn from_context(context: &mut EventContext<'_, Socket>) -> Result<Self, Rejection> {
        Ok(Self { id: context.take_ack(), socket: context.socket().clone() })
    }
}
