use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    ManagerEvents, Transport,
    settings::builder::Config,
    state::shared::{Handle, Shared},
};

/// One connection to a server, shared by the [`Socket`](crate::Socket)s of several namespaces. Cheap to clone.
///
/// A manager runs in one task, from the first `connect` until all its sockets are disconnected. When the last handle of the
/// manager and its sockets is dropped, the connection is closed: keep a handle for as long as handlers are to run.
#[derive(Clone)]
pub struct Manager(pub(crate) Arc<Handle>);

impl Manager {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(Handle { shared: Arc::new(Shared::new(config)) }))
    }

    /// Whether a connection is open.
    pub fn is_open(&self) -> bool {
        self.shared().core().open.is_some()
    }

    /// The transport of the open connection.
    pub fn transport(&self) -> Option<Transport> {
        self.shared().core().open.as_ref().map(|open| open.transport)
    }

    /// How many bytes wait to be written to the open connection. If the number does not fall, the server does not read.
    pub fn backlog(&self) -> usize {
        self.shared().core().waiting_bytes()
    }

    /// The id of the open Engine.IO session.
    pub fn sid(&self) -> Option<Arc<str>> {
        self.shared().core().open.as_ref().map(|open| open.sid.clone())
    }

    /// Returns what happens to the connection from now on as a stream. A stream that is not read keeps the first 256 events and
    /// misses the others.
    pub fn events(&self) -> ManagerEvents {
        let (sender, events) = ManagerEvents::new();
        self.shared().core().listeners.push(sender);
        events
    }

    /// The address that requests go to.
    pub fn url(&self) -> String {
        self.shared().config.url.to_string()
    }

    /// The value of this type that the manager was given.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared().config.state.get()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(crate) fn downgrade(&self) -> Weak<Handle> {
        Arc::downgrade(&self.0)
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("url", &self.url()).finish_non_exhaustive()
    }
}
