use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::Namespace;

/// A parent namespace: the server creates its children, which are namespaces, when clients ask for them. Cheap to
/// clone, and usable from any task or thread.
///
/// A child that is created later gets the handlers that were added to the parent before. Emits and commands reach the
/// children that exist on this server.
#[derive(Debug, Clone)]
pub struct ParentNamespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The template of the children. It has no sockets.
    template: Namespace,
    /// The children by name.
    children: RwLock<HashMap<Arc<str>, Namespace>>,
}

impl ParentNamespace {
    pub(crate) fn new(template: Namespace) -> Self {
        Self(Arc::new(Inner { template, children: RwLock::default() }))
    }

    /// The children that exist on this server.
    pub fn children(&self) -> Vec<Namespace> {
        self.0.children.read().values().cloned().collect()
    }

    /// The namespace that keeps the handlers of the children.
    pub(crate) fn template(&self) -> &Namespace {
        &self.0.template
    }

    pub(crate) fn adopt(&self, child: Namespace) {
        self.0.children.write().insert(child.name().into(), child);
    }

    /// Removes a namespace if it is a child of this parent.
    pub(crate) fn disown(&self, namespace: &Namespace) {
        let mut children = self.0.children.write();
        if children.get(namespace.name()).is_some_and(|child| child.is_same(namespace)) {
            children.remove(namespace.name());
        }
    }
}

/// Makes the `matches` of [`Server::of_matching`](crate::Server::of_matching) from a pattern, in which `*` stands for
/// any characters except `/`.
///
/// ```
/// let matches = sockeye::matching("/orders/*");
/// assert!(matches("/orders/17", None));
/// assert!(!matches("/orders/17/items", None));
/// ```
pub fn matching(pattern: impl Into<String>) -> impl Fn(&str, Option<&serde_json::value::RawValue>) -> bool {
    let pattern = pattern.into();
    move |name, _| {
        let (mut names, mut patterns) = (name.split('/'), pattern.split('/'));
        loop {
            match (names.next(), patterns.next()) {
                (Some(name), Some(pattern)) if segment_matches(name, pattern) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

fn segment_matches(name: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some(at) = name.find(part) else { return false };
        name = name.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_within_a_segment() {
        for (pattern, name, expected) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a-*", "/a-1", true),
            ("/a-*", "/a-", true),
            ("/a-*", "/a-1/b", false),
            ("/*-*/c", "/1-2/c", true),
            ("/*-*/c", "/12/c", false),
            ("/*ab", "/aab", true),
            ("/*", "/é", true),
        ] {
            assert_eq!(matching(pattern)(name, None), expected, "{pattern} {name}");
        }
    }
}
