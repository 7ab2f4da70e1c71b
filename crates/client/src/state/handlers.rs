use std::sync::Arc;

use sockeye_handler::Named;
use tokio::sync::mpsc;

use crate::{
    Event,
    handles::handler::{ErasedHandler, OnConnect, OnConnectError, OnDisconnect, OnEvent},
};

/// The handlers of one socket.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Arc<[ErasedHandler<OnConnect>]>,
    pub(crate) disconnect: Arc<[ErasedHandler<OnDisconnect>]>,
    pub(crate) connect_error: Arc<[ErasedHandler<OnConnectError>]>,
    /// Called for every event, before its own handlers.
    pub(crate) any: Arc<[ErasedHandler<OnEvent>]>,
    pub(crate) events: Named<OnEvent>,
    /// Called for events that have no handler of their own.
    pub(crate) fallback: Arc<[ErasedHandler<OnEvent>]>,
    pub(crate) streams: Arc<[mpsc::Sender<Event>]>,
}
