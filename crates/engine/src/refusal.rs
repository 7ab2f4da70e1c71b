use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// Why a request was refused, with the code and the message that the JavaScript reference answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// Code 3: the request contradicts itself or its session. The text says how; it is for the log and for the answer to
    /// a WebSocket handshake.
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
    /// Code 4: more sessions open per second than `max_session_rate` allows.
    #[error("Too many connections")]
    TooManySessionsPerSecond,
    /// Code 4: more sessions of the client's address open per second than `max_session_rate_per_address` allows.
    #[error("Too many connections")]
    TooManySessionsOfAddressPerSecond,
    /// Code 3: the body is larger than `max_payload`; the session stays open. The answer has no body, as in the reference.
    #[error("Payload too large")]
    PayloadTooLarge,
}

/// When a client may come again that was refused because of a limit, in seconds.
pub(crate) const RETRY_AFTER: &str = "10";

impl Refusal {
    /// The number the client sees.
    pub fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession | Self::ShuttingDown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest(_) | Self::PayloadTooLarge => 3,
            Self::Forbidden(_)
            | Self::TooManySessions
            | Self::TooManySessionsOfAddress
            | Self::TooManySessionsPerSecond
            | Self::TooManySessionsOfAddressPerSecond => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The cause and what to do about it, for the log; empty where the message says it all.
    pub fn context(&self) -> &'static str {
        match self {
            Self::UnknownTransport => "the parameter `transport` names none of the transports that the settings enable",
            Self::UnknownSession => {
                "no session of this id is open here; after a restart clients reconnect by themselves, and a load balancer \
                 must send all requests of a client to the same server (sticky sessions)"
            }
            Self::ShuttingDown => "the server is shutting down, and its clients reconnect elsewhere",
            Self::BadHandshakeMethod => "a request without `sid` opens a session, which only GET can",
            Self::BadRequest(context) => context,
            Self::PayloadTooLarge => "the body is larger than `max_payload` allows",
            Self::TooManySessions => "as many sessions are open as `max_sessions` allows",
            Self::TooManySessionsOfAddress => {
                "as many sessions of this address are open as `max_sessions_per_address` allows; behind a proxy, set \
                 `trust_forwarded`"
            }
            Self::TooManySessionsPerSecond => "more sessions open per second than `max_session_rate` allows",
            Self::TooManySessionsOfAddressPerSecond => {
                "more sessions of this address open per second than `max_session_rate_per_address` allows; behind a \
                 proxy, set `trust_forwarded`"
            }
            Self::Forbidden(_) | Self::UnsupportedVersion => "",
        }
    }

    /// The HTTP status it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManySessions | Self::TooManySessionsPerSecond => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManySessionsOfAddress | Self::TooManySessionsOfAddressPerSecond => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Tells the client when to come again, if that may help.
    fn add_retry_after(&self, headers: &mut HeaderMap) {
        if matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
    }

    /// The answer to a request of the polling transport: JSON with code and message, as in the reference.
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

    /// The answer to a WebSocket handshake: plain text, behind which the connection closes, as in the reference. Client
    /// libraries show the text, so that it says more than the reference does.
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
