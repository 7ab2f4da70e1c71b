//! The client without `async`, for scripts.
//!
//! A [`Manager`] runs in its own thread. Its handlers are plain closures, which run in that thread one after the other.
//! They must not call methods that wait, such as [`Socket::call`].
//!
//! ```no_run
//! let socket = sockeye_client::blocking::connect("http://127.0.0.1:3000")?;
//! socket.emit("chat", "hello")?;
//! let answer: String = socket.call("echo", &"hello")?;
//! println!("the server answers {answer}");
//! socket.manager().disconnect();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::{future::Future, io, sync::Arc, thread, time::Duration};

use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::Arguments;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    time::timeout,
};

use crate::{
    AckError, ConnectError, DisconnectReason, EmitError, Event, ManagerBuilder, Reason,
    error::ConnectErrorKind,
    handles::handler::{EventContext, FromContext, HasSocket as _, Rejection},
};

/// One connection to a server and its sockets, driven by a thread that ends with the last handle.
#[derive(Debug, Clone)]
pub struct Manager {
    inner: crate::Manager,
    thread: Arc<Thread>,
}

/// The client's end of one namespace.
#[derive(Debug, Clone)]
pub struct Socket {
    inner: crate::Socket,
    manager: Manager,
}

/// Emits by one socket with other settings than the manager's; see [`crate::Direct`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until something is emitted"]
pub struct Direct {
    inner: crate::Direct,
    thread: Arc<Thread>,
}

/// The events of one socket, in order.
#[derive(Debug)]
pub struct Events {
    inner: crate::Events,
    thread: Arc<Thread>,
}

/// Connects to the namespace that is the address's path, with default settings.
///
/// # Errors
/// As [`crate::connect`].
pub fn connect(address: &str) -> Result<Socket, ConnectError> {
    let builder = crate::Manager::builder(address);
    let namespace = builder.namespace().to_owned();
    let socket = Manager::new(builder)?.socket(&namespace);
    socket.connect()?;
    Ok(socket)
}

impl Manager {
    /// Makes a manager of these settings, and its thread. Nothing is connected yet.
    ///
    /// # Errors
    /// If a setting is not valid, or the thread cannot be started.
    pub fn new(builder: ManagerBuilder) -> Result<Self, ConnectError> {
        let inner = builder.build().map_err(|error| ConnectError::with_source(ConnectErrorKind::Build, error))?;
        let thread = Thread::start().map_err(|error| ConnectError::with_source(ConnectErrorKind::Build, error))?;
        Ok(Self { inner, thread: Arc::new(thread) })
    }

    /// The socket of this namespace; it is not connected yet.
    pub fn socket(&self, namespace: &str) -> Socket {
        Socket { inner: self.inner.socket(namespace), manager: self.clone() }
    }

    /// Connects all sockets that were made, and waits until they are connected.
    ///
    /// # Errors
    /// As [`crate::Manager::connect`].
    pub fn connect(&self) -> Result<(), ConnectError> {
        self.thread.run(self.inner.connect())
    }

    /// Disconnects all sockets, after what was emitted before has been sent.
    pub fn disconnect(&self) {
        self.thread.run(self.inner.disconnect());
    }
}

impl Socket {
    /// The manager.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// The namespace, with its leading slash.
    pub fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    /// The id that the server gave the socket, while it is connected.
    pub fn id(&self) -> Option<Arc<str>> {
        self.inner.id()
    }

    /// Whether the socket is connected.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// Connects and waits until the server has answered CONNECT.
    ///
    /// # Errors
    /// As [`crate::Socket::connect`].
    pub fn connect(&self) -> Result<(), ConnectError> {
        self.manager.thread.run(self.inner.connect())
    }

    /// Leaves the namespace.
    pub fn disconnect(&self) {
        self.inner.disconnect();
    }

    /// Adds a handler of an event.
    pub fn on(&self, event: &str, handler: impl Fn(Event) + Send + Sync + 'static) -> &Self {
        let handler = Arc::new(handler);
        self.inner.on(event, async move |event: Event| handler(event));
        self
    }

    /// Adds a handler that runs when the socket is connected, for the first time or again.
    pub fn on_connect(&self, handler: impl Fn() + Send + Sync + 'static) -> &Self {
        let handler = Arc::new(handler);
        self.inner.on_connect(async move || handler());
        self
    }

    /// Adds a handler that runs when the socket was connected and is not any more.
    pub fn on_disconnect(&self, handler: impl Fn(DisconnectReason) + Send + Sync + 'static) -> &Self {
        let handler = Arc::new(handler);
        self.inner.on_disconnect(async move |Reason(reason): Reason| handler(reason));
        self
    }

    /// The events from now on.
    pub fn events(&self) -> Events {
        Events { inner: self.inner.events(), thread: self.manager.thread.clone() }
    }

    /// Emits an event; it does not wait.
    ///
    /// # Errors
    /// As [`crate::Socket::emit`].
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.inner.emit(event, args)
    }

    /// Emits an event and waits for its acknowledgement, at most for the manager's `ack_timeout`.
    ///
    /// # Errors
    /// As [`crate::AckFuture`].
    pub fn call<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> Result<T, AckError> {
        self.manager.thread.run(self.inner.emit_with_ack(event, args))
    }

    /// Sets how long [`call`](Direct::call) waits: `socket.timeout(limit).call(..)`.
    pub fn timeout(&self, timeout: Duration) -> Direct {
        Direct { inner: self.inner.timeout(timeout), thread: self.manager.thread.clone() }
    }

    /// Makes emits volatile, as [`crate::Socket::volatile`] does.
    pub fn volatile(&self) -> Direct {
        Direct { inner: self.inner.volatile(), thread: self.manager.thread.clone() }
    }

    /// Waits until everything that was emitted is written.
    pub fn flushed(&self) {
        self.manager.thread.run(self.inner.flushed());
    }
}

impl Direct {
    /// Sets how long [`call`](Self::call) waits, instead of the manager's `ack_timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { inner: self.inner.timeout(timeout), ..self }
    }

    /// Makes emits volatile, as [`crate::Direct::volatile`] does.
    pub fn volatile(self) -> Self {
        Self { inner: self.inner.volatile(), ..self }
    }

    /// Emits an event; it does not wait.
    ///
    /// # Errors
    /// As [`crate::Direct::emit`].
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.inner.emit(event, args)
    }

    /// Emits an event and waits for its acknowledgement.
    ///
    /// # Errors
    /// As [`crate::AckFuture`].
    pub fn call<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> Result<T, AckError> {
        self.thread.run(self.inner.emit_with_ack(event, args))
    }
}

impl Events {
    /// Waits for the next event, at most for `limit`; `None` if none has arrived by then.
    pub fn next_timeout(&mut self, limit: Duration) -> Option<Event> {
        let Self { inner, thread } = self;
        thread.run(async { timeout(limit, inner.next()).await.ok().flatten() })
    }
}

impl Iterator for Events {
    type Item = Event;

    /// Waits for the next event.
    fn next(&mut self) -> Option<Event> {
        let Self { inner, thread } = self;
        thread.run(inner.next())
    }
}

impl FromContext<EventContext<'_>> for Event {
    fn from_context(context: &mut EventContext<'_>) -> Result<Self, Rejection> {
        let ack = context.take_ack();
        Ok(Self { socket: context.socket().clone(), name: context.name().into(), args: context.args().to_owned(), ack })
    }
}

/// A thread with a runtime. Dropping this ends the thread.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("sockeye-client".to_owned()).spawn(move || {
            // It ends when the sender is dropped, which is an error to the receiver.
            runtime.block_on(async { drop(stopped.await) });
        })?;
        Ok(Self { runtime: handle, _stop: stop })
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}
