use std::sync::Arc;

use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError, Arguments};

use crate::{
    EmitError, EventStream, Socket,
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

/// The events of a [socket](crate::Socket::events), in order.
pub type Events = EventStream<Event>;

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
