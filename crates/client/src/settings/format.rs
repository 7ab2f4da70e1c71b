use sockeye_protocol::engineio::Revision;

/// The format of packets. Client and server must use the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parser {
    /// JSON text with binary data as attachments, which every server speaks.
    #[default]
    Json,
    /// The format of `socket.io-msgpack-parser`, for servers that are configured to use it.
    MessagePack,
}

/// The revision of Engine.IO to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EngineVersion {
    /// `EIO=3`, for servers of Socket.IO 1 and 2.
    V3,
    /// `EIO=4`, for servers of Socket.IO 3 and later.
    #[default]
    V4,
}

impl EngineVersion {
    pub(crate) fn revision(self) -> Revision {
        match self {
            Self::V3 => Revision::V3,
            Self::V4 => Revision::V4,
        }
    }
}
