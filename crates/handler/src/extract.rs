use bytes::Bytes;
use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::ArgsBuf;

use crate::{EventContext, Rejection};

/// What a handler's parameter must be: something that can be extracted from what is known of the occasion.
///
/// Every handler may take its `Socket` and [`State`](crate::State); those of events also [`Data`], [`Args`],
/// [`RawArgs`], [`Binary`], [`EventName`] and [`Ack`](crate::Ack); those of disconnects `Reason`. On a server every
/// handler may take `HandshakeRef`, and those of connects `Auth`; on a client those of connect errors `ConnectError`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler that is given `{Context}`",
    note = "a type of your own can be one if it implements `FromContext<{Context}>`, or `FromContext<C>` for every `C: \
            HasSocket<Socket = Socket>`"
)]
pub trait FromContext<Context>: Sized {
    /// Extracts the parameter.
    ///
    /// # Errors
    /// If the occasion does not hold what is asked for. The handler is not run then.
    fn from_context(context: &mut Context) -> Result<Self, Rejection>;
}

/// The event's first argument, deserialised into `T`. Binary arguments go into [`bytes::Bytes`] fields.
#[derive(Debug, Clone, Copy)]
pub struct Data<T>(pub T);

impl<S, T: DeserializeOwned> FromContext<EventContext<'_, S>> for Data<T> {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().get(0)?))
    }
}

/// All the event's arguments, deserialised into a tuple: `Args((name, age)): Args<(String, u8)>`.
#[derive(Debug, Clone, Copy)]
pub struct Args<T>(pub T);

impl<S, T: DeserializeOwned> FromContext<EventContext<'_, S>> for Args<T> {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().all()?))
    }
}

/// All the event's arguments as they came, to be passed on untouched: `emit("msg", args)`.
#[derive(Debug, Clone)]
pub struct RawArgs(pub ArgsBuf);

impl<S> FromContext<EventContext<'_, S>> for RawArgs {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().to_owned()))
    }
}

/// The event's first argument where that is binary.
#[derive(Debug, Clone)]
pub struct Binary(pub Bytes);

impl<S> FromContext<EventContext<'_, S>> for Binary {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().get(0)?))
    }
}

/// The event's name, for handlers of several events.
#[derive(Debug, Clone)]
pub struct EventName(pub String);

impl<S> FromContext<EventContext<'_, S>> for EventName {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.name().to_owned()))
    }
}
