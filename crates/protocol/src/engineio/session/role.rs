/// Which end of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that accepts connections.
    Server,
    /// The end that opens them.
    Client,
}
