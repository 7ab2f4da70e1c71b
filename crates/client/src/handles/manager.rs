use std::{
    fmt,
    sync::{Arc, Weak, atomic::AtomicU64},
};

use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::{
    ConnectError, ManagerBuilder, ManagerEvents, Socket, Transport,
    config::Config,
    connection::transport::random_bytes,
    task::core::{Handle, Handlers, Shared, SocketCore, SocketInner},
};

/// One connection to a server, shared by the [`Socket`]s of several namespaces. Cheap to clone.
///
/// A manager runs in one task, which is there from the first `connect` to the last disconnect. When the last handle,
/// of the manager or of one of its sockets, is dropped, the connection is closed: keep one for as long as handlers are
/// to run.
#[derive(Clone)]
pub struct Manager(pub(crate) Arc<Handle>);

/// Connects to the namespace that is the address's path, with default settings: `http://host:port/namespace`.
///
/// # Errors
/// If the address is not valid, or as [`Socket::connect`].
pub async fn connect(address: &str) -> Result<Socket, ConnectError> {
    Manager::builder(address).connect().await
}

impl Manager {
    /// Begins with the server's address. Schemes are `http`, `https`, `ws` and `wss`; the path is the namespace that
    /// [`ManagerBuilder::connect`] joins, and the query goes into every handshake.
    pub fn builder(address: &str) -> ManagerBuilder {
        ManagerBuilder::new(address)
    }

    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(Handle { shared: Arc::new(Shared::new(config)) }))
    }

    /// The socket of this namespace, made if it is new; it is not connected yet. A missing leading slash is added.
    pub fn socket(&self, namespace: &str) -> Socket {
        let namespace = if namespace.starts_with('/') { namespace.to_owned() } else { format!("/{namespace}") };
        let mut core = self.shared().core();
        let known = core.sockets.iter().find(|socket| *socket.socket.namespace == *namespace);
        let inner = known.map(|known| known.socket.clone()).unwrap_or_else(|| {
            let inner = Arc::new(SocketInner {
                namespace: namespace.into(),
                index: core.sockets.len(),
                tag: format!("{:016x}", u64::from_ne_bytes(random_bytes())).into(),
                next_ack: AtomicU64::new(0),
                handlers: RwLock::new(Handlers::default()),
            });
            // Nearly all managers have one socket, for which a growing vector would keep room for four.
            let room = usize::from(core.sockets.is_empty());
            core.sockets.reserve_exact(room);
            core.sockets.push(SocketCore::new(inner.clone(), self.shared().config.auth.clone()));
            inner
        });
        drop(core);
        Socket::new(self.clone(), inner)
    }

    /// Connects all sockets that were made, over one connection, and waits until they are connected. Without any, it
    /// is that of the namespace `/`.
    ///
    /// # Errors
    /// The first error of a socket, as [`Socket::connect`] has it; the others may be connected then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let waiters: Vec<_> = {
            let mut core = self.shared().core();
            let waiters = core.sockets.iter_mut().map(crate::handles::socket::begin_connect).collect();
            if !core.sockets.is_empty() {
                self.shared().start(&self.downgrade(), core);
            }
            waiters
        };
        if waiters.is_empty() {
            return self.socket("/").connect().await;
        }
        for (namespace, waiter) in waiters {
            crate::handles::socket::await_connect(namespace, waiter).await?;
        }
        Ok(())
    }

    /// Disconnects all sockets and closes the connection, after what was emitted before has been sent, for which it
    /// takes at most the `close_timeout`. Handlers at work are not waited for, nor is the end of a connection that stays
    /// because somebody connects a socket again meanwhile.
    pub async fn disconnect(&self) {
        let closed = {
            let mut core = self.shared().core();
            for index in 0..core.sockets.len() {
                self.shared().leave(&mut core, index);
            }
            if !core.running {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            core.closed.push(sender);
            core.wake();
            receiver
        };
        // An error means that the task is gone, and the connection with it.
        let _closed = closed.await;
    }

    /// Whether a connection is open.
    pub fn is_open(&self) -> bool {
        self.shared().core().open.is_some()
    }

    /// The transport of the open connection.
    pub fn transport(&self) -> Option<Transport> {
        self.shared().core().open.as_ref().map(|open| open.0)
    }

    /// How many bytes wait to be written to the open connection: if they stay, the server does not read.
    pub fn backlog(&self) -> usize {
        self.shared().core().waiting_bytes()
    }

    /// The id of the open Engine.IO session.
    pub fn sid(&self) -> Option<Arc<str>> {
        self.shared().core().open.as_ref().map(|open| open.1.clone())
    }

    /// What happens to the connection from now on.
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
