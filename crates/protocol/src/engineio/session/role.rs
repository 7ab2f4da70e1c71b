use crate::engineio::Revision;

/// Which end of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that accepts connections.
    Server,
    /// The end that opens them.
    Client,
}

/// What is spoken on the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    EngineIo(Revision),
    /// Messages of a WebSocket without packets around them.
    Plain,
}
