use std::{error::Error as StdError, fmt, future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned, ser::SerializeSeq};
use sockeye_handler::guarded;
use sockeye_protocol::socketio::{Arguments, is_reserved};
use tokio::sync::oneshot;

use crate::{
    AckError, AckFuture, BuildError, ConnectError, EmitError, Events, Manager,
    config::Auth,
    connection::packet::{Origin, Outgoing},
    error::{AckErrorKind, ConnectErrorKind, EmitErrorKind},
    handles::ack::Outcome,
    handles::handler::{AckId, Acknowledge, Handler, OnConnect, OnConnectError, OnDisconnect, OnEvent, erase},
    task::core::{Handlers, SocketCore, SocketInner, State},
};

/// The client's end of one namespace. Cheap to clone, and usable from any task or thread.
#[derive(Clone)]
pub struct Socket {
    manager: Manager,
    inner: Arc<SocketInner>,
}

type Waiter = oneshot::Receiver<Result<(), ConnectError>>;

impl Socket {
    pub(crate) fn new(manager: Manager, inner: Arc<SocketInner>) -> Self {
        Self { manager, inner }
    }

    /// The namespace, with its leading slash.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// The manager.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// The id the server knows it by, while it is connected.
    pub fn id(&self) -> Option<Arc<str>> {
        self.with(|socket| socket.id.clone()).flatten()
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.with(|socket| socket.state == State::Joined).unwrap_or_default()
    }

    /// Whether it is connected or will be, unless something goes wrong.
    pub fn is_active(&self) -> bool {
        self.with(|socket| socket.active).unwrap_or_default()
    }

    /// Whether the server restored the state of the connection before this one, and sent what was missed.
    pub fn is_recovered(&self) -> bool {
        self.with(|socket| socket.recovered).unwrap_or_default()
    }

    /// How many events wait for the namespace to be connected, or with [`Retries`](crate::Retries) to be acknowledged.
    /// What a connection has taken and the server does not read is [`Manager::backlog`].
    pub fn buffered(&self) -> usize {
        self.with(|socket| socket.buffer.len() + socket.retry.len()).unwrap_or_default()
    }

    /// Connects and waits until the server has let the client in. What is emitted meanwhile is sent afterwards.
    ///
    /// # Errors
    /// Why no connection could be opened, or why the server refuses. The first attempt is not repeated, unless
    /// [`retry_first`](crate::ManagerBuilder::retry_first) is set; a refusal never is.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let shared = self.manager.shared();
        let (namespace, waiter) = {
            let mut core = shared.core();
            let Some(socket) = core.sockets.get_mut(self.inner.index) else { return Ok(()) };
            let waiter = begin_connect(socket);
            shared.start(&self.manager.downgrade(), core);
            waiter
        };
        await_connect(namespace, waiter).await
    }

    /// Waits until the socket is connected, if it is being connected or reconnected.
    ///
    /// # Errors
    /// Why it is not going to be connected: what its last try failed of, or that it was not to be.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        let namespace = self.namespace().to_owned();
        let (sender, waiter) = oneshot::channel();
        // The sender is dropped, which is an error to the waiter, if nothing is under way.
        self.with(|socket| {
            if socket.active {
                socket.waiters.push(sender);
            } else if let Some(error) = &socket.end {
                let _sent = sender.send(Err(error.clone()));
            }
            if socket.state == State::Joined {
                socket.succeed_waiters();
            }
        });
        await_connect(namespace, waiter).await
    }

    /// Leaves the namespace; what was emitted before is sent. With its last socket the connection is closed.
    pub fn disconnect(&self) {
        let shared = self.manager.shared();
        let mut core = shared.core();
        shared.leave(&mut core, self.inner.index);
        core.wake();
    }

    /// Sets what is sent along with the request to join, from the next connect on: anything that serialises to an
    /// object.
    ///
    /// # Errors
    /// If it doesn't.
    pub fn set_auth(&self, auth: impl Serialize) -> Result<(), BuildError> {
        let auth = Auth::value(&auth)?;
        self.with(|socket| socket.auth = Some(auth));
        Ok(())
    }

    /// Like [`set_auth`](Self::set_auth), but asked for anew at every connect and reconnect. The function may use the
    /// socket; one that captures it keeps the manager from ever being dropped.
    ///
    /// If it fails when the socket is connected again, that is tried again later, as
    /// [`reconnection`](crate::ManagerBuilder::reconnection) says.
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

    /// Handles an event. The events of a socket are handled one after the other, in the order they came; several
    /// handlers of one event run in the order they were added, and the first that answers the acknowledgement wins.
    ///
    /// Handlers run in the manager's task. One that waits, holds up the events behind it, but not acknowledgements,
    /// so that it may await one. A handler takes the [`Socket`] as its parameter: one that captures it keeps the
    /// manager from ever being dropped.
    pub fn on<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| handlers.events.on(event, handler, false))
    }

    /// Handles the next event of this name, and no other.
    pub fn once<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| handlers.events.on(event, handler, true))
    }

    /// Handles every event, before its own handlers.
    pub fn on_any<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.any, handler))
    }

    /// Handles every event that has no handler of its own.
    pub fn on_fallback<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.fallback, handler))
    }

    /// Handles the socket being connected, for the first time or again. Several such handlers run in the order they
    /// were added.
    pub fn on_connect<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.connect, handler))
    }

    /// Handles the socket being no longer connected, with the [reason](crate::Reason). Several such handlers run in the
    /// order they were added.
    pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<OnDisconnect, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.disconnect, handler))
    }

    /// Handles failures to connect, with the [`ConnectError`]. Several such handlers run in the order they were
    /// added.
    pub fn on_connect_error<P: 'static>(&self, handler: impl Handler<OnConnectError, P>) -> &Self {
        let handler = erase(handler);
        self.change(|handlers| add(&mut handlers.connect_error, handler))
    }

    /// Removes the handlers of an event.
    pub fn off(&self, event: &str) -> &Self {
        self.change(|handlers| handlers.events.off(event))
    }

    /// The events from now on, as a stream. They come to it and to the handlers alike.
    pub fn events(&self) -> Events {
        let (sender, events) = Events::new();
        self.change(|handlers| {
            let open = handlers.streams.iter().filter(|stream| !stream.is_closed()).cloned();
            handlers.streams = open.chain([sender]).collect();
        });
        events
    }

    /// Emits an event. Pass `&data` for one argument, a tuple for several, `()` for none.
    ///
    /// While the socket is not connected, the event waits in the send buffer, also before the first connect. With
    /// [`Retries`](crate::Retries) it is sent until it is acknowledged.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, the buffer is full, or the socket was disconnected for
    /// good.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.send_event(event, &args, false, None)
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Emits an event that is dropped if it cannot be sent at once: if the socket is not connected, or what was
    /// emitted before is not written yet.
    ///
    /// # Errors
    /// If the data cannot be serialised or the name is reserved.
    pub fn emit_volatile(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.send_event(event, &args, true, None)
    }

    /// Emits an event and asks the server to acknowledge it. The future resolves to the answer's first argument.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        let (sender, receiver) = oneshot::channel();
        let limit = self.manager.shared().config.ack_timeout;
        let id = self.inner.next_ack();
        match self.send_event(event, &args, false, Some((id, sender))) {
            Ok(()) => AckFuture::waiting(self.clone(), id, receiver, limit),
            Err(error) => AckFuture::failed(error),
        }
    }

    /// Emits an event and calls `callback` with the first argument of the server's acknowledgement, or with all of them if
    /// `T` is a tuple, or with why none came.
    ///
    /// A handler that awaits an acknowledgement holds up the later events of its socket. This does not: it returns at once,
    /// and the callback runs in a task of its own, possibly while a handler of the same socket runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn emit_with_callback<T, F, Fut>(&self, event: &str, args: impl Arguments, callback: F)
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (answer, namespace) = (self.emit_with_ack(event, args), self.namespace().to_owned());
        tokio::spawn(async move {
            let answer = answer.await;
            if let Err(panic) = guarded(async { callback(answer).await }).await {
                tracing::error!(namespace, panic, "the callback of an acknowledgement panicked");
            }
        });
    }

    /// Waits until everything that was emitted is written to the connection, and with [`Retries`](crate::Retries)
    /// acknowledged. It waits through reconnects, and ends at once when the manager is disconnected.
    pub async fn flushed(&self) {
        let flushed = {
            let mut core = self.manager.shared().core();
            if !core.running {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            core.flushed.push(sender);
            core.wake();
            receiver
        };
        // An error means that the task is gone.
        let _flushed = flushed.await;
    }

    /// Sends what waits, because its answer is about to be waited for.
    pub(crate) fn flush(&self) {
        self.manager.shared().flush();
    }

    /// Stops waiting for an acknowledgement.
    pub(crate) fn forget_ack(&self, id: u64) {
        self.with(|socket| drop(socket.acks.remove(&id)));
    }

    /// Takes an event back that was not sent yet.
    pub(crate) fn withdraw(&self, id: u64) {
        let mut core = self.manager.shared().core();
        let unwritten = core.waiting_bytes() > 0;
        if let Some(socket) = core.sockets.get_mut(self.inner.index) {
            socket.withdraw(id, unwritten);
        }
    }

    fn send_event(
        &self,
        event: &str,
        args: &impl Arguments,
        volatile: bool,
        ack: Option<(u64, oneshot::Sender<Outcome>)>,
    ) -> Result<(), EmitError> {
        if is_reserved(event) {
            return Err(EmitErrorKind::ReservedName(event.to_owned()).into());
        }
        let shared = self.manager.shared();
        let config = &shared.config;
        if let (Some(retries), false) = (&config.retries, volatile) {
            let (id, sender) = match ack {
                Some((id, sender)) => (id, Some(sender)),
                None => (self.inner.next_ack(), None),
            };
            let packet = if retries.ids {
                let tagged = Tagged { args, id: format!("{}-{id}", self.inner.tag) };
                config.parser.event(self.namespace(), Some(id), event, &tagged)
            } else {
                config.parser.event(self.namespace(), Some(id), event, args)
            };
            return self.push_retry(packet.map_err(not_encoded)?, sender);
        }
        let (id, sender) = ack.unzip();
        let packet = config.parser.event(self.namespace(), id, event, args).map_err(not_encoded)?;
        // What is volatile is not for the connection after this one.
        let origin = if volatile { Origin::Connection } else { Origin::Event(self.inner.index) };
        self.push(Outgoing { origin, ..packet }, volatile, sender)
    }

    fn push(
        &self,
        packet: Outgoing,
        volatile: bool,
        sender: Option<oneshot::Sender<Outcome>>,
    ) -> Result<(), EmitError> {
        let limits = &self.manager.shared().config.send_buffer;
        let mut core = self.manager.shared().core();
        let full = core.waiting_bytes() + packet.len() > limits.bytes || core.outbox.len() >= limits.packets;
        let busy = core.backlog > 0;
        let Some(socket) = core.sockets.get_mut(self.inner.index) else { return Ok(()) };
        match socket.state {
            State::Joined if volatile && (busy || full) => {}
            State::Joined if full => return Err(self.buffer_full()),
            State::Joined => match (packet.ack, sender) {
                (Some(ack), Some(sender)) => {
                    let alone = socket.acks.is_empty();
                    socket.acks.insert(ack, sender);
                    self.manager.shared().send_awaited(core, packet, alone);
                }
                _ => core.push(packet),
            },
            State::Apart | State::Joining if volatile => {}
            State::Apart | State::Joining if socket.ended => return Err(self.disconnected()),
            State::Apart | State::Joining => {
                let ack = packet.ack;
                let dropped = socket.buffer.push(packet, limits).map_err(|_| self.buffer_full())?;
                socket.acks.extend(ack.zip(sender));
                for ack in dropped.into_iter().filter_map(|packet| packet.ack) {
                    socket.resolve_ack(ack, Err(AckErrorKind::Dropped));
                }
            }
        }
        Ok(())
    }

    fn push_retry(&self, packet: Outgoing, sender: Option<oneshot::Sender<Outcome>>) -> Result<(), EmitError> {
        let mut core = self.manager.shared().core();
        let Some(socket) = core.sockets.get_mut(self.inner.index) else { return Ok(()) };
        if socket.ended {
            return Err(self.disconnected());
        }
        let ack = packet.ack;
        socket.retry.push(packet, &self.manager.shared().config.send_buffer).map_err(|_| self.buffer_full())?;
        socket.acks.extend(ack.zip(sender));
        if socket.state == State::Joined {
            core.wake();
        }
        Ok(())
    }

    fn with<R>(&self, act: impl FnOnce(&mut SocketCore) -> R) -> Option<R> {
        self.manager.shared().core().sockets.get_mut(self.inner.index).map(act)
    }

    fn change(&self, change: impl FnOnce(&mut Handlers)) -> &Self {
        change(&mut self.inner.handlers.write());
        self
    }

    fn disconnected(&self) -> EmitError {
        EmitErrorKind::Disconnected { namespace: self.namespace().to_owned() }.into()
    }

    fn buffer_full(&self) -> EmitError {
        EmitErrorKind::BufferFull { namespace: self.namespace().to_owned() }.into()
    }
}

impl Acknowledge for Socket {
    type Error = EmitError;

    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), EmitError> {
        let shared = self.manager.shared();
        let packet = shared.config.parser.ack(self.namespace(), id.number, args).map_err(not_encoded)?;
        let mut core = shared.core();
        let socket = core.sockets.get(self.inner.index);
        // Those who ask number their questions anew for each connection: a late answer would be one to another question.
        if socket.is_none_or(|socket| socket.state != State::Joined || socket.stay != id.stay) {
            return Err(self.disconnected());
        }
        core.push(packet);
        Ok(())
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("namespace", &self.namespace()).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Marks a socket as one to be connected, and promises to say when it is.
pub(crate) fn begin_connect(socket: &mut SocketCore) -> (String, Waiter) {
    let (sender, receiver) = oneshot::channel();
    socket.was_joined &= socket.active;
    socket.active = true;
    socket.ended = false;
    socket.end = None;
    socket.waiters.push(sender);
    if socket.state == State::Joined {
        socket.succeed_waiters();
    }
    (socket.socket.namespace.to_string(), receiver)
}

pub(crate) async fn await_connect(namespace: String, waiter: Waiter) -> Result<(), ConnectError> {
    // The sender is dropped unused only if the task was ended from outside, as by a runtime that shuts down.
    waiter.await.unwrap_or_else(|_| Err(ConnectErrorKind::Cancelled { namespace }.into()))
}

fn add<T: Clone>(handlers: &mut Arc<[T]>, handler: T) {
    *handlers = handlers.iter().cloned().chain([handler]).collect();
}

fn not_encoded(error: sockeye_protocol::socketio::EncodeError) -> EmitError {
    EmitError::with_source(EmitErrorKind::Encode, error)
}

/// Arguments with an id behind them.
struct Tagged<'a, A> {
    args: &'a A,
    id: String,
}

impl<A: Arguments> Arguments for Tagged<'_, A> {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.args.serialize_elements(seq)?;
        seq.serialize_element(&self.id)
    }

    fn count(&self) -> usize {
        self.args.count() + 1
    }
}
