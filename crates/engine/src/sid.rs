use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The public identifier of a session or a socket: 20 characters of base64url over 15 random bytes, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid(Arc<str>);

impl Sid {
    /// A new identifier from the operating system's random source, so that nobody can guess another's.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, which leaves no safe way on.
    pub fn random() -> Self {
        let mut bytes = [0u8; 15];
        if let Err(error) = getrandom::fill(&mut bytes) {
            panic!("the operating system gave no random bytes for a session id: {error}");
        }
        let mut text = [0u8; 20];
        match URL_SAFE_NO_PAD.encode_slice(bytes, &mut text) {
            Ok(length) => Self(String::from_utf8_lossy(&text[..length]).into()),
            Err(_) => unreachable!("15 bytes are 20 characters of base64"),
        }
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Sid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Sid {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Deref for Sid {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Sid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_have_twenty_url_safe_characters_and_differ() {
        let (a, b) = (Sid::random(), Sid::random());
        assert_eq!(a.len(), 20);
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'), "{a}");
        assert_ne!(a, b);
    }
}
