//! Servers to test the client with.
// Each test file uses its part of this.
#![allow(dead_code)]
use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};

use parking_lot::Mutex;
use sockeye::{Graceful, Server, listen};
use sockeye_client::{DisconnectReason, Events, ManagerBuilder, Reason, Reconnection, Socket, Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinHandle},
    time::Instant,
};
use tower_service::Service;

/// How long to wait for what is sure to come.
const LIMIT: Duration = Duration::from_secs(20);

/// A Sockeye server on a free port of this machine.
pub(crate) struct Local {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// Dropped, it stops the server.
    _stop: oneshot::Sender<()>,
}

impl Local {
    /// Serves until it is dropped.
    pub(crate) async fn serve(server: Server) -> Self {
        Self::serve_at(server, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn serve_at(server: Server, address: SocketAddr) -> Self {
        // A server that has just ended may take a moment to let go of its address.
        let deadline = Instant::now() + LIMIT;
        let listeners = loop {
            match listen(address).await {
                Ok(listeners) => break listeners,
                Err(error) => assert!(error.to_string().contains("in use") && Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let address = listeners[0].local_addr().unwrap();
        let serving = server.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            serving.serve_with(listeners, NotFound, Graceful { stop, limit: Duration::ZERO }).await;
        });
        Self { server, address, _stop: stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The transports that everything is tried on, the upgrade from one to the other included.
pub(crate) const TRANSPORTS: [&[Transport]; 3] =
    [&[Transport::Polling], &[Transport::WebSocket], &[Transport::Polling, Transport::WebSocket]];

/// A client that is quick to come back.
pub(crate) fn quick(builder: ManagerBuilder) -> ManagerBuilder {
    let delay = Duration::from_millis(10);
    builder.reconnection(Reconnection { delay, delay_max: delay * 5, ..Reconnection::default() })
}

/// Why a socket is no longer connected, each time that happens.
pub(crate) fn disconnects(socket: &Socket) -> mpsc::UnboundedReceiver<DisconnectReason> {
    let (sender, reasons) = mpsc::unbounded_channel();
    socket.on_disconnect(move |Reason(reason): Reason| {
        let sender = sender.clone();
        async move { sender.send(reason).unwrap() }
    });
    reasons
}

/// Waits for the next event `back`, and returns its data.
pub(crate) async fn next_back<T: serde::de::DeserializeOwned>(events: &mut Events) -> T {
    loop {
        let event = tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap();
        if event.name() == "back" {
            return event.data().unwrap();
        }
    }
}

/// Waits until something holds, and fails if it takes too long.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Clone)]
struct NotFound;

impl Service<Request<Incoming>> for NotFound {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        ready(Ok(response))
    }
}

/// Stands between client and server, to break what passes.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    links: Arc<Mutex<Vec<AbortHandle>>>,
    /// Cuts a connection as soon as the client has sent this on it.
    trap: Arc<Mutex<Option<Vec<u8>>>>,
    /// How many bytes the client has taken.
    passed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let links = Arc::new(Mutex::new(Vec::new()));
        let trap = Arc::new(Mutex::new(None));
        let passed = Arc::new(AtomicUsize::new(0));
        let (open, armed, count) = (links.clone(), trap.clone(), passed.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let link = tokio::spawn(link(client, target, armed.clone(), count.clone())).abort_handle();
                open.lock().push(link);
            }
        });
        Self { address, links, trap, passed, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks all connections that are open.
    pub(crate) fn cut(&self) {
        self.links.lock().drain(..).for_each(|link| link.abort());
    }

    /// Breaks a connection as soon as the client has sent this text on it, which does not reach the server.
    pub(crate) fn cut_at(&self, text: &str) {
        *self.trap.lock() = Some(text.into());
    }

    /// How many bytes have passed from the server to the client.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    /// Whether the text has been seen.
    pub(crate) fn has_cut(&self) -> bool {
        self.trap.lock().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn link(mut client: TcpStream, target: SocketAddr, trap: Arc<Mutex<Option<Vec<u8>>>>, passed: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let (count, upwards) = tokio::select! {
            count = client.read(&mut from_client) => (count.unwrap_or(0), true),
            count = server.read(&mut from_server) => (count.unwrap_or(0), false),
        };
        if count == 0 {
            return;
        }
        let written = if upwards {
            let bytes = &from_client[..count];
            if trap.lock().take_if(|text| contains(bytes, text)).is_some() {
                return;
            }
            server.write_all(bytes).await
        } else {
            passed.fetch_add(count, Ordering::SeqCst);
            client.write_all(&from_server[..count]).await
        };
        if written.is_err() {
            return;
        }
    }
}

/// Whether a text is in what a client sends: as it is, or as the one masked frame of a WebSocket.
fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let unmasked = bytes.split_at_checked(6).map(|(head, payload)| {
        let mut payload = payload.to_vec();
        sockeye_protocol::websocket::apply_mask(&mut payload, head[2..].try_into().unwrap(), 0);
        payload
    });
    [Some(bytes.to_vec()), unmasked]
        .into_iter()
        .flatten()
        .any(|bytes| bytes.windows(text.len()).any(|part| part == text))
}
