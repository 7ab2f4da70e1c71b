use hashbrown::HashMap;

use crate::{ErasedHandler, HandlerKind};

/// The handlers of events, by the events' names. Each event's run in the order in which they were added.
pub struct Named<K: HandlerKind> {
    by_event: HashMap<Box<str>, Vec<Entry<K>>>,
    /// How many handlers run once, of all events.
    once: usize,
}

struct Entry<K: HandlerKind> {
    handler: ErasedHandler<K>,
    once: bool,
}

impl<K: HandlerKind> Named<K> {
    /// Adds a handler. With `once` it runs for the next event and no other.
    pub fn on(&mut self, event: &str, handler: ErasedHandler<K>, once: bool) {
        self.once += usize::from(once);
        self.by_event.entry(event.into()).or_default().push(Entry { handler, once });
    }

    /// Removes the handlers of an event.
    pub fn off(&mut self, event: &str) {
        for entry in self.by_event.remove(event).into_iter().flatten() {
            self.once -= usize::from(entry.once);
        }
    }

    /// Whether one of an event's handlers runs once. If no handler at all runs once, nothing is looked up.
    pub fn runs_once(&self, event: &str) -> bool {
        self.once > 0 && self.by_event.get(event).is_some_and(|entries| entries.iter().any(|entry| entry.once))
    }

    /// The handlers of an event.
    pub fn of<'a>(&'a self, event: &str) -> impl Iterator<Item = &'a ErasedHandler<K>> {
        self.by_event.get(event).into_iter().flatten().map(|entry| &entry.handler)
    }

    /// Returns the handlers of an event, and removes those that run once.
    pub fn take(&mut self, event: &str) -> Vec<ErasedHandler<K>> {
        let Some(entries) = self.by_event.get_mut(event) else { return Vec::new() };
        let handlers: Vec<_> = entries.iter().map(|entry| entry.handler.clone()).collect();
        entries.retain(|entry| !entry.once);
        self.once -= handlers.len() - entries.len();
        if entries.is_empty() {
            self.by_event.remove(event);
        }
        handlers
    }
}

impl<K: HandlerKind> Default for Named<K> {
    fn default() -> Self {
        Self { by_event: HashMap::new(), once: 0 }
    }
}

impl<K: HandlerKind> Clone for Named<K> {
    fn clone(&self) -> Self {
        Self { by_event: self.by_event.clone(), once: self.once }
    }
}

impl<K: HandlerKind> Clone for Entry<K> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), once: self.once }
    }
}
