use parking_lot::Mutex;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// The cookies of one manager, which load balancers use to find the server of a session again.
///
/// All requests of a manager go to the same host and path, so a cookie's domain and path do not matter. Cookies end with
/// the manager.
#[derive(Default)]
pub(crate) struct Cookies(Mutex<Vec<(String, String)>>);

/// The most cookies, and the most bytes of one, that a server can set.
const MAX_COOKIES: usize = 50;
const MAX_COOKIE: usize = 4096;

impl Cookies {
    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut cookies = self.0.lock();
        if let Some(cookie) = cookies.iter_mut().find(|cookie| cookie.0 == name) {
            value.clone_into(&mut cookie.1);
        } else if cookies.len() < MAX_COOKIES {
            cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Sets and removes cookies as the server's answer says (RFC 6265 §5.2).
    pub(crate) fn receive(&self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|header| header.to_str().ok()) {
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || cookie.len() > MAX_COOKIE {
                continue;
            }
            let expired = parts.filter_map(|part| part.split_once('=')).any(|(key, value)| {
                key.eq_ignore_ascii_case("max-age") && value.parse::<i64>().is_ok_and(|seconds| seconds <= 0)
                    || key.eq_ignore_ascii_case("expires") && value.contains(" 1970 ")
            });
            if expired {
                self.0.lock().retain(|cookie| cookie.0 != name);
            } else {
                self.set(name, value);
            }
        }
    }

    /// Returns the `Cookie` header, or `None` without cookies.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let cookies = self.0.lock();
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(cookies: &Cookies, line: &'static str) {
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, HeaderValue::from_static(line));
        cookies.receive(&headers);
    }

    #[test]
    fn cookies_are_kept_replaced_and_taken_back() {
        let cookies = Cookies::default();
        assert_eq!(cookies.header(), None);
        cookies.set("a", "1");
        receive(&cookies, "io=x=y; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(cookies.header().unwrap(), "a=1; io=x=y");
        receive(&cookies, "a=2");
        assert_eq!(cookies.header().unwrap(), "a=2; io=x=y");
        receive(&cookies, "io=; Max-Age=0");
        receive(&cookies, "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(cookies.header(), None);
        receive(&cookies, "nonsense");
        receive(&cookies, "=nameless");
        assert_eq!(cookies.header(), None);
    }

    #[test]
    fn a_server_cannot_make_us_keep_any_number() {
        let cookies = Cookies::default();
        for index in 0..1000 {
            cookies.set(&index.to_string(), "x");
        }
        assert_eq!(cookies.0.lock().len(), MAX_COOKIES);
    }
}
