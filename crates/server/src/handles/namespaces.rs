use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;

use crate::Namespace;

/// The namespaces of a server by name.
///
/// Clients can have thousands of them made. Whatever a client causes takes a time that does not depend on their number:
/// those made for clients are counted, and those among them that may be empty are kept in the order in which they
/// became so.
#[derive(Default)]
pub(crate) struct Namespaces {
    by_name: HashMap<Arc<str>, Namespace>,
    made_for_clients: usize,
    /// Namespaces made for clients that became empty, by the number that the namespace keeps. Clients may have entered
    /// them since.
    empty: BTreeMap<u64, Namespace>,
    /// The number of the namespace that became empty last.
    last_empty: u64,
    /// The names of some namespaces that were not made for clients.
    some_names: Vec<Arc<str>>,
}

/// The most names in `some_names`.
const SOME: usize = 20;

impl Namespaces {
    pub(crate) fn get(&self, name: &str) -> Option<&Namespace> {
        self.by_name.get(name)
    }

    /// The number of namespaces that were made for clients.
    pub(crate) fn made_for_clients(&self) -> usize {
        self.made_for_clients
    }

    /// The names of some namespaces that were not made for clients.
    pub(crate) fn some_names(&self) -> &[Arc<str>] {
        &self.some_names
    }

    /// Adds a namespace with a new name.
    pub(crate) fn insert(&mut self, namespace: Namespace) {
        let name: Arc<str> = namespace.name().into();
        if namespace.is_made_for_client() {
            self.made_for_clients += 1;
        } else if self.some_names.len() < SOME {
            self.some_names.push(name.clone());
        }
        self.by_name.insert(name, namespace);
    }

    /// Removes a namespace that was made for clients. Returns false if it has been removed already; its name may be
    /// another namespace's by now.
    pub(crate) fn remove(&mut self, namespace: &Namespace) -> bool {
        if !self.is_current(namespace) {
            return false;
        }
        self.by_name.remove(namespace.name());
        self.made_for_clients -= 1;
        self.empty.remove(&namespace.take_emptied());
        true
    }

    /// Notes that a namespace that was made for clients is empty.
    pub(crate) fn note_empty(&mut self, namespace: &Namespace) {
        if self.is_current(namespace) {
            self.empty.remove(&namespace.take_emptied());
            self.last_empty += 1;
            namespace.set_emptied(self.last_empty);
            self.empty.insert(self.last_empty, namespace.clone());
        }
    }

    /// Takes the namespace that was noted as empty before all others. Clients may have entered it since.
    pub(crate) fn next_noted_empty(&mut self) -> Option<Namespace> {
        let (_, namespace) = self.empty.pop_first()?;
        namespace.take_emptied();
        Some(namespace)
    }

    fn is_current(&self, namespace: &Namespace) -> bool {
        self.by_name.get(namespace.name()).is_some_and(|current| current.is_same(namespace))
    }
}
