use std::fmt;

/// Why a connection is closed: a code that may stand in a Close frame (RFC 6455 §7.4).
///
/// The codes that only an API reports, such as 1005 (the frame had no code) and 1006 (there was no frame), are not
/// among its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Normal closure: the connection has done its work.
    pub const NORMAL: Self = Self(1000);
    /// The server stops or the browser leaves the page.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// The message is of a kind that this endpoint doesn't take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The message's data do not match its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The message breaks a rule of this endpoint.
    pub const POLICY: Self = Self(1008);
    /// The message is longer than this endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// The client needs an extension that the server didn't grant.
    pub const EXTENSION_REQUIRED: Self = Self(1010);
    /// The server has an internal error.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts.
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway had no valid answer from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Returns the code with this number, or `None` if a Close frame must not carry it.
    pub const fn new(code: u16) -> Option<Self> {
        if Self::is_valid_on_wire(code) { Some(Self(code)) } else { None }
    }

    /// Returns the number.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether a Close frame may carry this number: one that the protocol or its IANA registry defines for it, or one
    /// from 3000 to 4999, which belong to libraries and applications.
    pub const fn is_valid_on_wire(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_codes_that_may_be_sent() {
        let valid = |code: &u16| CloseCode::is_valid_on_wire(*code);
        let below_3000: Vec<u16> = (0..3000).filter(valid).collect();
        assert_eq!(below_3000, [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]);
        assert!((3000..5000).all(|code| valid(&code)));
        assert!(!(5000..=u16::MAX).any(|code| valid(&code)));
    }
}
