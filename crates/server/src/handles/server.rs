use std::{
    convert::Infallible,
    fmt,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use sockeye_engine::{
    Application, Engine, EngineService, Graceful, InProcess, NotFound, Refusal, ServeError, WeakEngine, listen,
};
use sockeye_handler::Values;
use sockeye_protocol::socketio::Arguments;
use tokio::net::{TcpListener, ToSocketAddrs};
use tower_service::Service;

use crate::{
    Config, EmitError, EngineMetrics, IntoRooms, Metrics, Namespace, Operator, ParentNamespace,
    adapter::AdapterFactory,
    handles::registry::{Common, Registry, SocketIo},
};

/// The handle to a Socket.IO server. Cheap to clone, and usable from any task or thread; emitting and the other verbs
/// on it are those of the namespace `/`.
///
/// A server is [served](Self::serve) on an address of its own, or [mounted](Self::service) in another HTTP server.
///
/// When the last handle is dropped, and the last service made of it, the connections are closed, and the server is freed
/// with its state once their handlers have ended. A [`Namespace`] or a [`Socket`](crate::Socket) that is kept does not
/// keep it. A handler that has captured a handle does, for ever: let it ask
/// [`Socket::server`](crate::Socket::server) instead.
#[derive(Clone)]
pub struct Server {
    registry: Arc<Registry>,
    engine: Engine<SocketIo>,
}

/// Collects what a server is made of.
#[derive(Default)]
pub struct ServerBuilder {
    config: Config,
    state: Values,
    adapter: Option<AdapterFactory>,
}

impl ServerBuilder {
    /// Sets all settings at once.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a value that handlers can take as [`State<T>`](crate::State), one of each type. The server keeps it in an `Arc`;
    /// [`Server::state`] returns that.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.shared_state(Arc::new(value))
    }

    /// Adds a value, as [`state`](Self::state) does, that is in an `Arc` already. Handlers take it as `State<T>`, not as
    /// `State<Arc<T>>`.
    #[must_use]
    pub fn shared_state<T: Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.state.insert_shared(value);
        self
    }

    /// Sets how broadcasts reach the sockets of other servers.
    #[must_use]
    pub fn adapter(mut self, factory: AdapterFactory) -> Self {
        self.adapter = Some(factory);
        self
    }

    /// Makes the server, with its namespace `/`.
    pub fn build(self) -> Server {
        let Self { config, state, adapter } = self;
        let server = Server::new_with(Common { config, ..Common::default() }, state, adapter);
        server.of("/");
        server
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server with default settings.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Begins a server with other settings, state for its handlers, or another adapter.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The namespace of this name, which is made if it is new; a missing leading slash is added. If it is new and a
    /// [parent](Self::of_matching) matches its name, it is the child of that parent, as if a client had asked for it.
    pub fn of(&self, name: &str) -> Namespace {
        self.registry.of(with_slash(name))
    }

    /// A parent of all namespaces that do not exist yet and whose name `matches`. They are made when a client asks for
    /// one of them, or [`of`](Self::of) does. `matches` is also given what the client sent along with CONNECT, and
    /// nothing when `of` asks. No client makes a namespace whose name has more than 256 bytes. A new child gets the
    /// handlers, and all else, that the parent has then. What is emitted on the parent reaches all of its children.
    ///
    /// The first parent that matches makes the namespace. [`matching`](crate::matching) makes a `matches` of a pattern.
    pub fn of_matching(
        &self,
        matches: impl Fn(&str, Option<&RawValue>) -> bool + Send + Sync + 'static,
    ) -> ParentNamespace {
        self.registry.add_parent(Arc::new(matches))
    }

    /// Sees every namespace that is made from now on.
    pub fn on_new_namespace(&self, observer: impl Fn(&Namespace) + Send + Sync + 'static) {
        self.registry.observe_namespaces(Arc::new(observer));
    }

    /// What the connections under the server have counted.
    pub fn engine_metrics(&self) -> EngineMetrics {
        self.engine.metrics()
    }

    /// What the server has counted.
    pub fn metrics(&self) -> Metrics {
        self.registry.common.counters.snapshot()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.registry.common.config
    }

    /// The value of this type that the server was given.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.registry.state()
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.engine.session_count()
    }

    /// Emits an event to every socket of the namespace `/`.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.of("/").emit(event, args)
    }

    /// Everything emitted through the result reaches the members of these rooms of the namespace `/`.
    pub fn to(&self, rooms: impl IntoRooms) -> Operator {
        self.of("/").to(rooms)
    }

    /// Everything emitted through the result leaves out the members of these rooms of the namespace `/`.
    pub fn except(&self, rooms: impl IntoRooms) -> Operator {
        self.of("/").except(rooms)
    }

    /// The tower and hyper service, to mount in another HTTP server at the path of the settings.
    pub fn service(&self) -> EngineService<impl Application> {
        self.engine.service()
    }

    /// Serves on every address that `address` stands for, until the process ends or the future is dropped. Connections
    /// that are WebSockets by then go on, unless [`close`](Self::close) ends them.
    ///
    /// # Errors
    /// If one of them cannot be listened on.
    pub async fn serve(&self, address: impl ToSocketAddrs + fmt::Debug) -> Result<(), ServeError> {
        let listeners = listen(address).await?;
        let forever = Graceful { stop: pending(), limit: Duration::ZERO };
        self.serve_with(listeners, NotFound, forever).await;
        Ok(())
    }

    /// Serves on listeners until told to stop. `fallback` answers the paths that are not this server's;
    /// [`NotFound`] answers them with 404. [`listen`](crate::listen) makes the listeners.
    pub async fn serve_with<S, B, F>(&self, listeners: Vec<TcpListener>, fallback: S, graceful: Graceful<F>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = ()>,
    {
        self.engine.serve(listeners, fallback, graceful).await;
    }

    /// Closes every connection, so that clients reconnect elsewhere, and admits no more until the server is served
    /// again. Handlers and namespaces are kept.
    pub fn close(&self) {
        self.engine.close();
    }

    pub(crate) async fn connect_in_process(&self, request: &http::request::Parts) -> Result<InProcess, Refusal> {
        self.engine.connect_in_process(request).await
    }

    fn new_with(common: Common, state: Values, adapter: Option<AdapterFactory>) -> Self {
        let registry = Registry::new(Arc::new(common), state, adapter);
        let engine = Engine::new(registry.common.config.engine.clone(), SocketIo(registry.clone()));
        let _first = registry.engine.set(engine.downgrade());
        Self { registry, engine }
    }

    /// A handle to the server with this registry.
    pub(crate) fn of_registry(registry: Arc<Registry>) -> Self {
        let engine = registry.engine.get().and_then(WeakEngine::upgrade).unwrap_or_else(|| {
            // All handles are dropped, and only the last handlers still run.
            let engine = Engine::new(registry.common.config.engine.clone(), SocketIo(registry.clone()));
            engine.close();
            engine
        });
        Self { registry, engine }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.config().engine.path).finish_non_exhaustive()
    }
}

/// A namespace's name with its leading slash.
pub(crate) fn with_slash(name: &str) -> Arc<str> {
    if name.starts_with('/') { name.into() } else { format!("/{name}").into() }
}
