use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;
use serde_json::value::RawValue;
use sockeye_engine::{WeakEngine, log_throttled};
use sockeye_handler::{Values, guard};

use crate::{
    Adapter, LimitError, Namespace, ParentNamespace,
    adapter::{AdapterFactory, Delivery, InMemory},
    handles::common::Common,
    handles::namespaces::Namespaces,
};

/// The namespaces of a server, and the state its handlers ask for.
///
/// The server's handles and its connections own it. Namespaces refer to it weakly, so that the whole is freed when the
/// last handle is dropped, even if somebody keeps a namespace or a socket.
pub(crate) struct Registry {
    pub(crate) common: Arc<Common>,
    state: Values,
    adapter: Option<AdapterFactory>,
    namespaces: RwLock<Namespaces>,
    parents: RwLock<Vec<Parent>>,
    namespace_observers: RwLock<Vec<NamespaceObserver>>,
    /// The engine that the connections come from. It owns this registry.
    pub(crate) engine: OnceLock<WeakEngine<SocketIo>>,
}

/// The engine's application: every session it opens becomes a connection of this server.
pub(crate) struct SocketIo(pub(crate) Arc<Registry>);

type NamespaceObserver = Arc<dyn Fn(&Namespace) + Send + Sync>;

type Matches = dyn Fn(&str, Option<&RawValue>) -> bool + Send + Sync;

/// A parent namespace, and which names its children have.
#[derive(Clone)]
struct Parent {
    matches: Arc<Matches>,
    namespace: ParentNamespace,
}

/// The longest name, in bytes, of a namespace that is made for a client.
const MAX_CHILD_NAME: usize = 256;

/// Why a client cannot enter a namespace.
#[derive(Debug)]
pub(crate) enum EnterError {
    /// No namespace has this name, and no parent namespace matches it.
    Unknown,
    /// Clients have created `max_child_namespaces` namespaces.
    Limit(LimitError),
    /// The `matches` of a parent namespace panicked, or an observer of new namespaces did.
    Panicked,
}

impl From<LimitError> for EnterError {
    fn from(limit: LimitError) -> Self {
        Self::Limit(limit)
    }
}

impl Registry {
    /// A registry without namespaces.
    pub(crate) fn new(common: Arc<Common>, state: Values, adapter: Option<AdapterFactory>) -> Arc<Self> {
        Arc::new(Self {
            common,
            state,
            adapter,
            namespaces: RwLock::default(),
            parents: RwLock::default(),
            namespace_observers: RwLock::default(),
            engine: OnceLock::new(),
        })
    }

    /// The value of this type among the server's state.
    pub(crate) fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.state.get()
    }

    /// The namespace of this name, which has its leading slash. If it is new, it is made: as the child of the first
    /// parent that matches, or else without handlers.
    pub(crate) fn of(self: &Arc<Self>, name: Arc<str>) -> Namespace {
        if let Some(namespace) = self.namespaces.read().get(&name) {
            return namespace.clone();
        }
        let parents = self.parents.read().clone();
        let parent = parents.into_iter().find(|parent| (parent.matches)(&name, None));
        let new = {
            let mut namespaces = self.namespaces.write();
            if let Some(namespace) = namespaces.get(&name) {
                return namespace.clone();
            }
            let template = parent.as_ref().map(|parent| parent.namespace.template());
            let new = Namespace::new(name, self, template, false);
            if let Some(parent) = &parent {
                parent.namespace.adopt(new.clone());
            }
            namespaces.insert(new.clone());
            new
        };
        self.tell_observers(&new);
        new
    }

    /// Adds a parent namespace.
    pub(crate) fn add_parent(self: &Arc<Self>, matches: Arc<Matches>) -> ParentNamespace {
        let mut parents = self.parents.write();
        let name = format!("/_{}", parents.len());
        let namespace = ParentNamespace::new(Namespace::new(name.into(), self, None, false));
        parents.push(Parent { matches, namespace: namespace.clone() });
        namespace
    }

    /// Adds an observer of the namespaces that are made from now on.
    pub(crate) fn observe_namespaces(&self, observer: NamespaceObserver) {
        self.namespace_observers.write().push(observer);
    }

    pub(crate) fn make_adapter(&self, delivery: Delivery) -> Arc<dyn Adapter> {
        match &self.adapter {
            Some(factory) => factory(delivery),
            None => Arc::new(InMemory::new(delivery.local().clone())),
        }
    }

    /// Calls `enter` with the namespace of this name, which is made for the client if a parent matches. The namespace
    /// is not removed while `enter` runs.
    pub(crate) fn enter<R>(
        self: &Arc<Self>,
        name: &str,
        auth: Option<&RawValue>,
        enter: impl FnOnce(&Namespace) -> R,
    ) -> Result<R, EnterError> {
        // Another client may join and leave the new namespace, which removes it, before this one enters.
        loop {
            if let Some(namespace) = self.namespaces.read().get(name) {
                return Ok(enter(namespace));
            }
            if name.len() > MAX_CHILD_NAME {
                return Err(EnterError::Unknown);
            }
            let parents = self.parents.read().clone();
            let parent = guard(|| parents.into_iter().find(|parent| (parent.matches)(name, auth)))
                .map_err(|panic| self.panicked("the `matches` of a parent namespace panicked", &panic))?
                .ok_or(EnterError::Unknown)?;
            self.make_child(name.into(), &parent.namespace)?;
        }
    }

    /// Notes that a socket has left a namespace that was made for clients. If the namespace is empty and the settings say
    /// so, this removes it.
    pub(crate) fn socket_left(&self, namespace: &Namespace) {
        if !namespace.local().is_empty() {
            return;
        }
        let mut namespaces = self.namespaces.write();
        if self.common.config.cleanup_empty_child_namespaces {
            self.remove_if_empty(&mut namespaces, namespace);
        } else {
            namespaces.note_empty(namespace);
        }
    }

    /// The names of some namespaces that were not made for clients, for the log.
    pub(crate) fn some_names(&self) -> Vec<Arc<str>> {
        self.namespaces.read().some_names().to_vec()
    }

    /// Makes a namespace that a client has asked for, unless another task has made it meanwhile.
    fn make_child(self: &Arc<Self>, name: Arc<str>, parent: &ParentNamespace) -> Result<(), EnterError> {
        let new = {
            let mut namespaces = self.namespaces.write();
            if namespaces.get(&name).is_some() {
                return Ok(());
            }
            self.make_room(&mut namespaces)?;
            let new = Namespace::new(name, self, Some(parent.template()), true);
            namespaces.insert(new.clone());
            namespaces.note_empty(&new);
            parent.adopt(new.clone());
            new
        };
        guard(|| self.tell_observers(&new)).map_err(|panic| {
            // The observer may have been about to add the middleware that guards the namespace.
            self.remove_if_empty(&mut self.namespaces.write(), &new);
            self.panicked("an observer of new namespaces panicked", &panic)
        })
    }

    fn panicked(&self, what: &'static str, panic: &str) -> EnterError {
        self.common.counters.handler_panics.add();
        log_throttled!(error, what, panic, "{what}");
        EnterError::Panicked
    }

    /// Removes the namespace made for clients that has been empty for the longest time, if there are as many as the
    /// settings allow. No client enters meanwhile: entering takes the lock of `namespaces`.
    fn make_room(&self, namespaces: &mut Namespaces) -> Result<(), LimitError> {
        let limit = self.common.config.max_child_namespaces;
        while namespaces.made_for_clients() >= limit {
            let oldest = namespaces.next_noted_empty().ok_or(LimitError::ChildNamespaces { limit })?;
            self.remove_if_empty(namespaces, &oldest);
        }
        Ok(())
    }

    fn remove_if_empty(&self, namespaces: &mut Namespaces, namespace: &Namespace) {
        if namespace.local().is_empty() && namespaces.remove(namespace) {
            for parent in self.parents.read().iter() {
                parent.namespace.disown(namespace);
            }
        }
    }

    fn tell_observers(&self, new: &Namespace) {
        let observers = self.namespace_observers.read().clone();
        observers.iter().for_each(|observer| observer(new));
    }
}

/// Refers to the registry of a namespace's server without keeping it.
pub(crate) type WeakRegistry = Weak<Registry>;
