use sockeye_protocol::socketio::Arguments;

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
