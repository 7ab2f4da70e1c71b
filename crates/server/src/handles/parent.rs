use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::RwLock;
use sockeye_protocol::socketio::{Args, ArgsBuf, Arguments};

use crate::{
    EmitError, IntoReply, IntoRooms, Namespace, Operator, Socket,
    adapter::RoomEvent,
    handler::{FailedEvent, Handler, OnConnect, OnDisconnect, OnEvent},
};

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
    children: RwLock<Vec<Namespace>>,
}

impl ParentNamespace {
    pub(crate) fn new(template: Namespace) -> Self {
        Self(Arc::new(Inner { template, children: RwLock::default() }))
    }

    /// The children that exist on this server.
    pub fn children(&self) -> Vec<Namespace> {
        self.0.children.read().clone()
    }

    /// As [`Namespace::on_connect`].
    pub fn on_connect<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
        self.0.template.on_connect(handler);
        self
    }

    /// As [`Namespace::middleware`].
    pub fn middleware<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
        self.0.template.middleware(handler);
        self
    }

    /// As [`Namespace::on_disconnect`].
    pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<OnDisconnect, P>) -> &Self {
        self.0.template.on_disconnect(handler);
        self
    }

    /// As [`Namespace::on`].
    pub fn on<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        self.0.template.on(event, handler);
        self
    }

    /// As [`Namespace::once`], for the next event in each of the children.
    pub fn once<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        self.0.template.once(event, handler);
        self
    }

    /// As [`Namespace::off`].
    pub fn off(&self, event: &str) -> &Self {
        self.0.template.off(event);
        self
    }

    /// As [`Namespace::on_any`].
    pub fn on_any<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        self.0.template.on_any(handler);
        self
    }

    /// As [`Namespace::on_fallback`].
    pub fn on_fallback<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        self.0.template.on_fallback(handler);
        self
    }

    /// As [`Namespace::event_middleware`].
    pub fn event_middleware<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        self.0.template.event_middleware(handler);
        self
    }

    /// As [`Namespace::on_any_outgoing`].
    pub fn on_any_outgoing(&self, observer: impl Fn(&Socket, &str, Args<'_>) + Send + Sync + 'static) -> &Self {
        self.0.template.on_any_outgoing(observer);
        self
    }

    /// As [`Namespace::on_error`].
    pub fn on_error<R: IntoReply>(&self, handler: impl Fn(&FailedEvent<'_>) -> R + Send + Sync + 'static) -> &Self {
        self.0.template.on_error(handler);
        self
    }

    /// As [`Namespace::on_room_event`].
    pub fn on_room_event(&self, observer: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &Self {
        self.0.template.on_room_event(observer);
        self
    }

    /// As [`Namespace::on_server_event`].
    pub fn on_server_event<F, R>(
        &self,
        event: &str,
        handler: impl FnOnce(ArgsBuf) -> F + Clone + Send + Sync + 'static,
    ) -> &Self
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply,
    {
        self.0.template.on_server_event(event, handler);
        self
    }

    /// As [`Namespace::every`]. The job runs separately in each child.
    pub fn every<F>(
        &self,
        interval: Duration,
        run: impl FnOnce(Namespace) -> F + Clone + Send + Sync + 'static,
    ) -> &Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.template.every(interval, run);
        self
    }

    /// As [`Namespace::to`].
    pub fn to(&self, rooms: impl IntoRooms) -> Operator {
        self.everyone().to(rooms)
    }

    /// As [`Namespace::except`].
    pub fn except(&self, rooms: impl IntoRooms) -> Operator {
        self.everyone().except(rooms)
    }

    /// As [`Namespace::volatile`].
    pub fn volatile(&self) -> Operator {
        self.everyone().volatile()
    }

    /// As [`Namespace::local_only`].
    pub fn local_only(&self) -> Operator {
        self.everyone().local_only()
    }

    /// As [`Namespace::timeout`].
    pub fn timeout(&self, timeout: Duration) -> Operator {
        self.everyone().timeout(timeout)
    }

    /// An operator that selects every socket of every child.
    pub fn everyone(&self) -> Operator {
        Operator::of_children(self.clone())
    }

    /// Emits an event to every socket of every child.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.everyone().emit(event, args)
    }

    /// Emits the event `message` to every socket of every child.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    pub(crate) fn template(&self) -> &Namespace {
        &self.0.template
    }

    pub(crate) fn adopt(&self, child: Namespace) {
        self.0.children.write().push(child);
    }

    pub(crate) fn disown(&self, is_gone: impl Fn(&Namespace) -> bool) {
        self.0.children.write().retain(|child| !is_gone(child));
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
