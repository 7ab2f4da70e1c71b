//! Signs messages, so that only who has a key can command the servers.
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::format::DecodeError;

/// The keys with which messages are signed (HMAC-SHA256). Without a key, messages are neither signed nor checked.
///
/// The first key signs; all keys are accepted, so that keys can be replaced server by server.
#[derive(Clone, Default)]
pub struct Keys(Vec<(String, Hmac<Sha256>)>);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// It is short enough to be guessed.
    #[error("a key needs at least 16 bytes")]
    TooShort,
    /// Its name is empty, or longer than 255 bytes.
    #[error("the name of a key needs 1 to 255 bytes")]
    Name,
}

/// A signed message: this byte, which begins no message without a signature; the length of the key's name, the name; the
/// time in milliseconds since the Unix epoch (8 bytes, big-endian); the code (32 bytes); the message.
const SIGNED: u8 = 0xc1;

/// How far the clocks of servers may differ, and so how long a message can be played again.
const MAX_SKEW: Duration = Duration::from_secs(30);

impl Keys {
    /// One key.
    ///
    /// # Errors
    /// If the key has fewer than 16 bytes, or the name is empty or longer than 255 bytes.
    pub fn new(name: &str, key: &[u8]) -> Result<Self, KeyError> {
        Self::default().and(name, key)
    }

    /// These keys and one more, which is accepted.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn and(mut self, name: &str, key: &[u8]) -> Result<Self, KeyError> {
        if key.len() < 16 {
            return Err(KeyError::TooShort);
        }
        if name.is_empty() || name.len() > usize::from(u8::MAX) {
            return Err(KeyError::Name);
        }
        let mac = Hmac::new_from_slice(key).map_err(|_| KeyError::TooShort)?;
        self.0.push((name.to_owned(), mac));
        Ok(self)
    }

    /// Signs a message for a channel.
    pub(super) fn signed(&self, channel: &str, message: Vec<u8>) -> Vec<u8> {
        let Some((name, mac)) = self.0.first() else { return message };
        let time = milliseconds(SystemTime::now()).to_be_bytes();
        let code = code(mac, channel, &time, &message).finalize().into_bytes();
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        [&[SIGNED, length], name.as_bytes(), &time, &code, &message].concat()
    }

    /// Checks the signature and returns the message.
    pub(super) fn verified<'a>(&self, channel: &str, payload: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        self.verified_at(channel, payload, SystemTime::now())
    }

    fn verified_at<'a>(&self, channel: &str, payload: &'a [u8], now: SystemTime) -> Result<&'a [u8], DecodeError> {
        let signed = payload.split_first().filter(|(first, _)| **first == SIGNED).map(|(_, rest)| rest);
        match (self.0.is_empty(), signed) {
            (true, None) => Ok(payload),
            (true, Some(_)) | (false, None) => Err(DecodeError::Signature),
            (false, Some(signed)) => self.checked(channel, signed, now).ok_or(DecodeError::Signature),
        }
    }

    fn checked<'a>(&self, channel: &str, signed: &'a [u8], now: SystemTime) -> Option<&'a [u8]> {
        let (length, rest) = signed.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (given, message) = rest.split_at_checked(32)?;
        let (_, mac) = self.0.iter().find(|(known, _)| known.as_bytes() == name)?;
        code(mac, channel, time, message).verify_slice(given).ok()?;
        let skew = milliseconds(now).abs_diff(u64::from_be_bytes(*time));
        (u128::from(skew) <= MAX_SKEW.as_millis()).then_some(message)
    }
}

impl fmt::Debug for Keys {
    /// The names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn code(mac: &Hmac<Sha256>, channel: &str, time: &[u8; 8], message: &[u8]) -> Hmac<Sha256> {
    let length = u64::try_from(channel.len()).unwrap_or(u64::MAX);
    mac.clone().chain_update(length.to_be_bytes()).chain_update(channel).chain_update(time).chain_update(message)
}

fn milliseconds(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str, key: u8) -> Keys {
        Keys::new(name, &[key; 16]).unwrap()
    }

    #[test]
    fn only_who_has_the_key_is_heard_on_the_same_channel_and_for_a_while() {
        let keys = keys("k", 1);
        let payload = keys.signed("c", b"message".to_vec());
        assert_eq!(keys.verified("c", &payload).unwrap(), b"message");
        assert!(keys.verified("other", &payload).is_err(), "another channel");
        assert!(self::keys("k", 2).verified("c", &payload).is_err(), "another key");
        assert!(self::keys("l", 1).verified("c", &payload).is_err(), "another name");
        assert!(Keys::default().verified("c", &payload).is_err(), "no keys");
        assert!(keys.verified("c", b"message").is_err(), "no signature");
        for length in 0..payload.len() {
            assert!(keys.verified("c", &payload[..length]).is_err());
        }
        for (position, byte) in payload.iter().enumerate() {
            let mut changed = payload.clone();
            changed[position] = byte ^ 1;
            assert!(keys.verified("c", &changed).is_err(), "{position}");
        }
        let late = SystemTime::now() + MAX_SKEW + Duration::from_secs(1);
        assert!(keys.verified_at("c", &payload, late).is_err(), "too late");
    }

    #[test]
    fn the_first_key_signs_and_all_are_accepted() {
        let both = keys("new", 1).and("old", &[2; 16]).unwrap();
        assert!(both.verified("c", &keys("old", 2).signed("c", Vec::new())).is_ok());
        assert!(keys("new", 1).verified("c", &both.signed("c", Vec::new())).is_ok());
        assert_eq!(format!("{both:?}"), r#"["new", "old"]"#);
    }

    #[test]
    fn keys_that_can_be_guessed_are_refused() {
        assert_eq!(Keys::new("k", &[0; 15]).unwrap_err(), KeyError::TooShort);
        assert_eq!(Keys::new("", &[0; 16]).unwrap_err(), KeyError::Name);
        assert_eq!(Keys::new(&"k".repeat(256), &[0; 16]).unwrap_err(), KeyError::Name);
    }
}
