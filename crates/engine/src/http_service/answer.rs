use std::{borrow::Cow, error::Error, pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use sockeye_protocol::engineio::{Revision, decode_jsonp_form, encode_jsonp};
use tokio::time::timeout;

use crate::{
    Application, CloseReason, Config, Engine, Refusal, Session, Sid, headers,
    http_service::{
        collect::{CollectError, collect},
        compress::Coding,
        query::Query,
    },
    memory::BytesCharge,
    response::ResponseBody,
    session::{opening::Opening, requests::ActivePost},
    transport::payload::{Body as Payloads, Payload},
};

/// Answers a request of the polling transport, which opens a session, asks for packets (GET) or brings packets (POST).
pub(crate) async fn respond<A, B>(engine: &Engine<A>, parts: &Parts, body: B) -> Response<ResponseBody>
where
    A: Application,
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let config = engine.config();
    let mut body = Box::pin(body);
    let admitted = config.check_request(parts);
    let is_admitted = admitted.is_ok();
    let answered = match admitted {
        Ok(()) => answer(engine, parts, body.as_mut()).await,
        Err(refusal) => Err(refusal),
    };
    let (mut response, opened) = answered.unwrap_or_else(|refusal| {
        engine.refused(parts, &refusal);
        (refusal.into_response(), None)
    });
    if parts.method == Method::POST && !body.is_end_stream() {
        tokio::spawn(drain(body, config.max_payload, config.close_timeout));
    }
    if is_admitted {
        config.cors.apply(&config.origins, &parts.headers, &parts.method, response.headers_mut());
    }
    decorate(config, parts, &mut response, opened.as_ref());
    response
}

/// Reads the rest of a refused body, up to `limit` bytes and for at most `duration`. If a connection is closed with
/// unread input, it is reset, and the client may never read the answer.
async fn drain<B: Body>(mut body: Pin<Box<B>>, limit: usize, duration: Duration) {
    let reading = async {
        let mut left = limit;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Buf::remaining);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    // A client that still sends after `duration` has had the time to read the answer.
    let _timed_out = timeout(duration, reading).await;
}

/// Adds the cookie and the headers of the hooks to an answer. `opened` is the session that the answer opens, if any.
pub(crate) fn decorate(config: &Config, parts: &Parts, response: &mut Response<ResponseBody>, opened: Option<&Sid>) {
    if let (Some(cookie), Some(id)) = (&config.cookie, opened)
        && let Some(value) = cookie.header(id)
    {
        response.headers_mut().append(SET_COOKIE, value);
    }
    config.hooks.change_headers(response.headers_mut(), parts, opened.is_some());
}

const NOT_UPGRADING: Refusal = Refusal::BadRequest(
    "a WebSocket needs the headers `Connection: Upgrade` and `Upgrade: websocket`; a proxy may have removed them",
);

/// An answer, and the session that it opens, if any.
type Answered = (Response<ResponseBody>, Option<Sid>);

async fn answer<A, B>(engine: &Engine<A>, parts: &Parts, body: Pin<&mut B>) -> Result<Answered, Refusal>
where
    A: Application,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if parts.method == Method::OPTIONS {
        return Ok((empty(StatusCode::NO_CONTENT), None));
    }
    let config = engine.config();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let is_websocket = match query.transport.as_deref() {
        Some("polling") if config.transports.polling => false,
        Some("websocket") if config.transports.websocket => true,
        _ => return Err(Refusal::UnknownTransport),
    };
    let Some(sid) = &query.sid else {
        if parts.method != Method::GET {
            return Err(Refusal::BadHandshakeMethod);
        }
        if is_websocket {
            return Err(NOT_UPGRADING);
        }
        let revision = query.served_revision(config.allow_eio3)?;
        let jsonp = query.jsonp.as_deref();
        if jsonp.is_some() {
            config.origins.check_script(parts)?;
        }
        let permit = engine.take_permit(parts)?;
        let id = engine.admit(parts).await?;
        let base64 = query.base64 || jsonp.is_some();
        let session =
            engine.open_polling(Opening { id, permit, revision, base64, handshake: engine.handshake(parts) })?;
        let response = get(&session, config, &parts.headers, jsonp).await?;
        return Ok((response, Some(session.id().clone())));
    };
    let session = find_session(engine, sid, query.revision())?;
    if is_websocket {
        return Err(NOT_UPGRADING);
    }
    let jsonp = query.jsonp.as_deref();
    let response = match parts.method {
        Method::GET => get(&session, config, &parts.headers, jsonp).await?,
        Method::POST => post(&session, config, &parts.headers, jsonp.is_some(), body).await?,
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    Ok((response, None))
}

/// Returns the session of this identifier, which must have the revision that the request names.
pub(crate) fn find_session<A>(engine: &Engine<A>, sid: &str, revision: Revision) -> Result<Arc<Session>, Refusal> {
    let session = engine.shared.sessions.find(sid).ok_or(Refusal::UnknownSession)?;
    if session.revision() == revision {
        Ok(session)
    } else {
        Err(Refusal::BadRequest("`EIO` differs from the session's revision of the protocol"))
    }
}

async fn get(
    session: &Arc<Session>,
    config: &Config,
    headers: &HeaderMap,
    jsonp: Option<&str>,
) -> Result<Response<ResponseBody>, Refusal> {
    let Payload { mut body, binary, .. } = session.poll_payload(jsonp.is_some()).await?;
    let content_type = match (jsonp, binary) {
        (Some(index), _) => {
            let mut script = Vec::new();
            encode_jsonp(index, &String::from_utf8_lossy(&body), &mut script);
            body = script;
            "text/javascript; charset=UTF-8"
        }
        (None, true) => "application/octet-stream",
        (None, false) => "text/plain; charset=UTF-8",
    };
    let long = config.http_compression.is_some_and(|least| body.len() >= least);
    let coding = if long { Coding::accepted(headers) } else { None };
    // Compression into memory cannot fail. If it did, the body would be sent uncompressed.
    let coded = coding.and_then(|coding| Some((coding.encode(&body).ok()?, coding.header())));
    Ok(match coded {
        Some((body, coding)) => {
            let mut response = uncached(charged(session, body), content_type);
            response.headers_mut().insert(CONTENT_ENCODING, coding);
            response
        }
        None => uncached(charged(session, body), content_type),
    })
}

/// A body that counts towards `max_memory` until the client has taken it, unless it is small.
fn charged(session: &Session, body: Vec<u8>) -> Bytes {
    struct Charged {
        body: Vec<u8>,
        _charge: BytesCharge,
    }
    impl AsRef<[u8]> for Charged {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }
    if body.capacity() < LARGE {
        return body.into();
    }
    let charge = BytesCharge::new(session.context().memory.clone(), body.capacity());
    Bytes::from_owner(Charged { body, _charge: charge })
}

/// Smaller bodies are not charged by themselves: what is charged for an HTTP connection covers them.
const LARGE: usize = 1024;

async fn post<B>(
    session: &Arc<Session>,
    config: &Config,
    headers: &HeaderMap,
    form: bool,
    body: Pin<&mut B>,
) -> Result<Response<ResponseBody>, Refusal>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut active = ActivePost::begin(session)?;
    let binary = media_type(headers).eq_ignore_ascii_case("application/octet-stream");
    if binary && session.revision() == Revision::V4 {
        // Dropping `active` closes the session.
        return Err(Refusal::BadRequest("revision 4 of Engine.IO has no binary payloads"));
    }
    let limit = config.max_payload;
    let announced = headers::text(headers, "content-length").and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        active.finish();
        return Err(Refusal::PayloadTooLarge);
    }
    // After this time the heartbeat, too, counts the client as lost.
    let body_timeout = config.ping_interval + config.ping_timeout;
    let collected = collect(body, limit, |bytes| ActivePost::note_arrived(session.clone(), bytes));
    let arrived = tokio::select! {
        arrived = timeout(body_timeout, collected) => arrived,
        () = ActivePost::session_closed(session) => return Err(Refusal::UnknownSession),
    };
    let Ok(arrived) = arrived else {
        return Err(Refusal::BadRequest("the body did not arrive in time"));
    };
    let mut body: Bytes = match arrived {
        Ok(body) => body.into(),
        Err(CollectError::TooLarge) => {
            active.finish();
            return Err(Refusal::PayloadTooLarge);
        }
        Err(CollectError::Broken(error)) => {
            tracing::debug!(sid = session.id().short(), %error, "the body of a request broke off");
            return Err(Refusal::BadRequest("the connection broke before the whole body arrived"));
        }
    };
    if form {
        let Some(payload) = decode_jsonp_form(&body) else {
            return Err(Refusal::BadRequest("the form of a JSONP request has no field `d`"));
        };
        body = payload.into();
    }
    let body = match Payloads::new(body, binary && !form) {
        Ok(body) => body,
        Err(error) => {
            tracing::debug!(sid = session.id().short(), %error, "closing a session whose payload is not UTF-8");
            active.finish();
            session.close_for(CloseReason::ParseError);
            return Err(Refusal::BadRequest("the payload is not UTF-8"));
        }
    };
    session.deliver(body).await?;
    active.finish();
    Ok(uncached(Bytes::from_static(b"ok"), "text/html"))
}

fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    String::from_utf8_lossy(value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii())
}

fn uncached(body: Bytes, content_type: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
