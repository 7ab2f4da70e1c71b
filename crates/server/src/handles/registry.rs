use std::sync::{Arc, OnceLock, Weak};

use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::RwLock;
use serde_json::value::RawValue;
use sockeye_engine::WeakEngine;
use sockeye_handler::{Values, guard};

use crate::{
    Adapter, LimitError, Namespace, ParentNamespace,
    adapter::{AdapterFactory, InMemory, Local, ServerEvents},
    handles::common::Common,
};

/// The namespaces of a server, and the state its handlers ask for.
///
/// The server's handles and its connections own it. Namespaces refer to it weakly, so that the whole is freed when the
/// last handle is dropped, even if somebody keeps a namespace or a socket.
pub(crate) struct Registry {
    pub(crate) common: Arc<Common>,
    state: Values,
    adapter: Option<AdapterFactory>,
    namespaces: RwLock<HashMap<Arc<str>, Namespace>>,
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
pub(crate) const MAX_CHILD_NAME: usize = 256;

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
        let new = match self.namespaces.write().entry(name) {
            Entry::Occupied(entry) => return entry.get().clone(),
            Entry::Vacant(entry) => {
                let template = parent.as_ref().map(|parent| parent.namespace.template());
                let new = Namespace::new(entry.key().clone(), self, template, false);
                if let Some(parent) = &parent {
                    parent.namespace.adopt(new.clone());
                }
                entry.insert(new).clone()
            }
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

    pub(crate) fn make_adapter(&self, local: Arc<Local>, events: Arc<ServerEvents>) -> Arc<dyn Adapter> {
        match &self.adapter {
            Some(factory) => factory(local, events),
            None => Arc::new(InMemory::new(local)),
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

    /// Removes a namespace that was made for clients, if the settings say so and its last socket has left.
    pub(crate) fn cleanup(&self, namespace: &Namespace) {
        if self.common.config.cleanup_empty_child_namespaces {
            self.remove_empty(namespace);
        }
    }

    /// The names of some namespaces that were not made for clients, for the log.
    pub(crate) fn some_names(&self) -> Vec<Arc<str>> {
        const SOME: usize = 20;
        let namespaces = self.namespaces.read();
        let lasting = namespaces.iter().filter(|(_, namespace)| !namespace.is_made_for_client());
        lasting.map(|(name, _)| name.clone()).take(SOME).collect()
    }

    /// Makes a namespace that a client has asked for, unless another task has made it meanwhile.
    fn make_child(self: &Arc<Self>, name: Arc<str>, parent: &ParentNamespace) -> Result<(), EnterError> {
        let new = {
            let mut namespaces = self.namespaces.write();
            if namespaces.contains_key(&name) {
                return Ok(());
            }
            self.make_room(&mut namespaces)?;
            let new = Namespace::new(name.clone(), self, Some(parent.template()), true);
            namespaces.insert(name, new.clone());
            parent.adopt(new.clone());
            new
        };
        guard(|| self.tell_observers(&new)).map_err(|panic| {
            // The observer may have been about to add the middleware that guards the namespace.
            self.remove_empty(&new);
            self.panicked("an observer of new namespaces panicked", &panic)
        })
    }

    fn panicked(&self, what: &'static str, panic: &str) -> EnterError {
        self.common.counters.handler_panics.add();
        tracing::error!(panic, "{what}");
        EnterError::Panicked
    }

    /// Removes empty namespaces that were made for clients, if there are as many as the settings allow.
    fn make_room(&self, namespaces: &mut HashMap<Arc<str>, Namespace>) -> Result<(), LimitError> {
        let limit = self.common.config.max_child_namespaces;
        let is_full = |namespaces: &HashMap<Arc<str>, Namespace>| {
            let made_for_clients = || namespaces.values().filter(|namespace| namespace.is_made_for_client()).count();
            namespaces.len() >= limit && made_for_clients() >= limit
        };
        if !is_full(namespaces) {
            return Ok(());
        }
        // No client enters meanwhile: entering takes the lock that the caller holds.
        let is_removed = |namespace: &Namespace| namespace.is_made_for_client() && namespace.local().is_empty();
        namespaces.retain(|_, namespace| !is_removed(namespace));
        for parent in self.parents.read().iter() {
            parent.namespace.disown(is_removed);
        }
        if is_full(namespaces) { Err(LimitError::ChildNamespaces { limit }) } else { Ok(()) }
    }

    fn remove_empty(&self, namespace: &Namespace) {
        let mut namespaces = self.namespaces.write();
        // When several sockets leave at once, the name may be another namespace's by now.
        let is_current = namespaces.get(namespace.name()).is_some_and(|current| current.is_same(namespace));
        if is_current && namespace.local().is_empty() {
            namespaces.remove(namespace.name());
            for parent in self.parents.read().iter() {
                parent.namespace.disown(|child| child.is_same(namespace));
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
