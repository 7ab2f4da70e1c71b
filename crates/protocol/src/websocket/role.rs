/// Which side of the connection this endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server: every frame it receives must be masked.
    Server,
    /// The client: no frame it receives may be masked.
    Client,
}
