use hashbrown::HashMap;

use super::{ErasedHandler, ErrorHandler, OnConnect, OnDisconnect, OnEvent};

/// Handlers by what they are for: those of a namespace, or of one socket.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    /// Run in order before the connect handlers.
    pub(crate) middleware: Vec<ErasedHandler<OnConnect>>,
    /// Run in order before a client is let in.
    pub(crate) connect: Vec<ErasedHandler<OnConnect>>,
    pub(crate) disconnect: Vec<ErasedHandler<OnDisconnect>>,
    /// Run in order before an event's handlers; one that answers an error ends the event.
    pub(crate) before_event: Vec<ErasedHandler<OnEvent>>,
    /// Run for every event, before its own handlers.
    pub(crate) any: Vec<ErasedHandler<OnEvent>>,
    /// Run for events that have no handler of their own.
    pub(crate) fallback: Vec<ErasedHandler<OnEvent>>,
    pub(crate) error: Option<ErrorHandler>,
    events: HashMap<Box<str>, Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    handler: ErasedHandler<OnEvent>,
    once: bool,
}

impl Handlers {
    pub(crate) fn on(&mut self, event: &str, handler: ErasedHandler<OnEvent>, once: bool) {
        self.events.entry(event.into()).or_default().push(Entry { handler, once });
    }

    pub(crate) fn off(&mut self, event: &str) {
        self.events.remove(event);
    }

    /// The handlers of an event.
    pub(crate) fn of<'a>(&'a self, event: &str) -> impl Iterator<Item = &'a ErasedHandler<OnEvent>> {
        self.events.get(event).into_iter().flatten().map(|entry| &entry.handler)
    }

    /// The handlers of an event; those that run once are removed.
    pub(crate) fn take(&mut self, event: &str) -> Vec<ErasedHandler<OnEvent>> {
        let Some(entries) = self.events.get_mut(event) else { return Vec::new() };
        let handlers = entries.iter().map(|entry| entry.handler.clone()).collect();
        entries.retain(|entry| !entry.once);
        if entries.is_empty() {
            self.events.remove(event);
        }
        handlers
    }
}
