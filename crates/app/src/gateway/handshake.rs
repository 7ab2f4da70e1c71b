use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use sockeye_protocol::websocket::accept_key;

/// The answer to a handshake's key.
#[derive(Debug)]
pub(super) struct Accept(HeaderValue);

/// What is answered to a request that opens no WebSocket.
pub(super) type Refusal = (StatusCode, [(HeaderName, &'static str); 1], &'static str);

/// Checks the client's side of the handshake (RFC 6455 section 4.2.1).
///
/// # Errors
/// If the request asks for no WebSocket, or for one that cannot be had.
pub(super) fn accept(request: &Request) -> Result<Accept, Refusal> {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let has = |name, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    let upgrade_required = |text| Err((StatusCode::UPGRADE_REQUIRED, [(header::UPGRADE, "websocket")], text));
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return upgrade_required("a WebSocket is opened by an HTTP/1.1 GET");
    }
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return upgrade_required("this address is for WebSocket clients");
    }
    if header(header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        return Err((StatusCode::UPGRADE_REQUIRED, version, "only version 13 of WebSocket is served"));
    }
    let key = header(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    match key.and_then(|key| HeaderValue::try_from(accept_key(key)).ok()) {
        Some(accept) => Ok(Accept(accept)),
        None => Err((
            StatusCode::BAD_REQUEST,
            [(header::UPGRADE, "websocket")],
            "the Sec-WebSocket-Key header is missing or not 16 bytes of base64",
        )),
    }
}

/// The server's side of the handshake.
pub(super) fn response(Accept(accept): Accept) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let builder = http::Request::builder().uri("/ws/");
        headers
            .iter()
            .fold(builder, |builder, (name, value)| builder.header(*name, *value))
            .body(Body::empty())
            .unwrap()
    }

    const GOOD: [(&str, &str); 4] = [
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_answer_is_that_of_rfc_6455_section_1_3() {
        let Accept(accept) = accept(&request(&GOOD)).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_header_is_needed() {
        for (missing, (name, _)) in GOOD.iter().enumerate() {
            let mut headers = GOOD.to_vec();
            headers.remove(missing);
            let (status, ..) = accept(&request(&headers)).unwrap_err();
            assert!(status.is_client_error(), "without {name}");
        }
    }
}
