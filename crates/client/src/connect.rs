use tokio::sync::oneshot;

use crate::{BuildError, ConnectError, Manager, ManagerBuilder, Socket, error::ConnectErrorKind, task};

/// Connects to the namespace that is the address's path, with default settings: `http://host:port/namespace`.
///
/// # Errors
/// If the address is not valid, or as [`Socket::connect`].
pub async fn connect(address: &str) -> Result<Socket, ConnectError> {
    Manager::builder(address).connect().await
}

impl ManagerBuilder {
    /// Makes the manager. Nothing is connected yet.
    ///
    /// # Errors
    /// The first setting that is not valid.
    pub fn build(self) -> Result<Manager, BuildError> {
        self.into_config().map(Manager::new)
    }

    /// Makes the manager, joins the namespace that is the address's path, and waits until it is connected.
    ///
    /// # Errors
    /// If a setting is not valid, or as [`Socket::connect`].
    pub async fn connect(self) -> Result<Socket, ConnectError> {
        let namespace = self.namespace().to_owned();
        let manager = self.build().map_err(|error| ConnectError::with_source(ConnectErrorKind::Build, error))?;
        let socket = manager.socket(&namespace);
        socket.connect().await?;
        Ok(socket)
    }
}

impl Manager {
    /// Begins with the server's address. Schemes are `http`, `https`, `ws` and `wss`; the path is the namespace that
    /// [`ManagerBuilder::connect`] joins, and the query goes into every handshake.
    pub fn builder(address: &str) -> ManagerBuilder {
        ManagerBuilder::new(address)
    }

    /// Connects all sockets that were made, over one connection, and waits until they are connected. Without any, it
    /// connects the socket of the namespace `/`.
    ///
    /// # Errors
    /// The first error of a socket, as for [`Socket::connect`]; the other sockets may be connected then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let outcomes: Vec<_> = {
            let mut core = self.shared().core();
            let namespaces: Vec<_> = core.sockets.iter().map(|socket| socket.shared.namespace.to_string()).collect();
            namespaces.into_iter().enumerate().map(|(index, namespace)| (namespace, core.connect(index))).collect()
        };
        if outcomes.is_empty() {
            return self.socket("/").connect().await;
        }
        task::start(self);
        for (namespace, outcome) in outcomes {
            wait(namespace, outcome).await?;
        }
        Ok(())
    }

    /// Disconnects all sockets, sends what was emitted before, and closes the connection, which takes at most `close_timeout`.
    /// It does not wait for handlers that still run. If a socket is connected again meanwhile, the connection stays open and
    /// this method returns.
    pub async fn disconnect(&self) {
        let closed = {
            let mut core = self.shared().core();
            core.disconnect_all();
            if !core.running {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            core.closed.push(sender);
            receiver
        };
        // An error means that the task is gone, and the connection with it.
        let _closed = closed.await;
    }
}

impl Socket {
    /// Connects and waits until the server has answered CONNECT. Events that are emitted meanwhile are sent afterwards.
    ///
    /// # Errors
    /// Why no connection could be opened, or why the server refuses. The first attempt is not repeated, unless
    /// [`retry_first`](crate::ManagerBuilder::retry_first) is set; a refusal is final.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let outcome = self.manager().shared().core().connect(self.shared.index);
        task::start(self.manager());
        wait(self.namespace().to_owned(), outcome).await
    }

    /// Waits until the socket is connected, if it is being connected or reconnected.
    ///
    /// # Errors
    /// Why the socket was disconnected or given up.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        let (sender, outcome) = oneshot::channel();
        // The sender is dropped, which is an error to the receiver, if the socket was never to be connected.
        self.with(|socket| socket.tell_when_connected(sender));
        wait(self.namespace().to_owned(), outcome).await
    }

    /// Leaves the namespace, after what was emitted before. With its last socket the connection is closed.
    pub fn disconnect(&self) {
        self.manager().shared().core().disconnect(self.shared.index);
    }
}

async fn wait(namespace: String, outcome: oneshot::Receiver<Result<(), ConnectError>>) -> Result<(), ConnectError> {
    // The sender is dropped unused only if the task was ended from outside, as by a runtime that shuts down.
    outcome.await.unwrap_or_else(|_| Err(ConnectErrorKind::Cancelled { namespace }.into()))
}
