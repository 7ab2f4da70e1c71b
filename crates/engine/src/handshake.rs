use std::{
    borrow::Cow,
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::request::Parts;

use crate::Config;

/// The client's address. Servers that mount the service themselves insert it as a request extension;
/// [`Engine::serve`](crate::Engine::serve) always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// The target and headers of the request that opened a session. They are copied into one allocation, because a header
/// value of the HTTP library would keep the library's whole read buffer in memory.
pub struct Handshake {
    /// The request target in the first line, then one `name:value` in each line. None of them can contain a line feed.
    text: Box<str>,
    remote: Option<SocketAddr>,
    secure: bool,
    issued: SystemTime,
}

impl Handshake {
    /// Copies the target, and each header that the settings keep and that fits into what is left of `handshake_bytes`.
    /// Also returns how many headers did not fit.
    pub(crate) fn from_parts(parts: &Parts, config: &Config) -> (Self, usize) {
        let target = target(parts);
        let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 2);
        let mut text = String::with_capacity((target.len() + headers.sum::<usize>()).min(config.handshake_bytes));
        text.push_str(target);
        let mut left_out = 0;
        for (name, value) in &parts.headers {
            if is_of_connection(name.as_str()) && !config.keep_all_headers {
                continue;
            }
            if text.len() + name.as_str().len() + value.len() + 2 > config.handshake_bytes {
                left_out += 1;
                continue;
            }
            text.push('\n');
            text.push_str(name.as_str());
            text.push(':');
            match str::from_utf8(value.as_bytes()) {
                Ok(value) => text.push_str(value),
                Err(_) => {
                    for chunk in value.as_bytes().utf8_chunks() {
                        text.push_str(chunk.valid());
                        text.extend(chunk.invalid().iter().map(|_| '?'));
                    }
                }
            }
        }
        let handshake = Self {
            text: text.into_boxed_str(),
            remote: parts.extensions.get::<RemoteAddr>().map(|remote| remote.0),
            secure: parts.extensions.get::<Secure>().is_some() || parts.uri.scheme_str() == Some("https"),
            issued: SystemTime::now(),
        };
        (handshake, left_out)
    }

    /// The request target: path and query.
    pub fn url(&self) -> &str {
        self.text.split('\n').next().unwrap_or_default()
    }

    /// The first header of this name, in upper or lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers that were kept, with names in lower case. Headers that only the HTTP layer uses are kept with
    /// [`keep_all_headers`](crate::Config::keep_all_headers). Question marks replace bytes that are not UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split('\n').skip(1).filter_map(|line| line.split_once(':'))
    }

    /// The query's parameters, percent-decoded.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(query_of(self.url()).as_bytes())
    }

    /// The first query parameter of this name.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value of a cookie, as the client sent it.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.headers()
            .filter(|(key, _)| *key == "cookie")
            .flat_map(|(_, value)| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The client's address, if it is known.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Whether the connection is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the request has an `Origin` header, which the reference reports as a request from another origin.
    pub fn is_cross_domain(&self) -> bool {
        self.header("origin").is_some()
    }

    /// When the session was opened.
    pub fn issued(&self) -> SystemTime {
        self.issued
    }

    /// [`issued`](Self::issued) in milliseconds since the Unix epoch, as in the reference.
    pub fn issued_millis(&self) -> u128 {
        self.issued.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()
    }
}

impl fmt::Debug for Handshake {
    /// Leaves out the query and the headers, in which clients send their tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url().split('?').next();
        f.debug_struct("Handshake").field("path", &path).field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Whether only the HTTP layer uses a header: to manage the connection, for the key and extensions of the WebSocket
/// handshake (RFC 6455 section 4.1), or to encode and cache this one answer.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "accept-encoding"
            | "cache-control"
            | "connection"
            | "content-length"
            | "pragma"
            | "sec-websocket-extensions"
            | "sec-websocket-key"
            | "sec-websocket-version"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Marks requests that arrived over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// The target of a request: its path and query.
pub(crate) fn target(request: &Parts) -> &str {
    request.uri.path_and_query().map_or("/", |target| target.as_str())
}

fn query_of(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_keeps_target_headers_and_cookies() {
        let request = http::Request::builder()
            .uri("/socket.io/?EIO=4&name=a%20b")
            .header("Token", "secret")
            .header("Cookie", "io=1; session=x=y")
            .body(())
            .unwrap();
        let (handshake, left_out) = Handshake::from_parts(&request.into_parts().0, &Config::default());
        assert_eq!(left_out, 0);
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&name=a%20b");
        assert_eq!(handshake.header("TOKEN"), Some("secret"));
        assert_eq!(handshake.query_value("name").as_deref(), Some("a b"));
        assert_eq!(handshake.cookie("session"), Some("x=y"));
        assert_eq!(handshake.cookie("none"), None);
    }

    #[test]
    fn headers_of_the_connection_are_kept_only_on_request() {
        let of_connection = ["Connection", "Upgrade", "Sec-WebSocket-Key", "Accept-Encoding", "Cache-Control"];
        let of_client = ["host", "origin", "user-agent", "cookie", "authorization", "x-forwarded-for", "x-own"];
        let mut request = http::Request::builder().uri("/socket.io/?EIO=4");
        for name in of_connection.iter().chain(&of_client) {
            request = request.header(*name, "x");
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let names = |config: &Config| {
            let (handshake, left_out) = Handshake::from_parts(&parts, config);
            assert_eq!(left_out, 0, "what is not kept is not counted as too much");
            handshake.headers().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&Config::default()), of_client);
        assert_eq!(names(&Config { keep_all_headers: true, ..Config::default() }).len(), parts.headers.len());
    }

    #[test]
    fn headers_beyond_the_limit_are_left_out_and_each_invalid_byte_becomes_one_question_mark() {
        let mut request = http::Request::builder().uri("/socket.io/?EIO=4").header("first", "kept");
        request = request.header("odd", http::HeaderValue::from_bytes(&[0xff; 500]).unwrap());
        request =
            request.header("euro", "\u{20ac}".as_bytes()).header("huge", "x".repeat(1_000)).header("last", "kept");
        let config = Config { handshake_bytes: 600, ..Config::default() };
        let (handshake, left_out) = Handshake::from_parts(&request.body(()).unwrap().into_parts().0, &config);
        assert_eq!((handshake.header("first"), handshake.header("last")), (Some("kept"), Some("kept")));
        assert_eq!(handshake.header("odd"), Some(&*"?".repeat(500)));
        assert_eq!(handshake.header("euro"), Some("\u{20ac}"));
        assert_eq!((handshake.header("huge"), left_out), (None, 1));
        assert!(handshake.text.len() <= 600, "{}", handshake.text.len());
    }
}
