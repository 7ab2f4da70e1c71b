use bytes::Bytes;
use serde::Serialize;
use sockeye_protocol::socketio::{ArgsBuf, Arguments, Value};

use crate::{AckId, Acknowledge, HandlerError, shape::ByShape, with_causes};

/// What an event is acknowledged with, if the peer asked for it.
///
/// Event handlers rarely name it: they return what [turns into it](IntoReply). The enum is exhaustive, because these are
/// all ways to acknowledge an event.
///
/// ```
/// use sockeye_handler::Reply;
///
/// let reply = Reply::of((1, "two")); // two arguments
/// ```
#[derive(Debug)]
pub enum Reply {
    /// No arguments.
    Empty,
    /// These arguments.
    Args(ArgsBuf),
    /// The handler failed. The peer is sent `{"error": text}`.
    Error(HandlerError),
}

impl Reply {
    /// A reply with these arguments, passed as to `emit`.
    pub fn of(args: impl Arguments) -> Self {
        match ArgsBuf::new(&args) {
            Ok(args) => Self::Args(args),
            Err(error) => {
                tracing::error!(error = with_causes(&error), "a handler's reply could not be encoded");
                Self::error("the reply could not be encoded")
            }
        }
    }

    /// A reply that tells the peer of an error, as `{"error": message}`.
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error(HandlerError::new(message))
    }

    /// Acknowledges the event of this id.
    ///
    /// # Errors
    /// If the socket is not connected any more.
    pub fn send<S: Acknowledge>(self, socket: &S, id: AckId) -> Result<(), S::Error> {
        match self {
            Self::Empty => socket.send_ack(id, &()),
            Self::Args(args) => socket.send_ack(id, &args),
            Self::Error(error) => socket.send_ack(id, &serde_json::json!({ "error": error.message() })),
        }
    }
}

/// A type that an event handler may return:
///
/// * `()`: the acknowledgement has no arguments;
/// * text, numbers, booleans, [`Bytes`], JSON values, `Option`, `Vec`, maps: one argument;
/// * a tuple of up to eight values that serialise: as many arguments;
/// * a type of your own: one argument, if it implements [`ReplyData`];
/// * [`RawArgs`](crate::RawArgs): the arguments that came, unchanged;
/// * [`Result<T, HandlerError>`](HandlerError), for any `T` that serialises, own types included: `Ok(())` has no arguments,
///   a tuple several, and anything else is one argument. The peer is sent an error as `{"error": text}`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an event handler",
    label = "this handler returns `{Self}`",
    note = "an event handler returns what the event is acknowledged with: `()`, text, numbers, `Vec`, `Option`, maps, JSON values, \
            a tuple for several arguments, or `Result<T, HandlerError>`",
    note = "for a type of your own that implements `serde::Serialize`, return `Ok(value)`, or write `impl sockeye::ReplyData \
            for Type {{}}` and return the value",
    note = "for a `Result` with another error, such as that of `emit`, return `Ok(result?)`: `?` turns any error into a \
            `HandlerError`"
)]
pub trait IntoReply {
    /// Turns the result into a reply.
    fn into_reply(self) -> Reply;

    /// Turns the result into a reply to an event that the peer wants no acknowledgement of. Only an error in it matters:
    /// types that would be encoded return [`Reply::Empty`].
    fn into_unwanted_reply(self) -> Reply
    where
        Self: Sized,
    {
        self.into_reply()
    }
}

/// A type that serialises and that event handlers may return as it is. The acknowledgement then has one argument.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Sum {
///     total: i64,
/// }
///
/// impl sockeye_handler::ReplyData for Sum {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by an event handler as it is",
    note = "write `impl sockeye::ReplyData for {Self} {{}}`, or return `Ok(value)`"
)]
pub trait ReplyData: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: ReplyData> IntoReply for T {
    fn into_reply(self) -> Reply {
        Reply::of(&self)
    }

    fn into_unwanted_reply(self) -> Reply {
        Reply::Empty
    }
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Reply::Empty
    }
}

impl IntoReply for ArgsBuf {
    fn into_reply(self) -> Reply {
        Reply::Args(self)
    }
}

/// The only `Result` that event handlers return, so that `Ok(())` behind a `?` needs no annotation.
impl<T: Serialize> IntoReply for Result<T, HandlerError> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(value) => match ByShape(&value) {
                args if args.count() == 0 => Reply::Empty,
                args => Reply::of(args),
            },
            Err(error) => Reply::Error(error),
        }
    }

    fn into_unwanted_reply(self) -> Reply {
        self.map_or_else(Reply::Error, |_| Reply::Empty)
    }
}

macro_rules! reply_data {
    ($($type:ty),*) => {
        $(impl ReplyData for $type {})*
    };
}

reply_data!(
    String,
    &'static str,
    bool,
    char,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    usize,
    isize,
    f32,
    f64,
    Bytes,
    Value,
    serde_json::Value
);

impl<T: Serialize> ReplyData for Vec<T> {}
impl<T: Serialize> ReplyData for Option<T> {}
impl<T: Serialize + ?Sized> ReplyData for Box<T> {}
impl<T: Serialize + ?Sized> ReplyData for std::sync::Arc<T> {}
impl<T: Serialize + Clone> ReplyData for std::borrow::Cow<'_, T> {}
impl<K: Serialize, V: Serialize, S> ReplyData for std::collections::HashMap<K, V, S> {}
impl<K: Serialize, V: Serialize> ReplyData for std::collections::BTreeMap<K, V> {}
impl<T: Serialize, S> ReplyData for std::collections::HashSet<T, S> {}
impl<T: Serialize> ReplyData for std::collections::BTreeSet<T> {}

macro_rules! reply_by_tuple {
    ($($name:ident),*) => {
        impl<$($name: Serialize),*> IntoReply for ($($name,)*) {
            fn into_reply(self) -> Reply {
                Reply::of(self)
            }

            fn into_unwanted_reply(self) -> Reply {
                Reply::Empty
            }
        }
    };
}

reply_by_tuple!(A);
reply_by_tuple!(A, B);
reply_by_tuple!(A, B, C);
reply_by_tuple!(A, B, C, D);
reply_by_tuple!(A, B, C, D, E);
reply_by_tuple!(A, B, C, D, E, F);
reply_by_tuple!(A, B, C, D, E, F, G);
reply_by_tuple!(A, B, C, D, E, F, G, H);
