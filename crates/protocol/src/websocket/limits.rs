/// Limits on the memory that a peer can make the decoder use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest message in bytes. A longer one is refused as soon as it is announced.
    pub max_message: usize,
    /// The most frames that one message may have, empty ones included. A message of one frame is always allowed.
    pub max_fragments: usize,
}
