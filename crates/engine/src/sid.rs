use std::{borrow::Borrow, cell::RefCell, fmt, ops::Deref};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use smol_str::SmolStr;

/// The identifier of a session or a socket: by default 20 characters, which are 15 random bytes in base64url. It is
/// cheap to clone, and up to 23 bytes are stored without an allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid(SmolStr);

impl Sid {
    /// A new identifier from the operating system's random source, which nobody can guess. A thread asks the source for
    /// several identifiers at a time, and uses each of its bytes once.
    ///
    /// # Panics
    /// If the operating system returns no random bytes, because any other identifier could be guessed.
    pub fn random() -> Self {
        let bytes = RANDOM.with_borrow_mut(RandomBytes::take);
        let mut text = [0u8; 20];
        match URL_SAFE_NO_PAD.encode_slice(bytes, &mut text) {
            Ok(length) if let Ok(text) = str::from_utf8(&text[..length]) => Self(text.into()),
            _ => unreachable!("15 bytes are 20 characters of base64"),
        }
    }

    /// The identifier's text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier's beginning, for logs: at most six characters and at most half of them. Whoever knows the whole
    /// identifier can take over a polling session, so logs must not show it.
    ///
    /// The identifier of a Socket.IO 2 socket is `/namespace#` and the session's identifier. The result then includes
    /// the namespace.
    pub fn short(&self) -> &str {
        let start = self.rfind('#').map_or(0, |at| at + 1);
        let end = start + (self.len() - start).div_euclid(2).min(6);
        self.get(..end).unwrap_or_default()
    }
}

/// How many random bytes an identifier has.
const BYTES: usize = 15;

/// Random bytes of the operating system that no identifier has used.
struct RandomBytes {
    bytes: [u8; 8 * BYTES],
    used: usize,
}

thread_local! {
    static RANDOM: RefCell<RandomBytes> = const { RefCell::new(RandomBytes { bytes: [0; 8 * BYTES], used: 8 * BYTES }) };
}

impl RandomBytes {
    fn take(&mut self) -> [u8; BYTES] {
        if self.used == self.bytes.len() {
            if let Err(error) = getrandom::fill(&mut self.bytes) {
                panic!("the operating system gave no random bytes for a session id: {error}");
            }
            self.used = 0;
        }
        let mut taken = [0; BYTES];
        let used = self.used..self.used + BYTES;
        taken.swap_with_slice(&mut self.bytes[used.clone()]);
        self.used = used.end;
        taken
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

/// As text, so that a socket's id can be part of what is emitted.
impl serde::Serialize for Sid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.short())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_ids_have_twenty_url_safe_characters_and_differ() {
        // With this many identifiers, each of the 64 characters occurs.
        let ids: Vec<Sid> = std::iter::repeat_with(Sid::random).take(1_000).collect();
        for id in &ids {
            assert_eq!(id.len(), 20);
            assert!(id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'), "{id}");
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn logs_show_only_the_beginning_of_an_identifier() {
        for (id, shown) in [
            ("AbCdEfGhIjKlMnOpQrSt", "AbCdEf"),
            ("/chat#AbCdEfGhIjKlMnOpQrSt", "/chat#AbCdEf"),
            ("seven77", "sev"),
            ("x", ""),
            ("#", "#"),
            ("", ""),
        ] {
            assert_eq!(Sid::from(id).short(), shown, "{id}");
            assert_eq!(format!("{:?}", Sid::from(id)), format!("{shown}…"));
        }
    }
}
