use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// Why a request was refused. Codes and messages are those of the JavaScript reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Code 0: `transport` is missing, unknown or not enabled.
    #[error("Transport unknown")]
    UnknownTransport,
    /// Code 1: no session with this identifier is open.
    #[error("Session ID unknown")]
    UnknownSession,
    /// Code 1: the session ended because the server is shutting down. The message is that of a server which has
    /// restarted, so that the client reconnects.
    #[error("Session ID unknown")]
    ShuttingDown,
    /// Code 2: a request other than GET asks for a session.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// Code 3: the request is invalid or contradicts its session. The text names the fault. The log and the answer to a
    /// WebSocket handshake contain it.
    #[error("Bad request")]
    BadRequest(&'static str),
    /// Code 4: a policy of this server refuses the request; the text is sent to the client.
    #[error("{0}")]
    Forbidden(String),
    /// Code 5: `EIO` names a protocol revision that the server does not allow.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
    /// Code 4: `max_sessions` sessions are open.
    #[error("Too many connections")]
    TooManySessions,
    /// Code 4: `max_sessions_per_address` sessions of the client's address are open.
    #[error("Too many connections")]
    TooManySessionsOfAddress,
    /// Code 4: more sessions open per second than `max_session_rate` allows.
    #[error("Too many connections")]
    TooManySessionsPerSecond,
    /// Code 4: more sessions of the client's address open per second than `max_session_rate_per_address` allows.
    #[error("Too many connections")]
    TooManySessionsOfAddressPerSecond,
    /// Code 4: nine tenths of `max_memory` are in use.
    #[error("Too many connections")]
    OutOfMemory,
    /// Code 3: the body is larger than `max_payload`; the session stays open. The answer has no body, as in the reference.
    #[error("Payload too large")]
    PayloadTooLarge,
}

/// The value of `Retry-After`, in seconds, in the answer to a client that was refused because of a limit.
pub(crate) const RETRY_AFTER: &str = "10";

impl Refusal {
    /// The code in the answer to a polling request.
    pub fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession | Self::ShuttingDown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest(_) | Self::PayloadTooLarge => 3,
            Self::Forbidden(_)
            | Self::TooManySessions
            | Self::TooManySessionsOfAddress
            | Self::OutOfMemory
            | Self::TooManySessionsPerSecond
            | Self::TooManySessionsOfAddressPerSecond => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The cause and its remedy, for the log. Empty if the message says everything.
    pub fn context(&self) -> &'static str {
        match self {
            Self::UnknownTransport => "the parameter `transport` names no transport that the settings enable",
            Self::UnknownSession => {
                "no session with this id is open on this server; after a restart clients reconnect by themselves, and a \
                 load balancer must send all requests of a client to the same server (sticky sessions)"
            }
            Self::ShuttingDown => "the server is shutting down, and its clients reconnect elsewhere",
            Self::BadHandshakeMethod => "a request without `sid` opens a session and must be a GET",
            Self::BadRequest(context) => context,
            Self::PayloadTooLarge => "the body is larger than `max_payload` allows",
            Self::TooManySessions => "the number of open sessions has reached `max_sessions`",
            Self::TooManySessionsOfAddress => {
                "the number of open sessions from this address has reached `max_sessions_per_address`; behind a proxy, set \
                 `trust_forwarded`"
            }
            Self::OutOfMemory => "nine tenths of `max_memory` are in use",
            Self::TooManySessionsPerSecond => "more sessions open per second than `max_session_rate` allows",
            Self::TooManySessionsOfAddressPerSecond => {
                "more sessions of this address open per second than `max_session_rate_per_address` allows; behind a \
                 proxy, set `trust_forwarded`"
            }
            Self::Forbidden(_) | Self::UnsupportedVersion => "",
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManySessions | Self::TooManySessionsPerSecond | Self::OutOfMemory => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooManySessionsOfAddress | Self::TooManySessionsOfAddressPerSecond => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Adds `Retry-After` to the answer if a limit was reached.
    fn add_retry_after(&self, headers: &mut HeaderMap) {
        if matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
    }

    /// The answer to a refused polling request: JSON with code and message, as in the reference.
    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = self.status();
        self.add_retry_after(response.headers_mut());
        if self != Self::PayloadTooLarge {
            let message = serde_json::Value::from(self.to_string());
            *response.body_mut() = Full::from(format!(r#"{{"code":{},"message":{message}}}"#, self.code()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }

    /// The answer to a refused WebSocket handshake: plain text, after which the connection closes, as in the reference.
    /// Client libraries show the text, so it says more than the text of the reference.
    pub(crate) fn into_handshake_response(self) -> Response<Full<Bytes>> {
        let text = match &self {
            Self::BadRequest(context) => format!("{self}: {context}"),
            _ => self.to_string(),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status();
        self.add_retry_after(response.headers_mut());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_written_as_the_json_of_the_reference() {
        let response = Refusal::Forbidden("no \"x\"\n\u{1}é".into()).into_response();
        assert_eq!(response.status(), 403);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "{\"code\":4,\"message\":\"no \\\"x\\\"\\n\\u0001é\"}");
    }
}
