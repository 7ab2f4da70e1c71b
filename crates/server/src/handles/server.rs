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
    Application, Engine, EngineService, Graceful, InProcess, MemoryCharge, NotFound, Refusal, ServeError, WeakEngine,
    listen,
};
use sockeye_handler::Values;
use sockeye_protocol::socketio::Arguments;
use tokio::net::{TcpListener, ToSocketAddrs};
use tower_service::Service;

use crate::{
    Config, EmitError, EngineMetrics, IntoRooms, Metrics, Namespace, Operator, ParentNamespace, Socket,
    adapter::AdapterFactory,
    handles::common::Common,
    handles::registry::{Registry, SocketIo},
};

/// The handle to a Socket.IO server. Cheap to clone, and usable from any task or thread. Its methods that emit or
/// select sockets are those of the namespace `/`.
///
/// A server [listens](Self::serve) on an address itself, or is [mounted](Self::service) in another HTTP server.
///
/// When the last handle and the last service are dropped, the connections close; the server and its state are freed
/// when the last handlers have ended. A [`Namespace`] or a [`Socket`](crate::Socket) does not keep the server alive. A
/// handler that captures a `Server` keeps it alive for ever: call [`Socket::server`](crate::Socket::server) in the
/// handler instead.
#[derive(Clone)]
pub struct Server {
    registry: Arc<Registry>,
    engine: Engine<SocketIo>,
}

/// Builds a server.
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

    /// Adds a value that handlers take as [`State<T>`](crate::State), one of each type. The server keeps it in an
    /// `Arc`, which [`Server::state`] returns.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.shared_state(Arc::new(value))
    }

    /// Adds a value that is already in an `Arc`, as [`state`](Self::state) does. Handlers take it as `State<T>`, not as
    /// `State<Arc<T>>`.
    #[must_use]
    pub fn shared_state<T: Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.state.insert_shared(value);
        self
    }

    /// Sets the adapter, which delivers broadcasts to the sockets of other servers.
    #[must_use]
    pub fn adapter(mut self, factory: AdapterFactory) -> Self {
        self.adapter = Some(factory);
        self
    }

    /// Makes the server and its namespace `/`.
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
    /// Makes a server with default settings.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A builder for a server with other settings, state for its handlers, or another adapter.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Returns the namespace with this name, and creates it if it does not exist. A missing leading slash is added. If
    /// a [parent](Self::of_matching) matches the name of a new namespace, the namespace becomes a child of that parent,
    /// as if a client had asked for it.
    pub fn of(&self, name: &str) -> Namespace {
        self.registry.of(with_slash(name))
    }

    /// Adds a parent namespace. When a client or [`of`](Self::of) asks for a namespace that does not exist, and
    /// `matches` returns true for its name, the server creates it as a child of this parent. The second argument of
    /// `matches` is the payload of the client's CONNECT packet; it is none if `of` asks. Clients cannot create a
    /// namespace whose name has more than 256 bytes. A new child gets the handlers, observers and jobs that the parent
    /// has then. Events emitted on the parent reach all its children.
    ///
    /// If several parents match, the one that was added first creates the namespace. [`matching`](crate::matching)
    /// makes a `matches` from a pattern.
    pub fn of_matching(
        &self,
        matches: impl Fn(&str, Option<&RawValue>) -> bool + Send + Sync + 'static,
    ) -> ParentNamespace {
        self.registry.add_parent(Arc::new(matches))
    }

    /// Calls an observer for every namespace that is created from now on.
    pub fn on_new_namespace(&self, observer: impl Fn(&Namespace) + Send + Sync + 'static) {
        self.registry.observe_namespaces(Arc::new(observer));
    }

    /// The counters of the server's Engine.IO connections.
    pub fn engine_metrics(&self) -> EngineMetrics {
        self.engine.metrics()
    }

    /// The counters of the server.
    pub fn metrics(&self) -> Metrics {
        self.registry.common.counters.snapshot()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.registry.common.config
    }

    /// The value of this type that was added by [`ServerBuilder::state`].
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.registry.state()
    }

    /// The number of open connections.
    pub fn connection_count(&self) -> usize {
        self.engine.session_count()
    }

    /// Counts a client of another protocol, which the application serves, towards `max_memory`; `None` if nine tenths of it
    /// are in use, so that the client is to be refused. To be called on a runtime.
    pub fn charge_memory(&self) -> Option<MemoryCharge> {
        self.engine.charge_memory()
    }

    /// Emits an event to every socket of the namespace `/`.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.of("/").emit(event, args)
    }

    /// Events emitted through the result reach the members of these rooms of the namespace `/`.
    pub fn to(&self, rooms: impl IntoRooms) -> Operator {
        self.of("/").to(rooms)
    }

    /// Events emitted through the result do not reach the members of these rooms of the namespace `/`.
    pub fn except(&self, rooms: impl IntoRooms) -> Operator {
        self.of("/").except(rooms)
    }

    /// The tower and hyper service. Mount it in another HTTP server at the `path` of the engine's settings.
    pub fn service(&self) -> EngineService<impl Application> {
        self.engine.service()
    }

    /// Listens on every address that `address` resolves to, until the process ends or the future is dropped.
    /// Connections that use a WebSocket then stay open until [`close`](Self::close) closes them.
    ///
    /// # Errors
    /// If it cannot listen on one of the addresses.
    pub async fn serve(&self, address: impl ToSocketAddrs + fmt::Debug) -> Result<(), ServeError> {
        let listeners = listen(address).await?;
        let forever = Graceful { stop: pending(), limit: Duration::ZERO };
        self.serve_with(listeners, NotFound, forever).await;
        Ok(())
    }

    /// Serves on listeners until `graceful` stops it. `fallback` answers requests for all other paths; [`NotFound`]
    /// answers them with 404. [`listen`](crate::listen) makes the listeners.
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

    /// Closes every connection, so that clients reconnect elsewhere, and refuses new ones until [`serve`](Self::serve)
    /// or [`serve_with`](Self::serve_with) is called again. Handlers and namespaces are kept.
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

    /// A handle to the server that has this registry.
    pub(crate) fn of_registry(registry: Arc<Registry>) -> Self {
        let engine = registry.engine.get().and_then(WeakEngine::upgrade).unwrap_or_else(|| {
            // All handles have been dropped; only the last handlers still run.
            let engine = Engine::new(registry.common.config.engine.clone(), SocketIo(registry.clone()));
            engine.close();
            engine
        });
        Self { registry, engine }
    }
}

impl Namespace {
    /// The server. After the server was dropped, this returns an empty server with the same settings, but without
    /// state.
    pub fn server(&self) -> Server {
        match self.registry() {
            Some(registry) => Server::of_registry(registry),
            None => Server::of_registry(Registry::new(self.common().clone(), Values::default(), None)),
        }
    }
}

impl Socket {
    /// The server.
    pub fn server(&self) -> Server {
        self.namespace().server()
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
