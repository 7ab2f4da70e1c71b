use super::CloseCode;

/// A complete message or control frame from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping. Answer with a pong of the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's last frame, with its code and reason if it gave any. Answer with a Close unless one was sent already.
    Close(Option<(CloseCode, &'a str)>),
}
