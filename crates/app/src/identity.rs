//! Identity: turns a client's token into a [`User`], or refuses the client.
use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Serialize, Serializer};
use sockeye::log_throttled;

use crate::names::{fold, is_printable};

/// The ways to turn a token into a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityKind {
    /// Takes the token as the user's name, without proof; a client without a token is a guest. For loopback addresses.
    Development,
}

impl IdentityKind {
    /// All kinds.
    pub(crate) const ALL: &[Self] = &[Self::Development];

    /// The name in the settings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
        }
    }

    /// Whether the token proves who the client is, so that clients of other machines may connect.
    pub(crate) const fn has_proof(self) -> bool {
        match self {
            Self::Development => false,
        }
    }

    /// Finds the user of a token.
    ///
    /// # Errors
    /// If there is no such user, or the user cannot be found out. The text is sent to the client and never contains the
    /// token.
    pub(crate) async fn authenticate(self, token: Option<Token>) -> Result<User, IdentityError> {
        match (self, token) {
            (Self::Development, Some(Token(name))) => Ok(User::parse(&name)?),
            (Self::Development, None) => User::guest(),
        }
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A client's secret that says who it is. Its `Debug` output hides it, so that it never reaches a log.
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token in `auth.token` of the CONNECT packet, or else in the HTTP header `token`.
    ///
    /// # Errors
    /// If `auth` or its `token` has the wrong type.
    pub(crate) fn find(auth: Option<&str>, header: Option<&str>) -> Result<Option<Self>, IdentityError> {
        let auth: serde_json::Value = match auth {
            // The JSON error would quote the token.
            Some(json) => serde_json::from_str(json).map_err(|_| IdentityError::Auth)?,
            None => serde_json::Value::Null,
        };
        let token = match &auth {
            serde_json::Value::Object(auth) => auth.get("token"),
            serde_json::Value::Null => None,
            _ => return Err(IdentityError::Auth),
        };
        match token {
            Some(serde_json::Value::String(token)) => Ok(Some(Self::new(token))),
            Some(serde_json::Value::Null) | None => Ok(header.map(Self::new)),
            Some(_) => Err(IdentityError::Auth),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why a client was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the auth payload must be an object whose `token` is text, such as {{\"token\": \"alice\"}}")]
    Auth,
    #[error("this is not a user name: {0}")]
    Name(#[from] NameError),
    #[error("the server cannot choose a guest name at the moment; try again")]
    Random,
}

/// A user, by a valid name: 1 to 64 printable characters without spaces around. Names that differ only in case, or in the
/// form of their characters, are of the same user. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct User {
    name: Arc<str>,
    /// The name as it is compared.
    key: Arc<str>,
}

/// Why a name is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("it is empty; a name has 1 to 64 printable characters")]
    Empty,
    #[error("it is longer than 64 characters; choose a shorter one")]
    Long,
    #[error("it has invisible characters, such as control characters; a name has 1 to 64 printable characters")]
    Unprintable,
}

impl User {
    /// The longest name, in characters.
    pub(crate) const MAX_CHARACTERS: usize = 64;

    /// Checks a name, without the spaces around it.
    ///
    /// # Errors
    /// If it is empty, longer than 64 characters, or not printable.
    pub(crate) fn parse(name: &str) -> Result<Self, NameError> {
        let name = name.trim_matches(' ');
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        // Unprintable characters come first: shortening a name would not help if it has some.
        for (index, character) in name.chars().enumerate() {
            if !is_printable(character) {
                return Err(NameError::Unprintable);
            }
            if index >= Self::MAX_CHARACTERS {
                return Err(NameError::Long);
            }
        }
        Ok(Self::new(name))
    }

    fn new(name: &str) -> Self {
        let name: Arc<str> = name.into();
        let key = fold(&name);
        let key = if key == *name { name.clone() } else { key.into() };
        Self { name, key }
    }

    /// The name as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// The name as it is compared.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A random name for a client that gives none.
    fn guest() -> Result<Self, IdentityError> {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let random = getrandom::u32().map_err(|error| {
            log_throttled!(error, "", %error, "the system gives no random numbers; refusing a guest");
            IdentityError::Random
        })?;
        let letters = (0..6).filter_map(|place| LETTERS.get(usize::try_from(random >> (5 * place) & 31).ok()?));
        Ok(Self::new(&format!("guest-{}", letters.map(|letter| char::from(*letter)).collect::<String>())))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for User {}

impl Hash for User {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialOrd for User {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for User {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_of_bounded_length() {
        assert_eq!(User::parse("alice").unwrap().as_str(), "alice");
        assert_eq!(User::parse("  小明 Xiǎo Míng 🐟 ").unwrap().as_str(), "小明 Xiǎo Míng 🐟");
        assert_eq!(User::parse(&"é".repeat(64)).unwrap().as_str().chars().count(), 64);
        assert_eq!(User::parse(&"é".repeat(65)), Err(NameError::Long));
        for empty in ["", " ", "     "] {
            assert_eq!(User::parse(empty), Err(NameError::Empty));
        }
        for unprintable in [
            "a\nb",
            "\0",
            "\u{7f}",
            "a\u{200b}b",
            "\u{202e}bob",
            "a\u{a0}b",
            "\t",
            "\u{fffd}",
            "\u{3000}",
            "al\u{fe0f}ice",
        ] {
            assert_eq!(User::parse(unprintable), Err(NameError::Unprintable), "{unprintable:?}");
        }
    }

    #[tokio::test]
    async fn the_development_kind_believes_the_token_and_invents_guests() {
        let kind = IdentityKind::Development;
        assert_eq!(kind.authenticate(Some(Token::new("bob"))).await.unwrap().as_str(), "bob");
        let refused = kind.authenticate(Some(Token::new("secret\u{7}"))).await.unwrap_err().to_string();
        assert!(refused.contains("printable") && !refused.contains("secret"), "{refused}");
        assert!(kind.authenticate(Some(Token::new(""))).await.is_err());
        let (one, other) = (kind.authenticate(None).await.unwrap(), kind.authenticate(None).await.unwrap());
        assert!(one.as_str().starts_with("guest-") && one.as_str().len() == 12, "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn the_token_of_auth_comes_before_the_one_of_the_header() {
        let find = |auth, header| Token::find(auth, header).map(|token| token.map(|Token(text)| text));
        assert_eq!(find(Some(r#"{"token":"a"}"#), Some("b")).unwrap().as_deref(), Some("a"));
        assert_eq!(find(Some(r#"{"token":null}"#), Some("b")).unwrap().as_deref(), Some("b"));
        assert_eq!(find(Some("{}"), Some("b")).unwrap().as_deref(), Some("b"));
        assert_eq!(find(None, Some("b")).unwrap().as_deref(), Some("b"));
        assert_eq!(find(Some("null"), None).unwrap(), None);
        for wrong in [r#""a""#, "[]", r#"{"token":7}"#, r#"{"token":{}}"#, "{"] {
            assert!(find(Some(wrong), Some("b")).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(..)");
    }
}
