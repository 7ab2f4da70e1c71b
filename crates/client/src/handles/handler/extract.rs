use std::sync::Arc;

use super::{ConnectErrorContext, DisconnectContext, FromContext, HasSocket, HasState, Rejection};
use crate::{ConnectError, DisconnectReason, Socket};

impl<C: HasSocket<Socket = Self>> FromContext<C> for Socket {
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

impl HasState for Socket {
    const OWNER: &'static str = "the manager";
    const BUILDER: &'static str = "Manager::builder(url)";

    fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.manager().state()
    }
}

/// Why the socket is no longer connected.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub DisconnectReason);

impl FromContext<DisconnectContext<'_>> for Reason {
    fn from_context(context: &mut DisconnectContext<'_>) -> Result<Self, Rejection> {
        Ok(Self(context.reason))
    }
}

impl FromContext<ConnectErrorContext<'_>> for ConnectError {
    fn from_context(context: &mut ConnectErrorContext<'_>) -> Result<Self, Rejection> {
        Ok(context.error.clone())
    }
}
