use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// Why a request was refused, with the code and the message the JavaScript reference answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Code 0: `transport` is missing, unknown or not enabled.
    #[error("Transport unknown")]
    UnknownTransport,
    /// Code 1: no session of this id is open here.
    #[error("Session ID unknown")]
    UnknownSession,
    /// Code 1: the session ended because the server shuts down. The client is told the same as by a server that was
    /// restarted, so that it reconnects.
    #[error("Session ID unknown")]
    ShuttingDown,
    /// Code 2: a session is opened by GET only.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// Code 3: the request contradicts itself or its session; the text says how, for the log.
    #[error("Bad request")]
    BadRequest(&'static str),
    /// Code 4: a policy of this server refuses the request; the text is sent to the client.
    #[error("{0}")]
    Forbidden(String),
    /// Code 5: `EIO` names a revision of the protocol that is not served.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
    /// Code 4: `max_sessions` sessions are open.
    #[error("Too many connections")]
    TooManySessions,
    /// Code 4: `max_sessions_per_address` sessions of the client's address are open.
    #[error("Too many connections")]
    TooManySessionsOfAddress,
    /// Code 3: the body is larger than `max_payload`; the session stays open.
    #[error("Payload too large")]
    PayloadTooLarge,
}

impl Refusal {
    /// The number the client sees.
    pub fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession | Self::ShuttingDown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest(_) | Self::PayloadTooLarge => 3,
            Self::Forbidden(_) | Self::TooManySessions | Self::TooManySessionsOfAddress => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// What only the log may tell: the cause, where the client is told less.
    pub fn context(&self) -> &'static str {
        match self {
            Self::BadRequest(context) => context,
            Self::ShuttingDown => "the server is shutting down, so that its clients reconnect elsewhere",
            Self::PayloadTooLarge => "the body is larger than `max_payload` allows",
            Self::TooManySessions => "as many sessions are open as `max_sessions` allows",
            Self::TooManySessionsOfAddress => {
                "as many sessions of this address are open as `max_sessions_per_address` allows; behind a proxy, set \
                 `trust_forwarded`"
            }
            _ => "",
        }
    }

    /// The HTTP status it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManySessions => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManySessionsOfAddress => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut body = format!(r#"{{"code":{},"message":"#, self.code());
        push_json_string(&mut body, &self.to_string());
        body.push('}');
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

fn push_json_string(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // Writing to a String cannot fail.
            character if character < ' ' => drop(write!(out, "\\u{:04x}", u32::from(character))),
            character => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_forbidden_reason_is_escaped() {
        let response = Refusal::Forbidden("no \"x\"\n".into()).into_response();
        assert_eq!(response.status(), 403);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"code":4,"message":"no \"x\"\u000a"}"#);
    }
}
