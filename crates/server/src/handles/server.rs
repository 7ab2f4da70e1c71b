use std::{
    convert::Infallible,
    fmt,
    future::{Future, pending},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use hashbrown::{HashMap, hash_map::Entry};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use parking_lot::RwLock;
use serde_json::value::RawValue;
use sockeye_engine::{Application, Engine, EngineService, Graceful, InProcess, Refusal, ServeError, Session};
use sockeye_handler::{Values, guard};
use sockeye_protocol::socketio::Arguments;
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
use tower_service::Service;

use crate::{
    Adapter, Config, EmitError, EngineMetrics, IntoRooms, LimitError, Metrics, Namespace, Operator, ParentNamespace,
    adapter::{AdapterFactory, InMemory, Local, ServerEvents},
    connection::client::Client,
    handles::ack::AckIds,
    metrics::Counters,
};

/// The handle to a Socket.IO server. Cheap to clone, and usable from any task or thread; emitting and the other verbs
/// on it are those of the namespace `/`.
///
/// A server is [served](Self::serve) on an address of its own, or [mounted](Self::service) in another HTTP server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    config: Config,
    state: Values,
    adapter: Option<AdapterFactory>,
    namespaces: RwLock<HashMap<Arc<str>, Namespace>>,
    parents: RwLock<Vec<Parent>>,
    namespace_observers: RwLock<Vec<NamespaceObserver>>,
    counters: Counters,
    ack_ids: AckIds,
    engine: OnceLock<Engine<SocketIo>>,
}

type NamespaceObserver = Arc<dyn Fn(&Namespace) + Send + Sync>;

type Matches = dyn Fn(&str, Option<&RawValue>) -> bool + Send + Sync;

/// Makes namespaces for clients that ask for them.
#[derive(Clone)]
struct Parent {
    matches: Arc<Matches>,
    namespace: ParentNamespace,
}

/// The longest name, in bytes, of a namespace that is made for a client.
pub(crate) const MAX_CHILD_NAME: usize = 256;

/// Why a client cannot enter a namespace.
#[derive(Debug)]
pub(crate) enum NoEntry {
    /// There is none of this name, and none is made for clients.
    Unknown,
    /// No more are made for clients.
    Limit(LimitError),
    /// Code that chooses namespaces, or sees new ones, panicked.
    Panicked,
}

impl From<LimitError> for NoEntry {
    fn from(limit: LimitError) -> Self {
        Self::Limit(limit)
    }
}

/// Gives the engine's sessions to the server.
pub(crate) struct SocketIo(Server);

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

    /// Adds a value that handlers can ask for by [`State`](crate::State), one of each type.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(value);
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
        let server = Server(Arc::new(Inner {
            config,
            state,
            adapter,
            namespaces: RwLock::default(),
            parents: RwLock::default(),
            namespace_observers: RwLock::default(),
            counters: Counters::default(),
            ack_ids: AckIds::default(),
            engine: OnceLock::new(),
        }));
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

    /// The namespace of this name, created if it is new. A missing leading slash is added.
    pub fn of(&self, name: &str) -> Namespace {
        let name = with_slash(name);
        if let Some(namespace) = self.0.namespaces.read().get(&name) {
            return namespace.clone();
        }
        let new = match self.0.namespaces.write().entry(name) {
            Entry::Occupied(entry) => return entry.get().clone(),
            Entry::Vacant(entry) => {
                let new = Namespace::new(entry.key().clone(), self.clone(), None);
                entry.insert(new).clone()
            }
        };
        self.tell_of(&new);
        new
    }

    /// A namespace that stands for all those, not made yet, whose name `matches` when a client asks for it; it is also
    /// given what the client sent along with CONNECT. None is made for a name of more than 256 bytes. The namespace that
    /// is made for the client gets the handlers, and all else, that the parent has then. What is emitted on the parent
    /// reaches all of its children.
    ///
    /// The first parent that matches makes the namespace. [`matching`](crate::matching) makes a `matches` of a pattern.
    pub fn of_matching(
        &self,
        matches: impl Fn(&str, Option<&RawValue>) -> bool + Send + Sync + 'static,
    ) -> ParentNamespace {
        let mut parents = self.0.parents.write();
        let name = format!("/_{}", parents.len());
        let namespace = ParentNamespace::new(Namespace::new(name.into(), self.clone(), None));
        parents.push(Parent { matches: Arc::new(matches), namespace: namespace.clone() });
        namespace
    }

    /// Sees every namespace that is made from now on.
    pub fn on_new_namespace(&self, observer: impl Fn(&Namespace) + Send + Sync + 'static) {
        self.0.namespace_observers.write().push(Arc::new(observer));
    }

    /// What the connections under the server have counted.
    pub fn engine_metrics(&self) -> EngineMetrics {
        self.engine().metrics()
    }

    /// What the server has counted.
    pub fn metrics(&self) -> Metrics {
        self.0.counters.snapshot()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The value of this type that the server was given.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.state.get()
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.engine().session_count()
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
        self.engine().service()
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

    /// Serves on listeners, paths that are not this server's by `fallback`, until told to stop.
    pub async fn serve_with<S, B, F>(&self, listeners: Vec<TcpListener>, fallback: S, graceful: Graceful<F>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = ()>,
    {
        self.engine().serve(listeners, fallback, graceful).await;
        // Namespaces and their server refer to each other; this lets both go.
        self.0.namespaces.write().clear();
        self.0.parents.write().clear();
    }

    /// Closes every connection, so that clients reconnect elsewhere, and admits no more.
    pub fn close(&self) {
        self.engine().close();
    }

    pub(crate) async fn connect_in_process(&self, request: &http::request::Parts) -> Result<InProcess, Refusal> {
        self.engine().connect_in_process(request).await
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The id of the next event that asks for an acknowledgement.
    pub(crate) fn next_ack_id(&self) -> u64 {
        self.0.ack_ids.next()
    }

    pub(crate) fn make_adapter(&self, local: Arc<Local>, events: Arc<ServerEvents>) -> Arc<dyn Adapter> {
        match &self.0.adapter {
            Some(factory) => factory(local, events),
            None => Arc::new(InMemory::new(local)),
        }
    }

    /// Calls `enter` with the namespace of this name, if there is one or one is made for the client. The namespace
    /// cannot be cleaned up meanwhile.
    pub(crate) fn enter<R>(
        &self,
        name: &str,
        auth: Option<&RawValue>,
        enter: impl FnOnce(&Namespace) -> R,
    ) -> Result<R, NoEntry> {
        // The namespace that is made may be cleaned up again, by a client that was quicker, before this one is in.
        loop {
            if let Some(namespace) = self.0.namespaces.read().get(name) {
                return Ok(enter(namespace));
            }
            if name.len() > MAX_CHILD_NAME {
                return Err(NoEntry::Unknown);
            }
            let parents = self.0.parents.read().clone();
            let parent = guard(|| parents.into_iter().find(|parent| (parent.matches)(name, auth)))
                .map_err(|panic| self.panicked(&panic))?
                .ok_or(NoEntry::Unknown)?;
            self.make_child(name.into(), &parent.namespace)?;
        }
    }

    /// Removes a namespace that was made for clients, if the settings say so and its last socket has left.
    pub(crate) fn cleanup(&self, namespace: &Namespace) {
        if self.0.config.cleanup_empty_child_namespaces {
            self.remove_empty(namespace);
        }
    }

    fn remove_empty(&self, namespace: &Namespace) {
        let mut namespaces = self.0.namespaces.write();
        // The last of several that leave may find another namespace under the name already.
        let is_current = namespaces.get(namespace.name()).is_some_and(|current| current.is_same(namespace));
        if is_current && namespace.local().is_empty() {
            namespaces.remove(namespace.name());
            for parent in self.0.parents.read().iter() {
                parent.namespace.disown(|child| child.is_same(namespace));
            }
        }
    }

    /// The names of some namespaces that are there by themselves, for the log.
    pub(crate) fn some_names(&self) -> Vec<Arc<str>> {
        const SOME: usize = 20;
        let namespaces = self.0.namespaces.read();
        namespaces
            .iter()
            .filter(|(_, namespace)| !namespace.is_child())
            .map(|(name, _)| name.clone())
            .take(SOME)
            .collect()
    }

    /// Makes a namespace that a client has asked for, unless somebody else just has.
    fn make_child(&self, name: Arc<str>, parent: &ParentNamespace) -> Result<(), NoEntry> {
        let new = {
            let mut namespaces = self.0.namespaces.write();
            if namespaces.contains_key(&name) {
                return Ok(());
            }
            self.make_room(&mut namespaces)?;
            let new = Namespace::new(name.clone(), self.clone(), Some(parent.template()));
            namespaces.insert(name, new.clone());
            parent.adopt(new.clone());
            new
        };
        guard(|| self.tell_of(&new)).map_err(|panic| {
            // Who sees new namespaces may be who guards them.
            self.remove_empty(&new);
            self.panicked(&panic)
        })
    }

    fn panicked(&self, panic: &str) -> NoEntry {
        self.0.counters.handler_panics.add();
        tracing::error!(panic, "what chooses or sees namespaces panicked");
        NoEntry::Panicked
    }

    /// Removes the empty ones of the namespaces that clients have asked for, if there are as many as may be.
    fn make_room(&self, namespaces: &mut HashMap<Arc<str>, Namespace>) -> Result<(), LimitError> {
        let limit = self.0.config.max_child_namespaces;
        let is_full = |namespaces: &HashMap<Arc<str>, Namespace>| {
            namespaces.len() >= limit && namespaces.values().filter(|namespace| namespace.is_child()).count() >= limit
        };
        if !is_full(namespaces) {
            return Ok(());
        }
        // Nobody enters meanwhile, which takes the lock that is held here.
        namespaces.retain(|_, namespace| !namespace.is_child() || !namespace.local().is_empty());
        for parent in self.0.parents.read().iter() {
            parent.namespace.disown(|child| child.local().is_empty());
        }
        if is_full(namespaces) { Err(LimitError::ChildNamespaces { limit }) } else { Ok(()) }
    }

    fn tell_of(&self, new: &Namespace) {
        let observers = self.0.namespace_observers.read().clone();
        observers.iter().for_each(|observer| observer(new));
    }

    fn engine(&self) -> &Engine<SocketIo> {
        self.0.engine.get_or_init(|| Engine::new(self.0.config.engine.clone(), SocketIo(self.clone())))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.0.config.engine.path).finish_non_exhaustive()
    }
}

impl Application for SocketIo {
    type Handler = Client;

    fn open(&self, session: &Arc<Session>) -> Client {
        Client::new(self.0.clone(), session.clone())
    }
}

/// Listens on every address that `address` stands for; `localhost` is usually two.
///
/// # Errors
/// If one of them cannot be listened on.
pub async fn listen(address: impl ToSocketAddrs + fmt::Debug) -> Result<Vec<TcpListener>, ServeError> {
    let given = format!("{address:?}");
    let addresses: Vec<SocketAddr> = lookup_host(address)
        .await
        .map_err(|source| ServeError::Listen { address: given.trim_matches('"').to_owned(), source })?
        .collect();
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address: address.to_string(), source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A namespace's name with its leading slash.
pub(crate) fn with_slash(name: &str) -> Arc<str> {
    if name.starts_with('/') { name.into() } else { format!("/{name}").into() }
}

/// Answers paths that are not the server's with 404.
#[derive(Debug, Clone, Copy)]
struct NotFound;

impl Service<Request<Incoming>> for NotFound {
    type Response = Response<http_body_util::Empty<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        let mut response = Response::new(http_body_util::Empty::new());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}
