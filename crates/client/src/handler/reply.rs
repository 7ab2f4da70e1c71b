use bytes::Bytes;
use serde::Serialize;
use sockeye_protocol::socketio::{ArgsBuf, Arguments, Value};

/// What an event is acknowledged with, if the server asked for it: a handler returns it, or anything that
/// [turns into it](IntoReply).
///
/// ```
/// use sockeye_client::{IntoReply, Reply};
/// #[derive(serde::Serialize)]
/// struct Sum { total: i64 }
/// let reply = Reply::of(&Sum { total: 3 });
/// let same = (1, "two").into_reply(); // two arguments
/// # let _ = (reply, same);
/// ```
#[derive(Debug)]
pub struct Reply(pub(crate) Answer);

#[derive(Debug)]
pub(crate) enum Answer {
    /// An acknowledgement without arguments.
    Empty,
    Args(ArgsBuf),
    /// The handler failed; the server gets `{"error": text}`.
    Error(String),
}

impl Reply {
    /// A reply of these arguments, given as to `emit`.
    pub fn of(args: impl Arguments) -> Self {
        match ArgsBuf::new(&args) {
            Ok(args) => Self(Answer::Args(args)),
            Err(error) => {
                tracing::error!(%error, "a handler's reply could not be encoded");
                Self(Answer::Error("the reply could not be encoded".into()))
            }
        }
    }

    /// A reply that tells the server of an error, as `{"error": message}`.
    pub fn error(message: impl Into<String>) -> Self {
        Self(Answer::Error(message.into()))
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
        Reply(Answer::Empty)
    }
}

/// The value becomes the reply; an error is logged, and the server is told of it by its text alone.
impl<T: IntoReply, E: std::fmt::Display> IntoReply for Result<T, E> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(value) => value.into_reply(),
            Err(error) => {
                tracing::warn!(%error, "an event handler returned an error");
                Reply::error(error.to_string())
            }
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
