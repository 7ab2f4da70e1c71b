use bytes::Bytes;
use serde::de::DeserializeOwned;
use sockeye_protocol::socketio::ArgsBuf;

use crate::{EventContext, IntoReply, Rejection, Reply};

/// A type that can be a parameter of a handler, because it can be extracted from the handler's context.
///
/// Every handler may take its `Socket` and [`State`](crate::State). Handlers of events may also take [`Data`], [`Args`],
/// [`RawArgs`], [`Binary`], [`EventName`] and [`Ack`](crate::Ack), those of disconnects `Reason`. On a server every
/// handler may take `HandshakeRef`, and connect handlers `Auth`. On a client the handlers of connect errors may take
/// `ConnectError`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler that is given `{Context}`",
    label = "this handler has a parameter of type `{Self}`",
    note = "every handler may take `Socket` and `State<T>`; those of events also `Data<T>`, `Args<T>`, `RawArgs`, `Binary`, \
            `EventName`, `Ack`; those of disconnects `Reason`; on a server all may take `HandshakeRef` and those of connects \
            `Auth<T>`; on a client those of connect errors `ConnectError`",
    note = "a type of your own can be one if it implements `FromContext<C>` for every `C: HasSocket<Socket = Socket>`"
)]
pub trait FromContext<Context>: Sized {
    /// Extracts the parameter.
    ///
    /// # Errors
    /// If the context does not have what is asked for. The handler is not run then.
    fn from_context(context: &mut Context) -> Result<Self, Rejection>;
}

/// The parameters of a handler, a tuple of types that can be [extracted](FromContext).
pub trait Parameters<Context>: Sized {
    /// Extracts the parameters one by one.
    ///
    /// # Errors
    /// The first parameter's that cannot be extracted.
    fn extract(context: &mut Context) -> Result<Self, Rejection>;
}

/// A type that what comes from a peer can be deserialised into: every type that implements `serde::Deserialize` and does
/// not borrow.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a handler receives: it does not implement `serde::Deserialize`",
    label = "this handler receives `{Self}`",
    note = "derive it for a type of your own: `#[derive(serde::Deserialize)]`"
)]
pub trait Payload: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Payload for T {}

/// The event's first argument, deserialised into `T`. Binary arguments go into [`bytes::Bytes`] fields.
#[derive(Debug, Clone, Copy)]
pub struct Data<T>(pub T);

impl<S, T: Payload> FromContext<EventContext<'_, S>> for Data<T> {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().get(0)?))
    }
}

/// All the event's arguments, deserialised into a tuple: `Args((name, age)): Args<(String, u8)>`.
#[derive(Debug, Clone, Copy)]
pub struct Args<T>(pub T);

impl<S, T: Payload> FromContext<EventContext<'_, S>> for Args<T> {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().all()?))
    }
}

/// All the event's arguments, still encoded, to be passed on unchanged: `emit("msg", args)`.
#[derive(Debug, Clone)]
pub struct RawArgs(pub ArgsBuf);

impl<S> FromContext<EventContext<'_, S>> for RawArgs {
    fn from_context(context: &mut EventContext<'_, S>) -> Result<Self, Rejection> {
        Ok(Self(context.args().to_owned()))
    }
}

impl IntoReply for RawArgs {
    fn into_reply(self) -> Reply {
        Reply::Args(self.0)
    }
}

/// The event's first argument, which must be binary.
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

macro_rules! impl_parameters {
    ($($parameter:ident),*) => {
        impl<Context, $($parameter: FromContext<Context>),*> Parameters<Context> for ($($parameter,)*) {
            #[allow(unused_variables, clippy::unused_unit)]
            fn extract(context: &mut Context) -> Result<Self, Rejection> {
                Ok(($($parameter::from_context(context)?,)*))
            }
        }
    };
}

impl_parameters!();
impl_parameters!(A);
impl_parameters!(A, B);
impl_parameters!(A, B, C);
impl_parameters!(A, B, C, D);
impl_parameters!(A, B, C, D, E);
impl_parameters!(A, B, C, D, E, F);
impl_parameters!(A, B, C, D, E, F, G);
impl_parameters!(A, B, C, D, E, F, G, H);
