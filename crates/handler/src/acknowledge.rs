use sockeye_protocol::socketio::Arguments;

/// The id of an event that is to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckId {
    /// The number that the peer gave the event.
    pub number: u64,
    /// The number of the membership in which the socket received the event: a client's socket that leaves a namespace and
    /// joins it again begins a new membership, which has acknowledgements of its own. A server's socket has one
    /// membership, number 0.
    pub membership: u64,
}

impl From<u64> for AckId {
    /// A number in the first membership.
    fn from(number: u64) -> Self {
        Self { number, membership: 0 }
    }
}

/// A socket that can acknowledge the events that came for it.
pub trait Acknowledge {
    /// Why an acknowledgement could not be sent.
    type Error: std::error::Error + 'static;

    /// Sends the acknowledgement of this id.
    ///
    /// # Errors
    /// If the arguments cannot be encoded or the socket is not connected any more.
    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), Self::Error>;
}
