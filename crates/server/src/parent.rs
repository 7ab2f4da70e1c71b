use std::{ops::Deref, sync::Arc};

use parking_lot::RwLock;
use sockeye_protocol::socketio::Arguments;

use crate::{EmitError, Namespace, handler::table::Handlers};

/// Stands for the namespaces that are made when clients ask for them. It takes handlers like a namespace, which its
/// children get; what is emitted on it reaches the children it has.
#[derive(Debug, Clone)]
pub struct ParentNamespace {
    template: Namespace,
    children: Arc<RwLock<Vec<Namespace>>>,
}

impl ParentNamespace {
    pub(crate) fn new(template: Namespace) -> Self {
        Self { template, children: Arc::default() }
    }

    /// The namespaces there are.
    pub fn children(&self) -> Vec<Namespace> {
        self.children.read().clone()
    }

    /// Emits an event to every socket of every child.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        for child in self.children() {
            child.everyone().emit(event, ByReference(&args))?;
        }
        Ok(())
    }

    pub(crate) fn handlers(&self) -> Handlers {
        Handlers::clone(&self.template.handlers())
    }

    pub(crate) fn adopt(&self, child: Namespace) {
        self.children.write().push(child);
    }

    pub(crate) fn disown(&self, is_gone: impl Fn(&Namespace) -> bool) {
        self.children.write().retain(|child| !is_gone(child));
    }
}

impl Deref for ParentNamespace {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.template
    }
}

/// Arguments that several emits share.
struct ByReference<'a, A>(&'a A);

impl<A: Arguments> Arguments for ByReference<'_, A> {
    fn serialize_elements<S: serde::ser::SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.0.serialize_elements(seq)
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

/// Makes a `matches` for [`Server::of_matching`](crate::Server::of_matching) of a pattern, in which `*` stands for any
/// characters but `/`.
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
