use std::{fmt, str::FromStr, sync::Arc};

use http::{HeaderMap, header::ORIGIN, request::Parts, uri::Authority};

use crate::{
    Refusal,
    headers::{list, text},
    log_throttle::excerpt,
    log_throttled,
    options::host::{is_loopback, split_port},
};

/// Which web origins may open sessions. A request without an `Origin` header does not come from a web page, and every
/// policy admits it.
///
/// ```
/// use sockeye_engine::{Config, OriginPolicy};
///
/// # fn main() -> Result<(), sockeye_engine::OriginError> {
/// let origins = OriginPolicy::list(["https://example.com", "https://*.example.com", "file://"])?;
/// let config = Config { origins, ..Config::default() };
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Only pages from the host and port that the request itself names (`Host`, or `X-Forwarded-Host` behind a proxy).
    /// The schemes are not compared, because a proxy may end TLS. The origin's scheme is used only for its default
    /// port.
    #[default]
    SameOrigin,
    /// Every page.
    Any,
    /// Pages of these origins and of the server's own origin. [`OriginPolicy::list`] parses them from text.
    List(Vec<OriginPattern>),
    /// Pages from the client's own machine: from `localhost`, names below it, and loopback addresses, on every port. It
    /// refuses the page of a foreign host name that resolves to a loopback address (DNS rebinding), which
    /// [`SameOrigin`](Self::SameOrigin) admits.
    Loopback,
    /// Pages for which the function returns true. Its argument is the value of the `Origin` header.
    Check(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

/// An origin, or the origins of all subdomains of a host, as settings list them.
///
/// | pattern | admits |
/// |---|---|
/// | `https://example.com`, `http://localhost:5173` | this origin; a default port may be written or left out |
/// | `https://*.example.com` | every subdomain, at any depth, but not `example.com` itself |
/// | `*.example.com` | the same, over `http` and `https` |
/// | `capacitor://localhost`, `file://`, `null` | what apps and pages without a host send as their origin |
///
/// `ws` counts as `http` and `wss` as `https`, because some clients send the WebSocket's address as their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    /// `None` stands for both `http` and `https`.
    scheme: Option<String>,
    /// For a wildcard, the part after the `*`, which begins with a dot.
    host: String,
    is_wildcard: bool,
    port: Option<u16>,
}

/// Why a text is not an [`OriginPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` matches no origin: {fault}; write {right}")]
pub struct OriginError {
    text: String,
    fault: &'static str,
    right: String,
}

impl OriginPolicy {
    /// The policy that admits these origins, written as [`OriginPattern`] describes, and the server's own origin.
    ///
    /// # Errors
    /// If one of them cannot match any origin. The error says how to write it.
    pub fn list<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, OriginError> {
        Ok(Self::List(origins.into_iter().map(|origin| origin.as_ref().parse()).collect::<Result<_, _>>()?))
    }

    /// Checks the origin of a request as the engine does. Use it for other services of the same server, such as plain
    /// WebSockets.
    ///
    /// # Errors
    /// If the origin is not admitted. The log names the remedy, as a warning once an hour for each origin.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.check_headers(headers, None)
    }

    /// Checks the origin of a request. A request of HTTP/2 names its host in its target.
    pub(crate) fn check_request(&self, request: &Parts) -> Result<(), Refusal> {
        self.check_headers(&request.headers, request.uri.authority().map(Authority::as_str))
    }

    fn check_headers(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Refusal> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let Ok(origin) = origin.to_str() else { return Err(Refusal::BadRequest("the Origin header is not text")) };
        self.check_origin(origin, headers, authority)
    }

    fn check_origin(&self, origin: &str, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Refusal> {
        let admitted = match self {
            Self::Any => true,
            Self::SameOrigin => is_same_origin(origin, headers, authority),
            Self::List(patterns) => {
                let parsed = Origin::parse(origin);
                patterns.iter().any(|pattern| pattern.matches(&parsed)) || is_same_origin(origin, headers, authority)
            }
            Self::Loopback => is_loopback(Origin::parse(origin).host),
            Self::Check(admits) => admits(origin),
        };
        if admitted {
            return Ok(());
        }
        let origin = excerpt(origin);
        let host = ["x-forwarded-host", "host"].iter().find_map(|name| text(headers, name)).map_or("", excerpt);
        log_throttled!(
            warn,
            origin,
            origin,
            host,
            "refused a connection from a web page of another origin; to admit it, add it to the allowed origins"
        );
        Err(Refusal::Forbidden(format!("{origin} is not an accepted origin.")))
    }

    /// Checks the origin of a request that a page can send with a script element. Browsers send no `Origin` with it, so
    /// the page's origin is taken from `Referer`. If a page suppresses that, `Sec-Fetch-Site` tells whether it is
    /// foreign.
    pub(crate) fn check_script(&self, request: &Parts) -> Result<(), Refusal> {
        let headers = &request.headers;
        if matches!(self, Self::Any) || headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let authority = request.uri.authority().map(Authority::as_str);
        match text(headers, "referer").and_then(origin_of) {
            Some(origin) => self.check_origin(origin, headers, authority),
            None if text(headers, "sec-fetch-site") == Some("cross-site") => {
                self.check_origin("null", headers, authority)
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for OriginPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameOrigin => f.write_str("SameOrigin"),
            Self::Any => f.write_str("Any"),
            Self::List(patterns) => f.debug_tuple("List").field(patterns).finish(),
            Self::Loopback => f.write_str("Loopback"),
            Self::Check(_) => f.write_str("Check(..)"),
        }
    }
}

impl OriginPattern {
    fn matches(&self, origin: &Origin<'_>) -> bool {
        let scheme = match &self.scheme {
            Some(scheme) => scheme == &origin.scheme,
            None => matches!(origin.scheme.as_str(), "http" | "https"),
        };
        let port = self.port.or_else(|| default_port(&origin.scheme)) == origin.port;
        let host = if self.is_wildcard {
            origin.host.len().checked_sub(self.host.len()).is_some_and(|at| {
                at > 0 && origin.host.get(at..).is_some_and(|suffix| suffix.eq_ignore_ascii_case(&self.host))
            })
        } else {
            origin.host.eq_ignore_ascii_case(&self.host)
        };
        scheme && port && host
    }
}

impl fmt::Display for OriginPattern {
    /// Writes the pattern as [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme.as_deref() {
            Some("null") => return f.write_str("null"),
            Some(scheme) => write!(f, "{scheme}://")?,
            None => {}
        }
        let wildcard = if self.is_wildcard { "*" } else { "" };
        write!(f, "{wildcard}{}", self.host)?;
        match self.port {
            Some(port) if self.scheme.as_deref().and_then(default_port) != Some(port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(given: &str) -> Result<Self, OriginError> {
        let error = |fault, right: String| OriginError { text: given.to_owned(), fault, right };
        let trimmed = given.trim();
        if trimmed == "null" {
            return Ok(Self { scheme: Some("null".into()), host: String::new(), is_wildcard: false, port: None });
        }
        if trimmed == "*" {
            return Err(error("it stands for every origin", "`OriginPolicy::Any` instead of a list".into()));
        }
        let (scheme, rest) = match trimmed.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, trimmed),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let prefix = scheme.map_or("https://".to_owned(), |scheme| format!("{scheme}://"));
        if !matches!(path, "" | "/") {
            return Err(error("an origin has no path", format!("`{prefix}{authority}`")));
        }
        if authority.contains('@') {
            let host = authority.rsplit('@').next().unwrap_or_default();
            return Err(error("an origin has no user", format!("`{prefix}{host}`")));
        }
        if scheme.is_none() && !authority.starts_with("*.") {
            let right = format!("`https://{authority}`, `http://{authority}`, or both");
            return Err(error("it names no scheme", right));
        }
        if !trimmed.is_ascii() {
            return Err(error(
                "browsers write names in ASCII",
                "the name in Punycode, such as `https://xn--bcher-kva.example`".into(),
            ));
        }
        let Some((host, port)) = split_port(authority) else {
            return Err(error("its port is not a number", format!("a port such as in `{prefix}example.com:8443`")));
        };
        let (is_wildcard, host) = match host.strip_prefix('*') {
            Some(suffix) => (true, suffix),
            None => (false, host),
        };
        if host.contains('*') || (is_wildcard && (!host.starts_with('.') || host.len() < 2)) {
            return Err(error(
                "a `*` only stands for the names before a dot, at the beginning of the host",
                format!("for example `{prefix}*.example.com`"),
            ));
        }
        let scheme = scheme.map(web_scheme);
        if host.is_empty() && scheme.as_deref().is_some_and(|scheme| default_port(scheme).is_some()) {
            return Err(error("it names no host", format!("for example `{prefix}example.com`")));
        }
        let port = port.or_else(|| default_port(scheme.as_deref()?));
        Ok(Self { scheme, host: host.to_owned(), is_wildcard, port })
    }
}

/// The parts of an `Origin` header's value (RFC 6454 section 6.2).
#[derive(Debug)]
struct Origin<'a> {
    /// In lower case. `null` if the browser hides the origin.
    scheme: String,
    host: &'a str,
    /// The default port of the scheme if the origin names none.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// A value without scheme and host, such as `null`, becomes an origin that only the same text matches.
    fn parse(origin: &'a str) -> Self {
        let Some((scheme, authority)) = origin.split_once("://") else {
            return Self { scheme: origin.to_owned(), host: "", port: None };
        };
        let scheme = web_scheme(scheme);
        // Browsers send no path, but some clients end the origin with a slash.
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split_port(authority).unwrap_or((authority, None));
        Self { port: port.or_else(|| default_port(&scheme)), scheme, host }
    }
}

/// The scheme in lower case, with `http` for `ws` and `https` for `wss`.
fn web_scheme(scheme: &str) -> String {
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => "http".to_owned(),
        "wss" => "https".to_owned(),
        scheme => scheme.to_owned(),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// The origin of a URL: its scheme, host and port.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    url.get(..scheme.len() + 3 + authority.len())
}

/// Whether a page's origin has the host and port that the request names. A request that names no port means the default
/// port of the page's scheme. The schemes are not compared, because a proxy may end TLS.
fn is_same_origin(origin: &str, headers: &HeaderMap, authority: Option<&str>) -> bool {
    let origin = Origin::parse(origin);
    let Some(default) = default_port(&origin.scheme) else { return false };
    // The first entry is the host that the browser requested from the first proxy.
    let forwarded = list(headers, "x-forwarded-host").next();
    [forwarded, text(headers, "host").map(str::trim), authority].into_iter().flatten().any(|authority| {
        split_port(authority).is_some_and(|(host, port)| {
            !host.is_empty() && host.eq_ignore_ascii_case(origin.host) && Some(port.unwrap_or(default)) == origin.port
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(pairs: &[(&'static str, &'static str)]) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers = headers(pairs);
        parts
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_servers_own_origin_has_its_host_and_port() {
        let policy = OriginPolicy::default();
        assert!(policy.check(&headers(&[("host", "a.example:80")])).is_ok());
        for (host, origin, admitted) in [
            ("a.example:80", "http://a.example:80", true),
            ("a.example", "http://b.example", false),
            ("a.example", "null", false),
            // Default ports, written or left out.
            ("h:443", "https://h", true),
            ("h:443", "wss://h", true),
            ("h:443", "HTTPS://H", true),
            ("h", "https://h:443", true),
            ("h", "https://h", true),
            ("h", "http://h:80", true),
            ("h", "ws://h", true),
            ("h:80", "http://h", true),
            ("[::1]:443", "https://[::1]", true),
            ("[::1]", "https://[::1]:443", true),
            ("h:443", "http://h", false),
            ("h:80", "https://h", false),
            ("h", "https://h:8443", false),
            ("h:8443", "https://h", false),
            ("h:8443", "https://h:8443", true),
            ("h", "app://h", false),
            ("h:x", "https://h", false),
            ("", "https://", false),
        ] {
            let request = headers(&[("host", host), ("origin", origin)]);
            assert_eq!(policy.check(&request).is_ok(), admitted, "Host {host}, Origin {origin}");
        }
        let proxied =
            [("host", "inner:8000"), ("x-forwarded-host", "a.example, inner"), ("origin", "https://a.example")];
        assert!(policy.check(&headers(&proxied)).is_ok());
    }

    #[test]
    fn a_request_of_http_2_names_its_host_in_its_target() {
        let mut request = request(&[("origin", "https://a.example")]);
        assert!(OriginPolicy::SameOrigin.check_request(&request).is_err());
        request.uri = "https://a.example/socket.io/".parse().unwrap();
        assert!(OriginPolicy::SameOrigin.check_request(&request).is_ok());
    }

    #[test]
    fn a_script_request_is_checked_by_the_origin_of_its_page() {
        let policy = OriginPolicy::list(["https://b.example"]).unwrap();
        for (name, value, admitted) in [
            ("referer", "https://b.example/page?x", true),
            ("referer", "https://a.example/", true),
            ("referer", "https://c.example/", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "same-origin", true),
        ] {
            let request = request(&[("host", "a.example"), (name, value)]);
            assert_eq!(policy.check_script(&request).is_ok(), admitted, "{name}: {value}");
            assert!(OriginPolicy::Any.check_script(&request).is_ok());
        }
    }

    #[test]
    fn a_list_admits_its_origins_and_the_servers_own() {
        for (listed, origin, admitted) in [
            ("https://b.example", "https://b.example", true),
            ("https://b.example/", "https://b.example", true),
            ("https://B.example", "https://b.EXAMPLE", true),
            ("https://b.example", "wss://b.example", true),
            ("https://b.example", "https://a.example", true),
            ("https://b.example", "https://c.example", false),
            ("https://b.example", "http://b.example", false),
            ("https://b.example", "https://b.example:8443", false),
            ("http://b.example:80", "http://b.example", true),
            ("http://b.example", "http://b.example:80", true),
            ("https://b.example:443", "https://b.example", true),
            ("https://b.example:80", "https://b.example", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("file://", "file://", true),
            ("file://", "null", false),
            ("null", "null", true),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("capacitor://localhost", "http://localhost", false),
            ("*.b.example", "https://x.b.example", true),
            ("*.b.example", "http://y.x.b.example:80", true),
            ("*.b.example", "https://b.example", false),
            ("*.b.example", "https://.b.example", false),
            ("*.b.example", "https://evilb.example", false),
            ("*.b.example", "https://x.b.example.evil", false),
            ("*.b.example", "https://x.b.example:8443", false),
            ("*.b.example", "app://x.b.example", false),
            ("*.b.example:8443", "https://x.b.example:8443", true),
            ("https://*.b.example", "https://x.B.example", true),
            ("https://*.b.example", "http://x.b.example", false),
        ] {
            let pattern: OriginPattern = listed.parse().unwrap();
            assert_eq!(pattern.to_string().parse(), Ok(pattern), "{listed}");
            let policy = OriginPolicy::list([listed]).unwrap();
            let request = headers(&[("host", "a.example"), ("origin", origin)]);
            assert_eq!(policy.check(&request).is_ok(), admitted, "listed {listed}, Origin {origin}");
        }
    }

    #[test]
    fn an_origin_that_cannot_match_is_refused_with_its_correct_form() {
        for (listed, right) in [
            ("example.com", "`https://example.com`, `http://example.com`, or both"),
            ("localhost:3000", "`https://localhost:3000`, `http://localhost:3000`, or both"),
            ("https://x/app", "`https://x`"),
            ("https://x?y", "`https://x`"),
            ("https://user:pass@x", "`https://x`"),
            ("https://x:port", "`https://example.com:8443`"),
            ("https://*example.com", "`https://*.example.com`"),
            ("https://a.*.example.com", "`https://*.example.com`"),
            ("https://*", "`https://*.example.com`"),
            ("*.", "`https://*.example.com`"),
            ("https://", "`https://example.com`"),
            ("https://b\u{fc}cher.example", "Punycode"),
            ("*", "`OriginPolicy::Any`"),
            ("", "`https://`"),
        ] {
            let error = OriginPolicy::list([listed]).unwrap_err().to_string();
            assert!(error.contains(right) && error.contains(listed), "{error}");
        }
    }

    #[test]
    fn the_loopback_policy_checks_only_the_host_of_the_page() {
        let admits =
            |origin| OriginPolicy::Loopback.check(&headers(&[("host", "evil.example"), ("origin", origin)])).is_ok();
        for page in ["http://localhost:8080", "https://127.0.0.1", "http://[::1]:8000", "http://app.localhost:3000"] {
            assert!(admits(page), "{page}");
        }
        for page in [
            "http://example.com",
            "http://evil.example",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://evil.example?http://localhost",
            "null",
            "",
        ] {
            assert!(!admits(page), "{page}");
        }
    }
}
