use std::{error::Error as StdError, fmt, future::Future, sync::Arc};

use serde::Serialize;

use crate::{
    BuildError, Manager,
    settings::auth,
    state::socket::{SocketShared, SocketState},
};

/// The client's end of one namespace. Cheap to clone, and usable from any task or thread.
#[derive(Clone)]
pub struct Socket {
    manager: Manager,
    pub(crate) shared: Arc<SocketShared>,
}

impl Manager {
    /// The socket of this namespace, made if it is new; it is not connected yet. A missing leading slash is added.
    pub fn socket(&self, namespace: &str) -> Socket {
        let namespace = if namespace.starts_with('/') { namespace.to_owned() } else { format!("/{namespace}") };
        let mut core = self.shared().core();
        let known = core.sockets.iter().find(|socket| *socket.shared.namespace == *namespace);
        let shared = known.map(|known| known.shared.clone()).unwrap_or_else(|| core.add_socket(namespace));
        drop(core);
        Socket::new(self.clone(), shared)
    }
}

impl Socket {
    pub(crate) fn new(manager: Manager, shared: Arc<SocketShared>) -> Self {
        Self { manager, shared }
    }

    /// The namespace, with its leading slash.
    pub fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    /// The manager.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// The id that the server gave the socket, while it is connected.
    pub fn id(&self) -> Option<Arc<str>> {
        self.with(|socket| socket.membership.id().cloned()).flatten()
    }

    /// Whether the socket is connected.
    pub fn is_connected(&self) -> bool {
        self.with(|socket| socket.membership.is_connected()).unwrap_or_default()
    }

    /// Whether the socket is connected, is being connected, or reconnects by itself.
    pub fn is_active(&self) -> bool {
        self.with(|socket| socket.membership.is_active()).unwrap_or_default()
    }

    /// Whether the server restored the session before this one, and sent what the socket missed.
    pub fn is_recovered(&self) -> bool {
        self.with(|socket| socket.membership.is_recovered()).unwrap_or_default()
    }

    /// How many events wait for the socket to be connected, or with [`Retries`](crate::Retries) to be acknowledged.
    /// What is sent and not read by the server yet is [`Manager::backlog`].
    pub fn buffered(&self) -> usize {
        self.with(|socket| socket.buffered()).unwrap_or_default()
    }

    /// Sets the authentication data that CONNECT carries from the next connect on: anything that serialises to an object.
    ///
    /// # Errors
    /// If the data does not serialise to an object.
    pub fn set_auth(&self, auth: impl Serialize) -> Result<(), BuildError> {
        let auth = auth::value(&auth)?;
        self.with(|socket| socket.auth = Some(auth));
        Ok(())
    }

    /// Sets a function that makes the authentication data, called at every connect and reconnect. It may use the socket; a
    /// function that captures the socket keeps the manager from ever being dropped.
    ///
    /// If the function fails during a reconnect, the socket calls it again later, after the delays of
    /// [`reconnection`](crate::ManagerBuilder::reconnection).
    pub fn set_auth_with<F, Fut, T, E>(&self, auth: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let auth = auth::function(auth);
        self.with(|socket| socket.auth = Some(auth));
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut SocketState) -> R) -> Option<R> {
        self.manager.shared().core().sockets.get_mut(self.shared.index).map(act)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("namespace", &self.namespace()).field("id", &self.id()).finish_non_exhaustive()
    }
}
