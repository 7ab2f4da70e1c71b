use std::{future::Future, time::Duration};

use serde::de::DeserializeOwned;
use sockeye_engine::SendError;
use sockeye_protocol::socketio::Arguments;

use crate::{AckError, AckFuture, EmitError, Socket, adapter::Target};

/// Emits to one client.
impl Socket {
    /// Emits an event to this client. Pass `&data` for one argument, a tuple for several, `()` for none.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, or the client has left.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        match self.namespace().recovery() {
            Some(_) if !self.membership().is_current() => Err(SendError::Closed.into()),
            // The log must hold the packets in the order in which they are sent, so that this takes the same way as a
            // broadcast.
            Some(_) => Direct::new(self.clone()).emit(event, args),
            None => self.emit_expecting(event, None, &args),
        }
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl Arguments) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Waits until little waits to be sent to this client. A handler or task that sends much awaits this between its emits:
    /// it then sends as fast as the client reads.
    ///
    /// ```
    /// # use sockeye::{Server, Socket};
    /// Server::new().of("/").on("export", async |socket: Socket| {
    ///     for number in 0..100_000 {
    ///         socket.ready().await?;
    ///         socket.emit("row", number)?;
    ///     }
    ///     Ok(())
    /// });
    /// ```
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn ready(&self) -> Result<(), EmitError> {
        Ok(self.session().ready().await?)
    }

    /// Emits an event and waits for the client's acknowledgement, at most for the server's `ack_timeout`.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        self.emit_with_ack_within(self.namespace().config().ack_timeout, event, &args)
    }

    /// Emits an event and calls `callback` with the first argument of the client's acknowledgement, or with all
    /// arguments if `T` is a tuple, or with the error.
    ///
    /// A handler that awaits an acknowledgement delays the later events of its socket. This method does not: it returns
    /// at once, and the callback runs in a separate task, possibly while a handler of the same socket runs.
    ///
    /// ```
    /// # use sockeye::{AckError, Server, Socket};
    /// Server::new().of("/").on("start", async |socket: Socket| {
    ///     socket.emit_with_callback("ready?", (), async |answer: Result<bool, AckError>| match answer {
    ///         Ok(ready) => println!("ready: {ready}"),
    ///         Err(error) => println!("no answer: {error}"),
    ///     });
    /// });
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn emit_with_callback<T, F, Fut>(&self, event: &str, args: impl Arguments, callback: F)
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.emit_with_ack(event, args).call_with_answer(self.namespace().clone(), callback);
    }

    /// Events emitted through the result are dropped unless the client is ready to receive them.
    pub fn volatile(&self) -> Direct {
        Direct::new(self.clone()).volatile()
    }

    /// Emits through the result wait this long for acknowledgements.
    pub fn timeout(&self, timeout: Duration) -> Direct {
        Direct::new(self.clone()).timeout(timeout)
    }

    fn emit_with_ack_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        event: &str,
        args: &impl Arguments,
    ) -> AckFuture<T> {
        let id = self.namespace().next_ack_id();
        let answer = match self.expect_ack(id) {
            Ok(answer) => answer,
            Err(limit) => return AckFuture::failed(limit.into()),
        };
        match self.emit_expecting(event, Some(id), args) {
            Ok(()) => AckFuture::waiting(self.clone(), id, answer, timeout),
            Err(error) => {
                self.forget_ack(id);
                AckFuture::failed(error)
            }
        }
    }
}

/// Emits to one socket, volatile or with another timeout. [`Socket::volatile`] and [`Socket::timeout`] return it.
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

    /// Makes emits volatile: the event is dropped unless the client is ready to receive it.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Waits this long for acknowledgements, instead of the server's `ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Emits an event.
    ///
    /// # Errors
    /// If the data cannot be serialised, the name is reserved, or the client has left.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        if self.volatile && !self.socket.is_writable() {
            return Ok(());
        }
        let namespace = self.socket.namespace();
        match namespace.recovery() {
            // The event gets its offset and is sent under the recovery lock, like a broadcast.
            Some(_) => {
                let mut target = Target { local: true, volatile: self.volatile, ..Target::default() };
                target.rooms.push(self.socket.id().as_str().into());
                namespace.broadcast(event, &args, &target)
            }
            None => self.socket.emit_expecting(event, None, &args),
        }
    }

    /// Emits an event and waits for the client's acknowledgement.
    pub fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Arguments) -> AckFuture<T> {
        let timeout = self.timeout.unwrap_or(self.socket.namespace().config().ack_timeout);
        self.socket.emit_with_ack_within(timeout, event, &args)
    }

    /// Emits an event and calls `callback` with the client's acknowledgement, as [`Socket::emit_with_callback`] does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn emit_with_callback<T, F, Fut>(&self, event: &str, args: impl Arguments, callback: F)
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(Result<T, AckError>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.emit_with_ack(event, args).call_with_answer(self.socket.namespace().clone(), callback);
    }
}
