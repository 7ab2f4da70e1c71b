use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    request::Parts,
};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use sockeye_protocol::{engineio::Revision, websocket::accept_key};
use tokio::time::sleep;
use tower_service::Service;

use crate::{
    Application, Engine, Refusal, Session, Sid,
    headers::{self, has_token},
    http_service::{
        answer::{self, decorate, empty, find_session},
        query::Query,
        websocket_session::WebSocketSession,
    },
    response::ResponseBody,
    session::{opening::Opening, permits::ConnectionPermit, upgrade},
    transport::{connection::Connection, switching::Hold},
};

impl<A: Application> Engine<A> {
    /// The tower and hyper service that answers the requests of this engine's path.
    pub fn service(&self) -> EngineService<A> {
        EngineService::new(self.clone())
    }
}

/// A [tower](tower_service) and [hyper](hyper::service) service that answers the requests of an engine's path. It
/// answers requests of every other path with status 404.
///
/// Use tower layers as HTTP middleware: a layer around this service, or around the router that contains it, sees every
/// polling request and every WebSocket handshake. It may refuse them and add headers to the answers.
///
/// ```
/// use sockeye_engine::{Application, EngineService};
/// use tower::{Layer, layer::layer_fn};
///
/// fn guarded<A: Application>(service: EngineService<A>) -> Guarded<EngineService<A>> {
///     layer_fn(Guarded).layer(service)
/// }
///
/// // Implements `tower::Service` as usual, and calls the inner service for requests that it admits.
/// struct Guarded<S>(S);
/// ```
pub struct EngineService<A> {
    engine: Engine<A>,
}

impl<A: Application> EngineService<A> {
    pub(crate) fn new(engine: Engine<A>) -> Self {
        Self { engine }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine<A> {
        &self.engine
    }

    /// Whether the engine answers requests of this path. It must be exactly the engine's path, except for the number of
    /// slashes at its end: clients leave out the last slash if `addTrailingSlash` is false, and proxies may double it.
    ///
    /// A router in front of this service decides first: axum's `route_service("/socket.io/", …)` matches `/socket.io/`
    /// only, as the reference does. Add a route for `/socket.io` if clients request that path.
    pub fn matches(&self, path: &str) -> bool {
        let own_path = self.engine.config().path.trim_end_matches('/');
        path.trim_end_matches('/') == own_path
    }

    /// Answers one request.
    pub fn respond<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.matches(request.uri().path()) {
            return ResponseFuture::ready(empty(StatusCode::NOT_FOUND));
        }
        // A server may ignore other protocols that a client offers, such as HTTP/2 (RFC 9110 section 7.8). It must also
        // ignore an offer from which a proxy has removed one of the two headers.
        if has_token(request.headers(), "upgrade", "websocket") && has_token(request.headers(), "connection", "upgrade")
        {
            return self.upgrade(request);
        }
        let engine = self.engine.clone();
        ResponseFuture(Answer::Later(Box::pin(async move {
            let (parts, body) = request.into_parts();
            answer::respond(&engine, &parts, body).await
        })))
    }

    /// Answers a WebSocket handshake, for a new session or for the upgrade of a polling session. The answer is ready at
    /// once unless a hook must be awaited.
    fn upgrade<B>(&self, mut request: Request<B>) -> ResponseFuture {
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let handshake = match self.check_handshake(&parts) {
            Ok(handshake) => handshake,
            Err(refusal) => return ResponseFuture::ready(self.refuse(&parts, refusal)),
        };
        if matches!(handshake.purpose, Purpose::Open { .. }) && self.engine.config().hooks.delay_admission() {
            let service = self.clone();
            return ResponseFuture(Answer::Later(Box::pin(async move {
                match service.engine.admit(&parts).await {
                    Ok(id) => service.switch(&parts, on_upgrade, handshake, id),
                    Err(refusal) => service.refuse(&parts, refusal),
                }
            })));
        }
        ResponseFuture::ready(self.switch(&parts, on_upgrade, handshake, Sid::random()))
    }

    /// Checks a WebSocket handshake.
    fn check_handshake(&self, parts: &Parts) -> Result<ValidHandshake, Refusal> {
        let config = self.engine.config();
        config.check_request(parts)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        if query.transport.as_deref() != Some("websocket") || !config.transports.websocket {
            return Err(Refusal::UnknownTransport);
        }
        let Some(sid) = &query.sid else {
            let accept = websocket_accept(parts)?;
            let revision = query.served_revision(config.allow_eio3)?;
            let permit = self.engine.take_permit(parts)?;
            return Ok(ValidHandshake { accept, purpose: Purpose::Open { permit, revision, base64: query.base64 } });
        };
        let session = find_session(&self.engine, sid, query.revision())?;
        if !config.allow_upgrades {
            return Err(Refusal::BadRequest("the setting `allow_upgrades` is off, so the session stays on polling"));
        }
        Ok(ValidHandshake { accept: websocket_accept(parts)?, purpose: Purpose::TakeOver(session) })
    }

    /// Accepts a WebSocket handshake, and spawns the task that uses the connection once the answer has been sent.
    fn switch(
        &self,
        parts: &Parts,
        on_upgrade: OnUpgrade,
        handshake: ValidHandshake,
        id: Sid,
    ) -> Response<ResponseBody> {
        let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, handshake.accept);
        if let Some(protocol) = subprotocol(&parts.headers) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let config = self.engine.config();
        match handshake.purpose {
            Purpose::TakeOver(session) => {
                tokio::spawn(async move {
                    if let Ok(upgraded) = on_upgrade.await {
                        upgrade::probe(session, Connection::new(upgraded)).await;
                    }
                });
                decorate(config, parts, &mut response, None);
            }
            Purpose::Open { permit, revision, base64 } => {
                decorate(config, parts, &mut response, Some(&id));
                if let (Revision::V4, Some(hold)) = (revision, parts.extensions.get::<Hold>()) {
                    hold.begin();
                }
                let opening = Opening { id, permit, revision, base64, handshake: self.engine.handshake(parts) };
                let session = WebSocketSession::new(on_upgrade, self.engine.clone(), opening);
                match revision {
                    Revision::V4 => tokio::spawn(session),
                    // Clients of revision 3 listen for messages only after they have seen the connection open. They
                    // lose an open packet that arrives together with the answer to their handshake.
                    Revision::V3 => tokio::spawn(async move {
                        sleep(OPEN_PACKET_DELAY).await;
                        session.await;
                    }),
                };
            }
        }
        response
    }

    /// Refuses a WebSocket handshake, or a request for another path.
    pub(super) fn refuse(&self, parts: &Parts, refusal: Refusal) -> Response<ResponseBody> {
        self.engine.refused(parts, &refusal);
        let mut response = refusal.into_handshake_response();
        decorate(self.engine.config(), parts, &mut response, None);
        response
    }
}

/// A WebSocket handshake that passed all checks.
struct ValidHandshake {
    /// The value of `Sec-WebSocket-Accept`.
    accept: HeaderValue,
    purpose: Purpose,
}

enum Purpose {
    /// To open a new session.
    Open { permit: ConnectionPermit, revision: Revision, base64: bool },
    /// To take over this session from polling.
    TakeOver(Arc<Session>),
}

impl<A> Clone for EngineService<A> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone() }
    }
}

impl<A> fmt::Debug for EngineService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineService").field(&self.engine).finish()
    }
}

impl<A, B> Service<Request<B>> for EngineService<A>
where
    A: Application,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.respond(request)
    }
}

impl<A, B> hyper::service::Service<Request<B>> for EngineService<A>
where
    A: Application,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> ResponseFuture {
        self.respond(request)
    }
}

/// How long the server waits before it sends the open packet to a WebSocket client of revision 3.
const OPEN_PACKET_DELAY: Duration = Duration::from_millis(5);

/// The future of an answer. Polling it again after it has completed panics, as with an `async` block.
#[derive(Debug)]
pub struct ResponseFuture(Answer);

enum Answer {
    Ready(Option<Box<Response<ResponseBody>>>),
    Later(Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>),
}

impl ResponseFuture {
    pub(super) fn ready(response: Response<ResponseBody>) -> Self {
        Self(Answer::Ready(Some(Box::new(response))))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Ready(response) => {
                Poll::Ready(Ok(*response.take().expect("`ResponseFuture` polled after completion")))
            }
            Answer::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Later(_) => "Later",
        })
    }
}

/// Checks a WebSocket handshake (RFC 6455 section 4.2.1) and returns the value of `Sec-WebSocket-Accept`.
fn websocket_accept(parts: &Parts) -> Result<HeaderValue, Refusal> {
    if parts.method != Method::GET || parts.version != Version::HTTP_11 {
        return Err(Refusal::BadRequest("a WebSocket handshake must be a GET of HTTP/1.1"));
    }
    if headers::text(&parts.headers, "sec-websocket-version") != Some("13") {
        return Err(Refusal::BadRequest("the Sec-WebSocket-Version header must be 13"));
    }
    let key = headers::text(&parts.headers, "sec-websocket-key")
        .filter(|key| key.len() == 24)
        .ok_or(Refusal::BadRequest("the Sec-WebSocket-Key header must be 16 bytes in base64"))?;
    HeaderValue::try_from(accept_key(key)).map_err(|_| Refusal::BadRequest("the Sec-WebSocket-Key header is not text"))
}

/// The first subprotocol that the client offers, which the answer accepts, as in the reference. It has no meaning here,
/// but a client that offers subprotocols fails the connection if the answer names none of them (RFC 6455 section 4.1).
fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    HeaderValue::from_str(headers::list(headers, "sec-websocket-protocol").next()?).ok()
}
