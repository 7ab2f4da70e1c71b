use std::{ops::Deref, sync::Arc};

use serde::{
    Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use sockeye_engine::Handshake;
use sockeye_protocol::socketio::ValueError;

use super::{ConnectContext, DisconnectContext, FromContext, HasSocket, HasState, Rejection};
use crate::{DisconnectReason, Socket, adapter::RemoteHandshake};

impl<C: HasSocket<Socket = Self>> FromContext<C> for Socket {
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

impl HasState for Socket {
    const OWNER: &'static str = "the server";
    const BUILDER: &'static str = "Server::builder()";

    fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.namespace().registry()?.state()
    }
}

/// The request that opened the connection: its headers, cookies, query and address. It serialises as the reference's
/// handshake, with the members of [`RemoteHandshake`].
#[derive(Debug, Clone)]
pub struct HandshakeRef(Socket);

impl Serialize for HandshakeRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RemoteHandshake::of(&self.0).serialize(serializer)
    }
}

impl Deref for HandshakeRef {
    type Target = Handshake;

    fn deref(&self) -> &Handshake {
        self.0.handshake()
    }
}

impl<C: HasSocket<Socket = Socket>> FromContext<C> for HandshakeRef {
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        Ok(Self(context.socket().clone()))
    }
}

/// What the client sent along with CONNECT (`auth` in the JavaScript client), deserialised into `T`. A client that
/// sends nothing is taken to have sent `null`, so `Auth<Option<T>>` admits it. So is one that sends `{}`, as the client of
/// python-socketio does if it is given no `auth`, unless `T` can be deserialised from `{}`.
#[derive(Debug, Clone, Copy)]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned> FromContext<ConnectContext<'_>> for Auth<T> {
    fn from_context(context: &mut ConnectContext<'_>) -> Result<Self, Rejection> {
        let json = context.auth.map_or("null", |auth| auth.get());
        let null = || serde_json::from_str("null").ok().filter(|_| is_empty_object(json));
        serde_json::from_str(json)
            .or_else(|error| null().ok_or(error))
            .map(Self)
            .map_err(|error| Rejection::Auth(ValueError::custom(error)))
    }
}

fn is_empty_object(json: &str) -> bool {
    let inside = json.strip_prefix('{').and_then(|json| json.strip_suffix('}'));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

/// Why the socket left.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub DisconnectReason);

impl FromContext<DisconnectContext<'_>> for Reason {
    fn from_context(context: &mut DisconnectContext<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.reason))
    }
}
