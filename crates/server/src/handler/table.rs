use sockeye_handler::Named;

use super::{ErasedHandler, ErrorHandler, OnConnect, OnDisconnect, OnEvent};

/// The handlers of a namespace or of one socket, by kind.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    /// They run in order before the connect handlers.
    pub(crate) middleware: Vec<ErasedHandler<OnConnect>>,
    /// They run in order, and admit or refuse the client.
    pub(crate) connect: Vec<ErasedHandler<OnConnect>>,
    pub(crate) disconnect: Vec<ErasedHandler<OnDisconnect>>,
    /// They run in order before an event's handlers. An error stops the event.
    pub(crate) before_event: Vec<ErasedHandler<OnEvent>>,
    pub(crate) events: Named<OnEvent>,
    /// They run for every event, before the event's handlers.
    pub(crate) any: Vec<ErasedHandler<OnEvent>>,
    /// They run for events that have no other handler.
    pub(crate) fallback: Vec<ErasedHandler<OnEvent>>,
    pub(crate) error: Option<ErrorHandler>,
}
