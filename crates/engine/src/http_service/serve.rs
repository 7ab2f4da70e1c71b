use std::{
    convert::Infallible,
    error::Error as _,
    future::{Future, poll_fn},
    io::{self, Write as _},
    net::{Shutdown, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header::HOST, request::Parts};
use http_body::Body;
use http_body_util::Either;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tower_service::Service;

use crate::{
    Application, Config, ConnectionPermit, Engine, EngineService, PermitError, PermitLimits, Refusal, RemoteAddr,
    ResponseBody,
    handshake::Secure,
    http_service::service::ResponseFuture,
    log_throttle::log_limit,
    log_throttled,
    memory::ConnectionCharge,
    refusal::RETRY_AFTER,
    session::permits::counted_address,
    transport::switching::{Hold, Switching, WriteTimedOut},
};

/// How a server ends: when `stop` completes, it accepts no more connections, closes its sessions so that their clients
/// reconnect, and returns as soon as the last connection has ended and the last handler is done, or after `limit`.
#[derive(Debug)]
pub struct Graceful<F> {
    /// Completes when the server is to stop.
    pub stop: F,
    /// How long connections may take to end.
    pub limit: Duration,
}

impl<A: Application> Engine<A> {
    /// Serves this engine on listeners, other paths by `fallback`, until `graceful.stop` completes. [`listen`](crate::listen)
    /// makes the listeners; [`NotFound`](crate::NotFound) is a fallback that answers 404. An engine that was closed before
    /// admits sessions again.
    ///
    /// If the future is dropped before, the server listens no longer and lets HTTP connections end after their request;
    /// sessions that have a WebSocket go on, until [`close`](Self::close) ends them.
    ///
    /// ```no_run
    /// use std::{future::pending, time::Duration};
    /// use sockeye_engine::{Application, Engine, Graceful, NotFound, ServeError, listen};
    ///
    /// async fn serve<A: Application>(engine: Engine<A>) -> Result<(), ServeError> {
    ///     let listeners = listen("localhost:3000").await?;
    ///     let forever = Graceful { stop: pending(), limit: Duration::ZERO };
    ///     engine.serve(listeners, NotFound, forever).await;
    ///     Ok(())
    /// }
    /// ```
    pub async fn serve<S, B, F>(&self, listeners: Vec<TcpListener>, fallback: S, graceful: Graceful<F>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = ()>,
    {
        self.shared.reopen();
        let (stop, stopping) = watch::channel(false);
        let server = Arc::new(Server { engine: self.service(), fallback });
        // Dropping it ends its tasks, so that a server whose future is dropped frees its ports.
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(server.clone().accept(listener, Stopping(stopping.clone())));
        }
        drop(stopping);
        if let Some(tls) = self.config().tls.clone() {
            tasks.spawn(tls.watch_files());
        }
        graceful.stop.await;
        stop.send_replace(true);
        let deadline = Instant::now() + graceful.limit;
        self.close();
        tasks.abort_all();
        // The task of a connection holds a receiver until the connection ends or becomes a WebSocket. A session holds a
        // permit until its last packets are sent and its handler is done, which is after it leaves the table.
        let done = async {
            stop.closed().await;
            self.shared.permits.all_free().await;
        };
        if timeout_at(deadline, done).await.is_err() {
            tracing::warn!(
                sessions = self.shared.permits.taken(),
                "stopping although some connections have not ended in time"
            );
        }
    }
}

/// How long accepting pauses when the process or the system is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The HTTP library's smallest limit for a request's head.
const MIN_HEAD_BYTES: usize = 8 * 1024;

/// The services behind the listeners.
struct Server<A, S> {
    engine: EngineService<A>,
    fallback: S,
}

/// Tells a connection when the server stops.
#[derive(Clone)]
struct Stopping(watch::Receiver<bool>);

impl Stopping {
    async fn wait(&mut self) {
        // A sender that is gone means that the server's future was dropped, which stops it too.
        let _dropped = self.0.wait_for(|stop| *stop).await;
    }
}

/// The other end of a connection.
struct Peer {
    address: SocketAddr,
    secure: bool,
    /// Holds back the answer that turns the connection into a WebSocket.
    hold: Hold,
}

impl<A, S, B> Server<A, S>
where
    A: Application,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn accept(self: Arc<Self>, listener: TcpListener, stopping: Stopping) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => match self.take_permit(address) {
                    Ok(permit) => {
                        tokio::spawn(self.clone().serve_connection(stream, address, permit, stopping.clone()));
                    }
                    Err(status) => self.turn_away(stream, status),
                },
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    log_throttled!(
                        error,
                        &error.to_string(),
                        %error,
                        "cannot accept connections at the moment; check the limit of open files"
                    );
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes a permit for one more connection, or says with which status to close it.
    fn take_permit(&self, address: SocketAddr) -> Result<ConnectionPermit, StatusCode> {
        let engine = self.engine.engine();
        let Config { max_connections: max, max_connections_per_address: max_per_address, .. } = *engine.config();
        // Behind a proxy, all connections have the proxy's address.
        let counted = (!engine.config().trust_forwarded).then(|| counted_address(address.ip()));
        if engine.shared.context.memory.is_exceeded() {
            engine.shared.context.counters.over_max_memory.increment();
            let (client, limit) = (address.to_string(), engine.config().max_memory);
            log_limit(&client, "max_memory", limit, "closed a connection because all of it is in use");
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let limits = PermitLimits { max, max_per_address, rate: 0, rate_per_address: 0 };
        engine.shared.connections.take(counted, &limits).map_err(|error| {
            let counters = &engine.shared.context.counters;
            let (counter, setting, limit, status) = match error {
                PermitError::All | PermitError::Rate => {
                    (&counters.over_max_connections, "max_connections", max, StatusCode::SERVICE_UNAVAILABLE)
                }
                PermitError::Address | PermitError::AddressRate => {
                    let counter = &counters.over_max_connections_per_address;
                    (counter, "max_connections_per_address", max_per_address, StatusCode::TOO_MANY_REQUESTS)
                }
            };
            counter.increment();
            log_limit(&address.to_string(), setting, limit, "closed a connection because so many are open");
            status
        })
    }

    /// Closes a connection without reading it, as far as possible with an answer.
    fn turn_away(&self, stream: TcpStream, status: StatusCode) {
        if self.engine.engine().config().tls.is_some() {
            return;
        }
        let answer = format!(
            "HTTP/1.1 {status}\r\nRetry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        // The buffer of a new connection has room for it, unless the client has gone already.
        let _gone = stream.into_std().and_then(|mut stream| {
            stream.write_all(answer.as_bytes())?;
            stream.shutdown(Shutdown::Write)
        });
    }

    /// Serves one connection, after its TLS handshake if there is to be one.
    async fn serve_connection(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        _permit: ConnectionPermit,
        mut stopping: Stopping,
    ) {
        let _charge = ConnectionCharge::new(self.engine.engine().shared.context.memory.clone());
        // A socket that refuses the option is merely slower.
        let _slower = stream.set_nodelay(true);
        let engine = self.engine.engine();
        let Some(tls) = &engine.config().tls else {
            return self.serve_requests(stream, address, false, stopping).await;
        };
        let accepted = tokio::select! {
            accepted = tls.accept(stream, engine.config().tls_handshake_timeout) => accepted,
            () = stopping.wait() => return,
        };
        match accepted {
            Ok(stream) => {
                // Boxed, because the task of a connection without TLS must not be as large as one with it.
                Box::pin(self.clone().serve_requests(stream, address, true, stopping)).await;
            }
            Err(error) => {
                engine.shared.context.counters.failed_tls_handshakes.increment();
                tracing::debug!(%address, %error, "a TLS handshake failed");
            }
        }
    }

    /// Serves the HTTP requests of one connection until it ends or becomes a WebSocket.
    async fn serve_requests(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
        secure: bool,
        mut stopping: Stopping,
    ) {
        let Config { head_timeout, write_timeout, close_timeout, max_head_bytes, .. } = *self.engine.engine().config();
        let max_head_bytes = max_head_bytes.max(MIN_HEAD_BYTES);
        let memory = self.engine.engine().shared.context.memory.clone();
        // The library's buffer may grow to twice the limit, by doubling.
        let stream = Switching::new(stream, write_timeout, 2 * max_head_bytes, memory);
        let hold = stream.hold();
        let peer = Peer { address, secure, hold: hold.clone() };
        let service = service_fn(move |request| self.answer(request, &peer));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(max_head_bytes);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopping.wait() => {
                connection.as_mut().graceful_shutdown();
                match timeout(close_timeout, connection.as_mut()).await {
                    Ok(result) => result,
                    // The rest of the head may never come.
                    Err(_) if hold.is_mid_head() => Ok(()),
                    Err(_) => connection.await,
                }
            }
        };
        match result {
            Ok(()) => {}
            Err(error) if error.is_parse_too_large() => {
                let client = address.to_string();
                log_limit(&client, "max_head_bytes", max_head_bytes, "refused a request with a longer head");
            }
            Err(error) if has_timed_out(&error) => {
                let limit = format!("{write_timeout:?}");
                log_limit(
                    &address.to_string(),
                    "write_timeout",
                    limit,
                    "dropped a client that does not read its answer",
                );
            }
            Err(error) => tracing::debug!(%address, %error, "an HTTP connection ended early"),
        }
    }

    /// Answers one request, by the engine or by the fallback.
    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = Result<Response<Either<ResponseBody, B>>, Infallible>> + use<A, S, B> {
        let extensions = request.extensions_mut();
        extensions.insert(RemoteAddr(peer.address));
        if peer.secure {
            extensions.insert(Secure);
        }
        let is_own = self.engine.matches(request.uri().path());
        // The fallback must not get it, because it would not know to write an answer that was held back.
        if is_own {
            request.extensions_mut().insert(peer.hold.clone());
        }
        let (parts, body) = request.into_parts();
        let answer = match self.check_host(&parts, is_own) {
            Ok(()) if is_own => Either::Left(self.engine.respond(Request::from_parts(parts, body))),
            Ok(()) => Either::Right((self.fallback.clone(), Request::from_parts(parts, body))),
            Err(refusal) => Either::Left(ResponseFuture::ready(self.engine.refuse(&parts, refusal))),
        };
        let handling = peer.hold.handle();
        async move {
            let _handling = handling;
            match answer {
                Either::Left(response) => response.await.map(|response| response.map(Either::Left)),
                Either::Right((mut fallback, request)) => {
                    poll_fn(|cx| fallback.poll_ready(cx)).await?;
                    fallback.call(request).await.map(|response| response.map(Either::Right))
                }
            }
        }
    }

    /// Checks that a request names a host, as HTTP/1.1 requires (RFC 9112 section 3.2), and one that is allowed. The latter
    /// the engine checks itself where the request is for its own path.
    fn check_host(&self, request: &Parts, is_own: bool) -> Result<(), Refusal> {
        if request.version == Version::HTTP_11 && !request.headers.contains_key(HOST) {
            return Err(Refusal::BadRequest("the request has no Host header, which HTTP/1.1 requires"));
        }
        if is_own { Ok(()) } else { self.engine.engine().config().allowed_hosts.check(request) }
    }
}

/// Whether a connection ended because its client did not read an answer.
fn has_timed_out(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).and_then(io::Error::get_ref);
    cause.is_some_and(|cause| cause.is::<WriteTimedOut>())
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
