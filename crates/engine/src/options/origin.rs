use std::{fmt, sync::Arc};

use http::{HeaderMap, header};

use crate::{
    Refusal,
    handshake::header as header_text,
    log_throttle::{LogThrottle, excerpt},
};

/// Which web origins may open sessions. A request without an `Origin` header does not come from a web page and is
/// admitted by every policy.
#[derive(Clone, Default)]
pub enum OriginPolicy {
    /// Only pages served from the host the request itself names (`Host`, or `X-Forwarded-Host` behind a proxy).
    #[default]
    SameOrigin,
    /// Every page of the web.
    Any,
    /// These origins, such as `https://example.com`, and the server's own.
    List(Vec<String>),
    /// Whatever the function admits.
    Check(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl OriginPolicy {
    /// Checks a request, as the engine does itself; for other services of the same server, such as plain WebSockets.
    ///
    /// # Errors
    /// If the page is of an origin that is not admitted, which is also logged with the cure, as a warning once an
    /// hour for each origin.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let Ok(origin) = origin.to_str() else { return Err(Refusal::BadRequest("the Origin header is not text")) };
        self.check_origin(origin, headers)
    }

    fn check_origin(&self, origin: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let admitted = match self {
            Self::Any => true,
            Self::SameOrigin => is_same_origin(origin, headers),
            Self::List(origins) => {
                origins.iter().any(|known| known.trim_end_matches('/').eq_ignore_ascii_case(origin))
                    || is_same_origin(origin, headers)
            }
            Self::Check(admits) => admits(origin),
        };
        if admitted {
            return Ok(());
        }
        let origin = excerpt(origin);
        if THROTTLE.permits(origin) {
            tracing::warn!(origin, "{REFUSED}; to admit it, add it to the allowed origins");
        } else {
            tracing::debug!(origin, "{REFUSED}");
        }
        Err(Refusal::Forbidden(format!("{origin} is not an accepted origin.")))
    }

    /// Checks a request that a page may make by a script element, to which browsers add no `Origin`: the page is known
    /// by its `Referer`, and one that hides it by `Sec-Fetch-Site`.
    pub(crate) fn check_script(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if matches!(self, Self::Any) || headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        match header_text(headers, "referer").and_then(origin_of) {
            Some(origin) => self.check_origin(origin, headers),
            None if header_text(headers, "sec-fetch-site") == Some("cross-site") => self.check_origin("null", headers),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for OriginPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameOrigin => f.write_str("SameOrigin"),
            Self::Any => f.write_str("Any"),
            Self::List(origins) => f.debug_tuple("List").field(origins).finish(),
            Self::Check(_) => f.write_str("Check(..)"),
        }
    }
}

static THROTTLE: LogThrottle = LogThrottle::new();

const REFUSED: &str = "refused a connection from a web page of another origin";

/// The scheme, host and port of an address.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    url.get(..scheme.len() + 3 + authority.len())
}

/// Compares hosts and ports only: behind a proxy that ends TLS the scheme seen here is not the page's.
fn is_same_origin(origin: &str, headers: &HeaderMap) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    ["x-forwarded-host", "host"]
        .iter()
        .filter_map(|name| header_text(headers, name))
        .filter_map(|hosts| hosts.split(',').next())
        .any(|host| host.trim().eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn same_origin_is_the_default_and_needs_the_host_to_match() {
        let policy = OriginPolicy::default();
        assert!(policy.check(&headers(&[("host", "a.example:80")])).is_ok());
        assert!(policy.check(&headers(&[("host", "a.example:80"), ("origin", "http://a.example:80")])).is_ok());
        assert!(policy.check(&headers(&[("host", "a.example"), ("origin", "http://b.example")])).is_err());
        assert!(policy.check(&headers(&[("host", "a.example"), ("origin", "null")])).is_err());
        let proxied =
            headers(&[("host", "inner:8000"), ("x-forwarded-host", "a.example"), ("origin", "https://a.example")]);
        assert!(policy.check(&proxied).is_ok());
    }

    #[test]
    fn a_script_is_judged_by_the_page_it_stands_in() {
        let policy = OriginPolicy::List(vec!["https://b.example".into()]);
        for (name, value, admitted) in [
            ("referer", "https://b.example/page?x", true),
            ("referer", "https://a.example/", true),
            ("referer", "https://c.example/", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "same-origin", true),
        ] {
            let request = headers(&[("host", "a.example"), (name, value)]);
            assert_eq!(policy.check_script(&request).is_ok(), admitted, "{name}: {value}");
            assert!(OriginPolicy::Any.check_script(&request).is_ok());
        }
    }

    #[test]
    fn a_list_admits_its_members_and_the_own_host() {
        let policy = OriginPolicy::List(vec!["https://b.example".into()]);
        assert!(policy.check(&headers(&[("host", "a.example"), ("origin", "https://b.example")])).is_ok());
        assert!(policy.check(&headers(&[("host", "a.example"), ("origin", "https://a.example")])).is_ok());
        assert!(policy.check(&headers(&[("host", "a.example"), ("origin", "https://c.example")])).is_err());
    }
}
