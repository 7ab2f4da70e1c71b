use std::{error::Error as StdError, fmt, future::Future, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    BuildError, Direct, Events, Manager,
    handles::handler::{Handler, OnConnect, OnConnectError, OnDisconnect, OnEvent, erase},
    settings::auth::Auth,
    state::{
        handlers::Handlers,
        socket::{SocketShared, SocketState},
    },
};

/// The client's end of one namespace. Cheap to clone, and usable from any task or thread.
#[derive(Clone)]
pub struct Socket {
    manager: Manager,
    pub(crate) shared: Arc<SocketShared>,
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
        let auth = Auth::value(&auth)?;
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
        let auth = Auth::function(auth);
        self.with(|socket| socket.auth = Some(auth));
    }

    /// Adds a handler of an event. The events of a socket are handled one after the other, in the order in which they
    /// arrive. Several handlers of one event run in the order in which they were added, and the first that answers the
    /// acknowledgement wins.
    ///
    /// Handlers run in the manager's task. While a handler awaits, later events of its socket wait, but acknowledgements
    /// do not, so that it may await one. A handler takes the [`Socket`] as its parameter; one that captures it keeps the
    /// manager from ever being dropped.
    pub fn on<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| handlers.events.on(event, handler, false))
    }

    /// Adds a handler that runs for the next event of this name only.
    pub fn once<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| handlers.events.on(event, handler, true))
    }

    /// Adds a handler of every event, which runs before the event's own handlers.
    pub fn on_any<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.any, handler))
    }

    /// Adds a handler of the events that have no handler of their own.
    pub fn on_fallback<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.fallback, handler))
    }

    /// Adds a handler that runs when the socket is connected, for the first time or again.
    pub fn on_connect<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.connect, handler))
    }

    /// Adds a handler that runs when the socket was connected and is not any more. It may take the
    /// [reason](crate::Reason).
    pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<OnDisconnect, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.disconnect, handler))
    }

    /// Adds a handler that runs when an attempt to connect fails. It may take the [`ConnectError`](crate::ConnectError).
    pub fn on_connect_error<P: 'static>(&self, handler: impl Handler<OnConnectError, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.connect_error, handler))
    }

    /// Removes all handlers of an event.
    pub fn off(&self, event: &str) -> &Self {
        self.change(|handlers| handlers.events.off(event))
    }

    /// Returns the events from now on as a stream. Each event goes to the streams and to the handlers.
    pub fn events(&self) -> Events {
        let (sender, events) = Events::new();
        self.change(|handlers| {
            let open = handlers.streams.iter().filter(|stream| !stream.is_closed()).cloned();
            handlers.streams = open.chain([sender]).collect();
        });
        events
    }

    /// What is emitted through the result is dropped if it cannot be sent at once: if the socket is not connected, or
    /// what was emitted before is not written yet.
    pub fn volatile(&self) -> Direct {
        Direct::new(self.clone()).volatile()
    }

    /// Acknowledgements asked for through the result are waited for this long.
    pub fn timeout(&self, timeout: Duration) -> Direct {
        Direct::new(self.clone()).timeout(timeout)
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut SocketState) -> R) -> Option<R> {
        self.manager.shared().core().sockets.get_mut(self.shared.index).map(act)
    }

    fn change(&self, change: impl FnOnce(&mut Handlers)) -> &Self {
        change(&mut self.shared.handlers.write());
        self
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("namespace", &self.namespace()).field("id", &self.id()).finish_non_exhaustive()
    }
}

fn add<T: Clone>(handlers: &mut Arc<[T]>, handler: T) {
    *handlers = handlers.iter().cloned().chain([handler]).collect();
}
