use std::borrow::Cow;

/// Appends the answer to a JSONP poll of revision 3: a script that calls the client's callback with `payload`. `index`
/// is the `j` parameter of the request and names the callback.
///
/// The script contains only the digits of `index`, so that a request cannot put code into it. U+2028 and U+2029 are
/// escaped, because old JavaScript engines end a string literal at them.
pub fn encode_jsonp(index: &str, payload: &str, out: &mut Vec<u8>) {
    out.reserve(payload.len() + 16);
    out.extend_from_slice(b"___eio[");
    out.extend(index.bytes().filter(u8::is_ascii_digit));
    out.extend_from_slice(b"](");
    let json = serde_json::Value::from(payload).to_string();
    out.extend_from_slice(json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").as_bytes());
    out.extend_from_slice(b");");
}

/// Reads the body of a JSONP POST of revision 3: a form whose field `d` is the payload. Returns `None` without that
/// field.
///
/// Browsers change line ends in a form to `\r\n`. The client therefore sends a line end as the two characters `\n`, and
/// puts one more backslash before a `\n` that was in the text.
pub fn decode_jsonp_form(body: &[u8]) -> Option<String> {
    let (_, data) = form_urlencoded::parse(body).find(|(name, _)| name == "d")?;
    Some(unescape_newlines(data))
}

fn unescape_newlines(data: Cow<'_, str>) -> String {
    if !data.contains('\\') {
        return data.into_owned();
    }
    let mut out = String::with_capacity(data.len());
    let mut rest = &*data;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix("\\n") {
            out.push_str("\\n");
            after
        } else if let Some(after) = after.strip_prefix('n') {
            out.push('\n');
            after
        } else {
            out.push('\\');
            after
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_becomes_a_script() {
        let rows = [
            ("0", "6:4hello", r#"___eio[0]("6:4hello");"#),
            ("12", "a\"b\\c\n\u{1}", r#"___eio[12]("a\"b\\c\n\u0001");"#),
            ("1](alert(1))", "\u{2028}€\u{2029}", r#"___eio[11]("\u2028€\u2029");"#),
        ];
        for (index, payload, script) in rows {
            let mut out = Vec::new();
            encode_jsonp(index, payload, &mut out);
            assert_eq!(str::from_utf8(&out).unwrap(), script);
        }
    }

    #[test]
    fn a_form_gives_its_payload() {
        let rows = [
            ("d=6%3A4hello", Some("6:4hello")),
            ("x=1&d=a+b", Some("a b")),
            (r"d=a\nb", Some("a\nb")),
            (r"d=a\\nb", Some(r"a\nb")),
            (r"d=a\\\nb", Some(r"a\\nb")),
            (r"d=a\b\", Some(r"a\b\")),
            ("e=1", None),
            ("", None),
        ];
        for (body, payload) in rows {
            assert_eq!(decode_jsonp_form(body.as_bytes()).as_deref(), payload, "{body}");
        }
    }
}
