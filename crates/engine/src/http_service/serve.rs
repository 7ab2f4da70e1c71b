use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Either;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tower_service::Service;

use crate::{
    Application, Config, Engine, EngineService, RemoteAddr,
    handshake::Secure,
    transport::switching::{Hold, Switching},
};

/// Why a server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}; choose another address, or stop the program that uses it")]
    Listen {
        /// The address as given.
        address: String,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// How a server ends: when `stop` completes, it takes no more connections, closes its sessions so that their clients
/// reconnect, and returns as soon as the last connection is gone and the last handler through, or after `limit`.
#[derive(Debug)]
pub struct Graceful<F> {
    /// Completes when the server is to stop.
    pub stop: F,
    /// How long connections may take to end.
    pub limit: Duration,
}

impl<A: Application> Engine<A> {
    /// Serves this engine on listeners, other paths by `fallback`, until told to stop. An engine that was closed before
    /// admits sessions again.
    ///
    /// Dropped before, it listens no longer and lets HTTP connections end after their request; sessions that have a
    /// WebSocket go on, until [`close`](Self::close) ends them.
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
        let shared = Arc::new((self.service(), fallback));
        // Dropped, it ends its tasks, so that a server that is given up gives its ports back.
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(accept(listener, shared.clone(), stopping.clone()));
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
        // Every connection's task holds a receiver until it ends or becomes a WebSocket, and every session has a permit
        // until it has said goodbye and its handler is through. The table forgets WebSockets earlier.
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

/// How long accepting pauses when the process or the system is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The HTTP library reads no less.
const LEAST_HEAD: usize = 8 * 1024;

async fn accept<A, S, B>(listener: TcpListener, shared: Arc<(EngineService<A>, S)>, stopping: watch::Receiver<bool>)
where
    A: Application,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                tokio::spawn(connection(stream, remote, shared.clone(), stopping.clone()));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections at the moment; check the limit of open files");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection, behind its TLS handshake if there is to be one.
async fn connection<A, S, B>(
    stream: TcpStream,
    remote: SocketAddr,
    shared: Arc<(EngineService<A>, S)>,
    mut stopping: watch::Receiver<bool>,
) where
    A: Application,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _slower = stream.set_nodelay(true);
    let config = shared.0.engine().config();
    let Some(tls) = &config.tls else {
        let stream = Switching::new(stream);
        let peer = Peer { remote, secure: false, hold: Some(stream.hold()) };
        return requests(stream, peer, shared, stopping).await;
    };
    let accepted = tokio::select! {
        accepted = tls.accept(stream, config.tls_handshake_timeout) => accepted,
        () = async { drop(stopping.wait_for(|stop| *stop).await) } => return,
    };
    match accepted {
        // Boxed, because a connection without TLS should not have to carry the room for one.
        Ok(stream) => Box::pin(requests(stream, Peer { remote, secure: true, hold: None }, shared, stopping)).await,
        Err(error) => {
            shared.0.engine().shared.context.counters.failed_tls_handshakes.increment();
            tracing::debug!(%remote, %error, "a TLS handshake failed");
        }
    }
}

/// Who is at the other end of a connection.
struct Peer {
    remote: SocketAddr,
    secure: bool,
    /// Holds the answer back by which the connection becomes a WebSocket, where that is possible.
    hold: Option<Hold>,
}

/// Serves the HTTP requests of one connection, up to its end or to its becoming a WebSocket.
async fn requests<A, S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    shared: Arc<(EngineService<A>, S)>,
    mut stopping: watch::Receiver<bool>,
) where
    A: Application,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Config { head_timeout, max_head_bytes, .. } = *shared.0.engine().config();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(RemoteAddr(peer.remote));
        if peer.secure {
            request.extensions_mut().insert(Secure);
        }
        let (engine, fallback) = &*shared;
        let answer = match engine.matches(request.uri().path()) {
            true => {
                // Others might answer something else than the engine, which would then be held back.
                if let Some(hold) = &peer.hold {
                    request.extensions_mut().insert(hold.clone());
                }
                Either::Left(engine.respond(request))
            }
            false => Either::Right((fallback.clone(), request)),
        };
        async move {
            match answer {
                Either::Left(response) => response.await.map(|response| response.map(Either::Left)),
                Either::Right((mut fallback, request)) => {
                    poll_fn(|cx| fallback.poll_ready(cx)).await?;
                    fallback.call(request).await.map(|response| response.map(Either::Right))
                }
            }
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(max_head_bytes.max(LEAST_HEAD));
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(remote = %peer.remote, %error, "an HTTP connection ended early");
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
