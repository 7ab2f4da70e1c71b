use std::{fmt::Write as _, time::Duration};

use http::HeaderValue;

use crate::log_throttled;

/// A cookie with the session's identifier. The answer that opens the session sets it, so that a load balancer can send
/// all requests of a client to the same server. The defaults are those of the JavaScript reference:
/// `io=<id>; Path=/; HttpOnly; SameSite=Lax`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// The cookie's name. Default `io`.
    pub name: String,
    /// The path of the requests that carry the cookie. If it is empty, the attribute is left out. Default `/`.
    pub path: String,
    /// The domain whose hosts receive the cookie. Default: only the server's own host.
    pub domain: Option<String>,
    /// How long a browser keeps the cookie, in whole seconds. Default: until the browser closes.
    pub max_age: Option<Duration>,
    /// Whether the cookie is hidden from a page's scripts. Default true.
    pub http_only: bool,
    /// Whether browsers send the cookie only over TLS. Default false.
    pub secure: bool,
    /// Which requests from other sites carry the cookie; `None` leaves the attribute out. Default [`SameSite::Lax`].
    pub same_site: Option<SameSite>,
}

/// Which requests from other sites carry a cookie (RFC 6265bis section 5.5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// No request from another site.
    Strict,
    /// Requests that follow a link to this site.
    Lax,
    /// All requests. Browsers then require `secure`.
    None,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".into(),
            path: "/".into(),
            domain: None,
            max_age: None,
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
        }
    }
}

impl Cookie {
    /// The value of `Set-Cookie`. Logs an error and returns `None` if a setting contains a character that no header may
    /// contain.
    pub(crate) fn header(&self, id: &str) -> Option<HeaderValue> {
        let mut text = format!("{}={id}", self.name);
        if let Some(age) = self.max_age {
            // Writing to a String cannot fail.
            let _ok = write!(text, "; Max-Age={}", age.as_secs());
        }
        if let Some(domain) = &self.domain {
            let _ok = write!(text, "; Domain={domain}");
        }
        if !self.path.is_empty() {
            let _ok = write!(text, "; Path={}", self.path);
        }
        for (set, attribute) in [(self.http_only, "; HttpOnly"), (self.secure, "; Secure")] {
            if set {
                text.push_str(attribute);
            }
        }
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        match HeaderValue::try_from(text) {
            Ok(value) => Some(value),
            Err(_) => {
                log_throttled!(
                    error,
                    &self.name,
                    cookie = ?self,
                    "cannot set the cookie: a setting has a character that no header may have"
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_equals_the_reference_and_every_attribute_is_written() {
        assert_eq!(Cookie::default().header("abc").unwrap(), "io=abc; Path=/; HttpOnly; SameSite=Lax");
        let cookie = Cookie {
            name: "route".into(),
            path: "/chat".into(),
            domain: Some("a.example".into()),
            max_age: Some(Duration::from_secs(60)),
            http_only: false,
            secure: true,
            same_site: Some(SameSite::None),
        };
        assert_eq!(
            cookie.header("abc").unwrap(),
            "route=abc; Max-Age=60; Domain=a.example; Path=/chat; Secure; SameSite=None"
        );
        assert_eq!(Cookie { name: "a\nb".into(), ..Cookie::default() }.header("abc"), None);
    }
}
