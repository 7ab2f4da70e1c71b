use std::{any::type_name, ops::Deref, sync::Arc};

use crate::{FromContext, HasSocket, Rejection};

/// A socket whose server, or manager, keeps values for the handlers.
pub trait HasState {
    /// The owner of the values as errors name it: `the server`.
    const OWNER: &'static str;
    /// The expression that errors advise to build the owner by: `Server::builder()`.
    const BUILDER: &'static str;

    /// The value of this type, if the owner has one.
    fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>>;
}

/// A value that the server, or the client's manager, was given for all its handlers by `state(value)` of the builder.
///
/// It is kept in one `Arc`, which every handler gets a clone of, and dereferences to the value: with
/// `.state(Mutex::new(Users::default()))` a handler takes `users: State<Mutex<Users>>` and calls `users.lock()`. A value
/// that is in an `Arc` already is given by `.shared_state(arc)`, and is `State<T>` as well.
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

impl<C, S, T> FromContext<C> for State<T>
where
    C: HasSocket<Socket = S>,
    S: HasState,
    T: Send + Sync + 'static,
{
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        let missing = || Rejection::MissingState { state: type_name::<T>(), owner: S::OWNER, builder: S::BUILDER };
        context.socket().state().map(Self).ok_or_else(missing)
    }
}
