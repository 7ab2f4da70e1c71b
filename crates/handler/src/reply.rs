use bytes::Bytes;
use serde::Serialize;
use sockeye_protocol::socketio::{ArgsBuf, Arguments, Value};

use crate::{AckId, Acknowledge};

/// What an event is acknowledged with, if the peer asked for it: a handler returns it, or anything that
/// [turns into it](IntoReply).
///
/// ```
/// # use sockeye_handler::{IntoReply, Reply};
/// #[derive(serde::Serialize)]
/// struct Sum { total: i64 }
/// let reply = Reply::of(&Sum { total: 3 });
/// let same = (1, "two").into_reply(); // two arguments
/// # let _ = (reply, same);
/// ```
#[derive(Debug)]
pub enum Reply {
    /// An acknowledgement without arguments.
    Empty,
    /// An acknowledgement of these arguments.
    Args(ArgsBuf),
    /// The handler failed; the peer gets `{"error": text}`.
    Error(String),
}

impl Reply {
    /// A reply of these arguments, given as to `emit`.
    pub fn of(args: impl Arguments) -> Self {
        match ArgsBuf::new(&args) {
            Ok(args) => Self::Args(args),
            Err(error) => {
                tracing::error!(%error, "a handler's reply could not be encoded");
                Self::error("the reply could not be encoded")
            }
        }
    }

    /// A reply that tells the peer of an error, as `{"error": message}`.
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error(message.into())
    }

    /// Acknowledges the event of this id with it.
    ///
    /// # Errors
    /// If the socket is not connected any more.
    pub fn send<S: Acknowledge>(self, socket: &S, id: AckId) -> Result<(), S::Error> {
        match self {
            Self::Empty => socket.send_ack(id, &()),
            Self::Args(args) => socket.send_ack(id, &args),
            Self::Error(message) => socket.send_ack(id, &serde_json::json!({ "error": message })),
        }
    }
}

/// What an event handler may return.
pub trait IntoReply {
    /// Turns the result into a reply.
    fn into_reply(self) -> Reply;
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

/// The value becomes the reply; of an error the peer is told by its text alone, and whoever ran the handler logs it.
impl<T: IntoReply, E: std::fmt::Display> IntoReply for Result<T, E> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(value) => value.into_reply(),
            Err(error) => Reply::error(error.to_string()),
        }
    }
}

macro_rules! reply_by_value {
    ($($type:ty),*) => {
        $(impl IntoReply for $type {
            fn into_reply(self) -> Reply {
                Reply::of(&self)
            }
        })*
    };
}

reply_by_value!(
    String,
    &'static str,
    bool,
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

impl<T: Serialize> IntoReply for Vec<T> {
    fn into_reply(self) -> Reply {
        Reply::of(&self)
    }
}

impl<T: Serialize> IntoReply for Option<T> {
    fn into_reply(self) -> Reply {
        Reply::of(&self)
    }
}

macro_rules! reply_by_tuple {
    ($($name:ident),*) => {
        impl<$($name: Serialize),*> IntoReply for ($($name,)*) {
            fn into_reply(self) -> Reply {
                Reply::of(self)
            }
        }
    };
}

reply_by_tuple!(A);
reply_by_tuple!(A, B);
reply_by_tuple!(A, B, C);
reply_by_tuple!(A, B, C, D);
