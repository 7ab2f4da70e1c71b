//! What handlers can ask for in their parameters.
use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sockeye_engine::Handshake;
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError, Arguments};

use super::{FromContext, HasSocket, Occasion, OnConnect, OnDisconnect, OnEvent};
use crate::{DisconnectReason, EmitError, Socket};

/// Why a parameter could not be extracted, so that the handler did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The event's arguments are not what the handler takes.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The CONNECT payload is not what the handler takes.
    #[error("the auth payload is not what the handler takes: {0}")]
    Auth(serde_json::Error),
    /// No state of this type was given to the server.
    #[error("the server has no state of type `{0}`; give it one by `Server::builder().state(value)`")]
    MissingState(&'static str),
}

impl Rejection {
    /// What may stand in a log: the full text can quote what the client sent, secrets included.
    pub(crate) fn without_data(&self) -> &'static str {
        match self {
            Self::Arguments(_) => "the event's arguments are not what the handler takes",
            Self::Auth(_) => "the auth payload is not what the handler takes",
            Self::MissingState(state) => state,
        }
    }
}

impl<O: Occasion> FromContext<O> for Socket {
    fn from_context(context: &mut O::Context<'_>) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

/// The request that opened the connection: its headers, cookies, query and address.
#[derive(Debug, Clone)]
pub struct HandshakeRef(Socket);

impl Deref for HandshakeRef {
    type Target = Handshake;

    fn deref(&self) -> &Handshake {
        self.0.handshake()
    }
}

impl<O: Occasion> FromContext<O> for HandshakeRef {
    fn from_context(context: &mut O::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.socket().clone()))
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

/// The client's wish for an acknowledgement. A handler that takes it answers it itself, when it likes; without it the
/// handler's result is the answer.
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
}

impl Ack {
    /// Whether the client asked for an acknowledgement. If not, [`send`](Self::send) does nothing.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Acknowledges the event.
    ///
    /// # Errors
    /// If the arguments cannot be encoded or the socket has gone.
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

/// What the client sent along with CONNECT (`auth` in the JavaScript client), deserialised into `T`. A client that
/// sends nothing is taken to have sent `null`, so `Auth<Option<T>>` admits it.
#[derive(Debug, Clone, Copy)]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned> FromContext<OnConnect> for Auth<T> {
    fn from_context(context: &mut <OnConnect as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        let json = context.auth.map_or("null", |auth| auth.get());
        serde_json::from_str(json).map(Self).map_err(Rejection::Auth)
    }
}

/// Why the socket left.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub DisconnectReason);

impl FromContext<OnDisconnect> for Reason {
    fn from_context(context: &mut <OnDisconnect as Occasion>::Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.reason))
    }
}

/// A value that the server was given for all its handlers.
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
        let state = context.socket().server().state::<T>();
        state.map(Self).ok_or(Rejection::MissingState(std::any::type_name::<T>()))
    }
}
