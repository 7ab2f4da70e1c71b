use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError, Arguments};

use super::{FromContext, HasSocket, Occasion, OnConnectError, OnDisconnect, OnEvent};
use crate::{ConnectError, DisconnectReason, EmitError, Socket};

/// Why a handler did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The event's arguments are not what the handler takes.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// No state of this type was given to the manager.
    #[error("the manager has no state of type `{0}`; give it one by `Manager::builder(url).state(value)`")]
    MissingState(&'static str),
}

impl<O: Occasion> FromContext<O> for Socket {
    fn from_context(context: &mut O::Context<'_>) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

/// The event's first argument, deserialised into `T`. Binary arguments go into [`bytes::Bytes`] fields.
#[derive(Debug, Clone, Copy)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromContext<OnEvent> for Data<T> {
    fn from_context(context: &mut <OnEvent as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.args.get(0)?))
    }
}

/// All the event's arguments, deserialised into a tuple: `Args((name, age)): Args<(String, u8)>`.
#[derive(Debug, Clone, Copy)]
pub struct Args<T>(pub T);

impl<T: DeserializeOwned> FromContext<OnEvent> for Args<T> {
    fn from_context(context: &mut <OnEvent as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.args.all()?))
    }
}

/// All the event's arguments as they came, to be passed on untouched: `emit("msg", args)`.
#[derive(Debug, Clone)]
pub struct RawArgs(pub ArgsBuf);

impl FromContext<OnEvent> for RawArgs {
    fn from_context(context: &mut <OnEvent as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.args.to_owned()))
    }
}

/// The event's first argument where that is binary.
#[derive(Debug, Clone)]
pub struct Binary(pub Bytes);

impl FromContext<OnEvent> for Binary {
    fn from_context(context: &mut <OnEvent as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.args.get(0)?))
    }
}

/// The event's name, for handlers of several events.
#[derive(Debug, Clone)]
pub struct EventName(pub String);

impl FromContext<OnEvent> for EventName {
    fn from_context(context: &mut <OnEvent as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.name.to_owned()))
    }
}

/// The server's wish for an acknowledgement. A handler that takes it answers it itself, when it likes; without it the
/// handler's result is the answer.
#[derive(Debug)]
pub struct Ack {
    pub(crate) socket: Socket,
    pub(crate) id: Option<u64>,
}

impl Ack {
    /// Whether the server asked for an acknowledgement. If not, [`send`](Self::send) does nothing.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Acknowledges the event.
    ///
    /// # Errors
    /// If the arguments cannot be encoded or the socket is no longer connected.
    pub fn send(self, args: impl Arguments) -> Result<(), EmitError> {
        match self.id {
            Some(id) => self.socket.send_ack(id, &args),
            None => Ok(()),
        }
    }
}

impl FromContext<OnEvent> for Ack {
    fn from_context(context: &mut <OnEvent as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        context.ack_taken = true;
        Ok(Self { socket: context.socket.clone(), id: context.ack })
    }
}

/// Why the socket is no longer connected.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub DisconnectReason);

impl FromContext<OnDisconnect> for Reason {
    fn from_context(context: &mut <OnDisconnect as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.reason))
    }
}

impl FromContext<OnConnectError> for ConnectError {
    fn from_context(context: &mut <OnConnectError as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(context.error.clone())
    }
}

/// A value that the manager was given for all its handlers.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: Occasion, T: Send + Sync + 'static> FromContext<O> for State<T> {
    fn from_context(context: &mut O::Context<'_>) -> Result<Self, Rejection> {
        let state = context.socket().manager().state::<T>();
        state.map(Self).ok_or(Rejection::MissingState(std::any::type_name::<T>()))
    }
}
