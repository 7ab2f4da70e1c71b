/// The format of packets. Client and server must use the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Parser {
    /// JSON text with binary data as attachments, which every server speaks.
    #[default]
    Json,
    /// The format of `socket.io-msgpack-parser`, for servers that are configured to use it.
    MessagePack,
}
