use sockeye_handler::Named;

use super::{ErasedHandler, ErrorHandler, OnConnect, OnDisconnect, OnEvent};

/// Handlers by what they are for: those of a namespace, or of one socket.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    /// Run in order before the connect handlers.
    pub(crate) middleware: Vec<ErasedHandler<OnConnect>>,
    /// Run in order before a client is let in.
    pub(crate) connect: Vec<ErasedHandler<OnConnect>>,
    pub(crate) disconnect: Vec<ErasedHandler<OnDisconnect>>,
    /// Run in order before an event's handlers; one that answers an error ends the event.
    pub(crate) before_event: Vec<ErasedHandler<OnEvent>>,
    pub(crate) events: Named<OnEvent>,
    /// Run for every event, before its own handlers.
    pub(crate) any: Vec<ErasedHandler<OnEvent>>,
    /// Run for events that have no handler of their own.
    pub(crate) fallback: Vec<ErasedHandler<OnEvent>>,
    pub(crate) error: Option<ErrorHandler>,
}
