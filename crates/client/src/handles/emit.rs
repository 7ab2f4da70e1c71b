use std::{future::Future, time::Duration};

use serde::{de::DeserializeOwned, ser::SerializeSeq};
use sockeye_handler::guarded;
use sockeye_protocol::socketio::{Arguments, EncodeError, is_reserved};
use tokio::sync::oneshot;

use crate::{
    AckError, AckFuture, EmitError, Socket,
    connection::packet::{Origin, Outgoing},
    error::{AckErrorKind, EmitErrorKind},
    handles::handler::{AckId, Acknowledge},
    state::socket::AckOutcome,
};

impl Socket {
    /// Emits an event. Pass `&data` for one argument, a tuple for several, `()` for none.
    ///
    /// While the socket is not connected, the event waits in the send buffer, also before the first connect. With
    /// [`Retries`](crate::Retries) it is sent until it is acknowledged.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, the buffer is full, or the socket was disconnected or
    /// given up.
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

    /// Emits an event and waits for the server's acknowledgement, for as long as the manager's `ack_timeout`.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        Direct::new(self.clone()).emit_with_ack(event, args)
    }

    /// Emits an event and calls `callback` with the server's acknowledgement, or with the error that none came.
    ///
    /// A handler uses this where it must not wait: while it awaits, later events of its socket wait too.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn emit_with_callback<T, Fut>(
        &self,
        event: &str,
        args: impl Arguments,
        callback: impl FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
    ) where
        T: DeserializeOwned + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Direct::new(self.clone()).emit_with_callback(event, args, callback);
    }

    /// Makes emits volatile; see [`Direct::volatile`].
    pub fn volatile(&self) -> Direct {
        Direct::new(self.clone()).volatile()
    }

    /// Sets how long to wait for acknowledgements; see [`Direct::timeout`].
    pub fn timeout(&self, timeout: Duration) -> Direct {
        Direct::new(self.clone()).timeout(timeout)
    }

    /// Waits until everything that was emitted is written to the connection, and with [`Retries`](crate::Retries)
    /// acknowledged. It waits through reconnects, and ends at once when the manager is disconnected.
    pub async fn flushed(&self) {
        let flushed = {
            let mut core = self.manager().shared().core();
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
        self.manager().shared().flush();
    }

    /// Stops waiting for an acknowledgement.
    pub(crate) fn forget_ack(&self, id: u64) {
        self.with(|socket| drop(socket.acks.remove(&id)));
    }

    /// Takes an event back that was not sent yet.
    pub(crate) fn withdraw(&self, id: u64) {
        let mut core = self.manager().shared().core();
        let unwritten = core.waiting_bytes() > 0;
        if let Some(socket) = core.sockets.get_mut(self.shared.index) {
            socket.withdraw(id, unwritten);
        }
    }

    fn send_event(
        &self,
        event: &str,
        args: &impl Arguments,
        volatile: bool,
        ack: Option<(u64, oneshot::Sender<AckOutcome>)>,
    ) -> Result<(), EmitError> {
        if is_reserved(event) {
            return Err(EmitErrorKind::ReservedName(event.to_owned()).into());
        }
        let config = &self.manager().shared().config;
        let (id, sender) = ack.unzip();
        match &config.retries {
            Some(retries) if !volatile => {
                let id = id.unwrap_or_else(|| self.shared.next_ack());
                let packet = if retries.ids {
                    let tagged = Tagged { args, id: format!("{}-{id}", self.shared.tag) };
                    config.parser.event(self.namespace(), Some(id), event, &tagged)
                } else {
                    config.parser.event(self.namespace(), Some(id), event, args)
                };
                self.push_retry(packet.map_err(not_encoded)?, sender)
            }
            _ => {
                let packet = config.parser.event(self.namespace(), id, event, args).map_err(not_encoded)?;
                // A volatile event is not sent again by the next connection.
                let origin = if volatile { Origin::Connection } else { Origin::Event(self.shared.index) };
                self.push(Outgoing { origin, ..packet }, volatile, sender)
            }
        }
    }

    fn push(
        &self,
        packet: Outgoing,
        volatile: bool,
        sender: Option<oneshot::Sender<AckOutcome>>,
    ) -> Result<(), EmitError> {
        let shared = self.manager().shared();
        let limits = &shared.config.send_buffer;
        let mut core = shared.core();
        let full = core.waiting_bytes() + packet.size() > limits.bytes || core.outbox.len() >= limits.packets;
        let busy = core.backlog > 0;
        let Some(socket) = core.sockets.get_mut(self.shared.index) else { return Ok(()) };
        if socket.membership.is_connected() {
            return match (packet.ack, sender) {
                (_, sender) if volatile && (busy || full) => {
                    drop_volatile(sender);
                    Ok(())
                }
                _ if full => Err(self.buffer_full()),
                (Some(ack), Some(sender)) => {
                    let alone = socket.acks.is_empty();
                    socket.acks.insert(ack, sender);
                    shared.send_awaited(core, packet, alone);
                    Ok(())
                }
                _ => {
                    core.push(packet);
                    Ok(())
                }
            };
        }
        if volatile {
            drop_volatile(sender);
            return Ok(());
        }
        if socket.has_ended() {
            return Err(self.disconnected());
        }
        let ack = packet.ack;
        let dropped = socket.buffer.push_within(packet, limits).map_err(|_| self.buffer_full())?;
        socket.acks.extend(ack.zip(sender));
        for ack in dropped.into_iter().filter_map(|packet| packet.ack) {
            socket.resolve_ack(ack, Err(AckErrorKind::Dropped));
        }
        Ok(())
    }

    fn push_retry(&self, packet: Outgoing, sender: Option<oneshot::Sender<AckOutcome>>) -> Result<(), EmitError> {
        let shared = self.manager().shared();
        let mut core = shared.core();
        let Some(socket) = core.sockets.get_mut(self.shared.index) else { return Ok(()) };
        if socket.has_ended() {
            return Err(self.disconnected());
        }
        let ack = packet.ack;
        socket.retry.push(packet, &shared.config.send_buffer).map_err(|_| self.buffer_full())?;
        socket.acks.extend(ack.zip(sender));
        if socket.membership.is_connected() {
            core.wake();
        }
        Ok(())
    }

    fn disconnected(&self) -> EmitError {
        EmitErrorKind::Disconnected { namespace: self.namespace().to_owned() }.into()
    }

    fn buffer_full(&self) -> EmitError {
        EmitErrorKind::BufferFull { namespace: self.namespace().to_owned() }.into()
    }
}

/// Emits by one socket with other settings than the manager's. Each setting method returns a changed value.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until something is emitted"]
pub struct Direct {
    socket: Socket,
    volatile: bool,
    timeout: Option<Duration>,
}

impl Direct {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, volatile: false, timeout: None }
    }

    /// Makes emits volatile: an event is dropped if the socket is not connected, or if events before it are not written yet.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Waits this long for acknowledgements, instead of the manager's `ack_timeout`. The time runs from when the
    /// acknowledgement is first awaited. With [`Retries`](crate::Retries) it covers all tries together, and the time
    /// that the event waits for its turn.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Emits an event.
    ///
    /// # Errors
    /// As [`Socket::emit`]; volatile events fail only if the data cannot be serialised or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.socket.send_event(event, &args, self.volatile, None)
    }

    /// Emits an event and waits for the server's acknowledgement.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        let (sender, receiver) = oneshot::channel();
        let socket = &self.socket;
        let timeout = self.timeout.unwrap_or(socket.manager().shared().config.ack_timeout);
        let id = socket.shared.next_ack();
        match socket.send_event(event, &args, self.volatile, Some((id, sender))) {
            Ok(()) => AckFuture::waiting(socket.clone(), id, receiver, timeout),
            Err(error) => AckFuture::failed(error),
        }
    }

    /// Emits an event and calls `callback` with the server's acknowledgement, or with the error that none came; see
    /// [`Socket::emit_with_callback`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn emit_with_callback<T, Fut>(
        &self,
        event: &str,
        args: impl Arguments,
        callback: impl FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
    ) where
        T: DeserializeOwned + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (answer, namespace) = (self.emit_with_ack(event, args), self.socket.namespace().to_owned());
        tokio::spawn(async move {
            let answer = answer.await;
            if let Err(panic) = guarded(async { callback(answer).await }).await {
                tracing::error!(namespace, panic, "the callback of an acknowledgement panicked");
            }
        });
    }
}

impl Acknowledge for Socket {
    type Error = EmitError;

    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), EmitError> {
        let shared = self.manager().shared();
        let packet = shared.config.parser.ack(self.namespace(), id.number, args).map_err(not_encoded)?;
        let mut core = shared.core();
        let membership = core.sockets.get(self.shared.index).map(|socket| &socket.membership);
        // The server numbers the acknowledgements of each membership anew: a late answer would be one to another event.
        if membership.is_none_or(|membership| !membership.is_connected() || membership.attempt() != id.membership) {
            return Err(self.disconnected());
        }
        core.push(packet);
        Ok(())
    }
}

fn drop_volatile(sender: Option<oneshot::Sender<AckOutcome>>) {
    if let Some(sender) = sender {
        let _gone = sender.send(Err(AckErrorKind::Dropped));
    }
}

fn not_encoded(error: EncodeError) -> EmitError {
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
