use std::sync::Arc;

use sockeye_engine::Sid;

/// The private id of a socket. A client that asks for recovery sends it as a proof. It consists of the socket's public
/// id, by which the server finds the socket, and a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PrivateId(Arc<str>);

impl PrivateId {
    pub(crate) fn new(socket: &Sid) -> Self {
        Self(format!("{socket}{SEPARATOR}{}", Sid::random()).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the socket.
    pub(super) fn socket(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(socket, _)| socket)
    }
}

impl From<String> for PrivateId {
    /// The private id that a client claims to have.
    fn from(claimed: String) -> Self {
        Self(claimed.into())
    }
}

/// Separates the parts of private ids and of offsets. Neither ids nor epochs contain it.
pub(super) const SEPARATOR: char = '.';
