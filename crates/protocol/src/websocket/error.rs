use thiserror::Error;

use super::{CloseCode, Opcode};

/// How the peer broke the protocol or exceeded a limit. Close the connection with [`close_code`](Self::close_code) and
/// drop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A reserved bit is set, but no extension was negotiated.
    #[error("a frame has a reserved bit set, but no extension such as compression was negotiated")]
    ReservedBits,
    /// The frame is of a kind that RFC 6455 doesn't define.
    #[error("opcode {0:#x} is reserved; the peer may use 0x0 to 0x2 and 0x8 to 0xa")]
    ReservedOpcode(u8),
    /// A control frame is fragmented.
    #[error("a {0:?} frame is fragmented; a control frame must be one frame")]
    FragmentedControl(Opcode),
    /// A control frame announces more than 125 bytes.
    #[error("a {0:?} frame is longer than the 125 bytes that a control frame may have")]
    LongControl(Opcode),
    /// A length is encoded in more bytes than it needs.
    #[error("the length {0} is encoded in more bytes than it needs")]
    LengthNotMinimal(u64),
    /// A length has its highest bit set.
    #[error("the length {0} is out of range; its highest bit must be 0")]
    LengthOutOfRange(u64),
    /// A client sent a frame without a mask.
    #[error("a frame from the client isn't masked; clients must mask every frame")]
    Unmasked,
    /// A server sent a masked frame.
    #[error("a frame from the server is masked; servers must not mask")]
    Masked,
    /// A continuation frame arrived outside of a fragmented message.
    #[error("a continuation frame arrived, but no fragmented message has begun")]
    UnexpectedContinuation,
    /// A new message began before the fragmented one had ended.
    #[error("a new message began inside a fragmented one; only control frames may come between its fragments")]
    InterruptedMessage,
    /// The message is longer than [`Limits::max_message`](super::Limits::max_message).
    #[error("a message of at least {size} bytes exceeds the limit of {limit}; send less or raise the limit")]
    MessageTooBig {
        /// The bytes received and announced so far.
        size: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The message has more fragments than [`Limits::max_fragments`](super::Limits::max_fragments).
    #[error("a message has more than {limit} fragments; send larger fragments or raise the limit")]
    TooManyFragments {
        /// The limit in fragments.
        limit: usize,
    },
    /// A text message or the reason of a Close is not UTF-8.
    #[error("a text message or close reason is not valid UTF-8; send other data as binary messages")]
    InvalidUtf8,
    /// The payload of a Close frame has one byte, which can't be a code.
    #[error("a Close frame has a payload of one byte; it must be empty or begin with a code of two")]
    ShortClose,
    /// The code of a Close frame may not be sent.
    #[error("close code {0} may not be sent; use a registered code or one from 3000 to 4999")]
    InvalidCloseCode(u16),
}

impl DecodeError {
    /// The code to close the connection with (RFC 6455 §7.4.1): 1007, 1009 or 1002.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig { .. } | Self::TooManyFragments { .. } => CloseCode::TOO_BIG,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::FragmentedControl(_)
            | Self::LongControl(_)
            | Self::LengthNotMinimal(_)
            | Self::LengthOutOfRange(_)
            | Self::Unmasked
            | Self::Masked
            | Self::UnexpectedContinuation
            | Self::InterruptedMessage
            | Self::ShortClose
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL,
        }
    }
}
