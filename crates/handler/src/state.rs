use std::{any::type_name, ops::Deref, sync::Arc};

use crate::{FromContext, HasSocket, Rejection};

/// A socket whose owner keeps values for its handlers.
pub trait HasState {
    /// Who keeps them, in the words of an error: `the server`.
    const OWNER: &'static str;
    /// The expression that builds the owner, in the words of an error: `Server::builder()`.
    const BUILDER: &'static str;

    /// The value of this type, if the owner was given one.
    fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>>;
}

/// A value that the server, or the client's manager, was given for all its handlers.
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
