//! Reads the values of HTTP headers.
use http::HeaderMap;

/// The first value of a header, if it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The members of a header whose value is a list. They are separated by commas and may stand in several lines (RFC 9110
/// section 5.3). Empty members (section 5.6.1.2) and lines that are not text are ignored.
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

/// Whether a header whose value is a list of tokens contains this token, in upper or lower case.
pub(crate) fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    list(headers, name).any(|member| member.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_lines_of_a_header_form_one_list() {
        let mut headers = HeaderMap::new();
        for line in ["keep-alive", ", Upgrade ,", "", "\u{e4}", "close"] {
            headers.append("connection", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        assert_eq!(list(&headers, "connection").collect::<Vec<_>>(), ["keep-alive", "Upgrade", "close"]);
        assert_eq!(list(&headers, "connection").next_back(), Some("close"));
        assert!(has_token(&headers, "Connection", "upgrade"));
        assert!(!has_token(&headers, "connection", "up") && !has_token(&headers, "upgrade", "websocket"));
    }
}
