use sockeye_protocol::socketio::Arguments;

use crate::{AckId, Acknowledge, EventContext, FromContext, HasSocket as _, Rejection};

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
