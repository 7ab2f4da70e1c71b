use hashbrown::HashMap;

use crate::{ErasedHandler, Occasion};

/// The handlers of events, by the events' names. Each event's run in the order in which they were added.
pub struct Named<O: Occasion>(HashMap<Box<str>, Vec<Entry<O>>>);

struct Entry<O: Occasion> {
    handler: ErasedHandler<O>,
    once: bool,
}

impl<O: Occasion> Named<O> {
    /// Adds a handler; one that runs `once` is for the next event alone.
    pub fn on(&mut self, event: &str, handler: ErasedHandler<O>, once: bool) {
        self.0.entry(event.into()).or_default().push(Entry { handler, once });
    }

    /// Removes the handlers of an event.
    pub fn off(&mut self, event: &str) {
        self.0.remove(event);
    }

    /// The handlers of an event.
    pub fn of<'a>(&'a self, event: &str) -> impl Iterator<Item = &'a ErasedHandler<O>> {
        self.0.get(event).into_iter().flatten().map(|entry| &entry.handler)
    }

    /// The handlers of an event; those that run once are removed.
    pub fn take(&mut self, event: &str) -> Vec<ErasedHandler<O>> {
        let Some(entries) = self.0.get_mut(event) else { return Vec::new() };
        let handlers = entries.iter().map(|entry| entry.handler.clone()).collect();
        entries.retain(|entry| !entry.once);
        if entries.is_empty() {
            self.0.remove(event);
        }
        handlers
    }
}

impl<O: Occasion> Default for Named<O> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<O: Occasion> Clone for Named<O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: Occasion> Clone for Entry<O> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), once: self.once }
    }
}
