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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    /// The namespaces noted as empty, in their order. Each is there once, under the number that it keeps.
    fn noted(namespaces: &Namespaces) -> Vec<&str> {
        let taken: Vec<u64> = namespaces.empty.values().map(Namespace::take_emptied).collect();
        assert!(namespaces.empty.keys().eq(&taken));
        namespaces.empty.iter().for_each(|(number, namespace)| namespace.set_emptied(*number));
        namespaces.empty.values().map(Namespace::name).collect()
    }

    #[test]
    fn namespaces_made_for_clients_are_counted_and_kept_in_the_order_in_which_they_became_empty() {
        let registry = Server::new().of("/").registry().unwrap();
        let child = |name: &str| Namespace::new(name.into(), &registry, None, true);
        let mut namespaces = Namespaces::default();
        let [a, b, c, d] = ["/a", "/b", "/c", "/d"].map(child);
        for namespace in [&a, &b, &c, &d] {
            namespaces.insert(namespace.clone());
            namespaces.note_empty(namespace);
        }
        assert_eq!((namespaces.made_for_clients(), noted(&namespaces)), (4, vec!["/a", "/b", "/c", "/d"]));
        namespaces.note_empty(&b);
        assert_eq!(noted(&namespaces), ["/a", "/c", "/d", "/b"]);
        assert!(namespaces.remove(&c));
        assert!(!namespaces.remove(&c));
        assert_eq!((namespaces.made_for_clients(), noted(&namespaces)), (3, vec!["/a", "/d", "/b"]));
        assert!(namespaces.next_noted_empty().unwrap().is_same(&a));
        assert_eq!(noted(&namespaces), ["/d", "/b"]);

        // Its name is another namespace's by now.
        namespaces.insert(child("/c"));
        namespaces.note_empty(&c);
        assert!(!namespaces.remove(&c));
        assert_eq!((namespaces.made_for_clients(), noted(&namespaces)), (4, vec!["/d", "/b"]));
    }

    #[test]
    fn only_some_names_are_kept_for_the_log_and_none_that_a_client_chose() {
        let registry = Server::new().of("/").registry().unwrap();
        let mut namespaces = Namespaces::default();
        for number in 0..2 * SOME {
            for is_made_for_client in [false, true] {
                let name = format!("/{is_made_for_client}-{number}").into();
                namespaces.insert(Namespace::new(name, &registry, None, is_made_for_client));
            }
        }
        assert_eq!((namespaces.by_name.len(), namespaces.made_for_clients()), (4 * SOME, 2 * SOME));
        assert_eq!(namespaces.some_names().len(), SOME);
        assert!(namespaces.some_names().iter().all(|name| name.starts_with("/false-")));
    }
}
