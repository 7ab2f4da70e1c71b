use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError, Arguments};
use tokio::sync::mpsc;

use crate::{
    EmitError, Socket,
    handles::handler::{AckId, Acknowledge as _},
};

/// An event from the server, as [`Events`] returns it.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) socket: Socket,
    pub(crate) name: Arc<str>,
    pub(crate) args: ArgsBuf,
    pub(crate) ack: Option<AckId>,
}

impl Event {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket it came to.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The first argument.
    ///
    /// # Errors
    /// There is none, or it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        self.args.as_args().get(0)
    }

    /// All arguments, as a tuple or a `Vec`.
    ///
    /// # Errors
    /// There are fewer, or one is of another type; the error names it.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        self.args.as_args().all()
    }

    /// The arguments as they came, to be passed on untouched.
    pub fn raw_args(&self) -> &ArgsBuf {
        &self.args
    }

    /// Whether the server asked for an acknowledgement.
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Acknowledges the event; does nothing if the server did not ask for it.
    ///
    /// # Errors
    /// If the arguments cannot be encoded or the socket is no longer connected.
    pub fn ack(&self, args: impl Arguments) -> Result<(), EmitError> {
        match self.ack {
            Some(id) => self.socket.send_ack(id, &args),
            None => Ok(()),
        }
    }
}

/// The events of one socket, in order. While the stream is full, later events of the socket wait, also for its handlers.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

/// How many events wait in the stream itself; more wait before it.
const CAPACITY: usize = 256;

impl Socket {
    /// Returns the events from now on as a stream. Each event goes to the streams and to the handlers.
    pub fn events(&self) -> Events {
        let (sender, events) = Events::new();
        self.change(|handlers| {
            let open = handlers.streams.iter().filter(|stream| !stream.is_closed()).cloned();
            handlers.streams = open.chain([sender]).collect();
        });
        events
    }
}

impl Events {
    pub(crate) fn new() -> (mpsc::Sender<Event>, Self) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (sender, Self(receiver))
    }

    /// The next event; `None` when the manager is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(cx)
    }
}
