use std::sync::Arc;

use super::handler::{Handler, OnConnect, OnConnectError, OnDisconnect, OnEvent, erase};
use crate::{Events, Socket, state::handlers::Handlers};

/// Adding and removing handlers.
impl Socket {
    /// Adds a handler of an event. The events of a socket are handled one after the other, in the order in which they
    /// arrive. Several handlers of one event run in the order in which they were added, and the first that answers the
    /// acknowledgement wins.
    ///
    /// An event handler returns what the event is acknowledged with. The handlers of connects, disconnects and connect errors
    /// return `()` or `Result<(), HandlerError>`; the client logs the error.
    ///
    /// Handlers run in the manager's task. While a handler awaits, later events of its socket wait, but acknowledgements
    /// do not, so that it may await one. A handler takes the [`Socket`] as its parameter; one that captures it keeps the
    /// manager from ever being dropped.
    pub fn on<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        self.change(|handlers| handlers.events.on(event, erase(handler), false))
    }

    /// Adds a handler that runs for the next event of this name only.
    pub fn once<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
        self.change(|handlers| handlers.events.on(event, erase(handler), true))
    }

    /// Adds a handler of every event, which runs before the event's own handlers.
    pub fn on_any<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        self.change(|handlers| add(&mut handlers.any, erase(handler)))
    }

    /// Adds a handler of the events that have no handler of their own.
    pub fn on_fallback<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
        self.change(|handlers| add(&mut handlers.fallback, erase(handler)))
    }

    /// Adds a handler that runs when the socket is connected, for the first time or again.
    pub fn on_connect<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
        self.change(|handlers| add(&mut handlers.connect, erase(handler)))
    }

    /// Adds a handler that runs when the socket was connected and is not any more. It may take the
    /// [reason](crate::Reason).
    pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<OnDisconnect, P>) -> &Self {
        self.change(|handlers| add(&mut handlers.disconnect, erase(handler)))
    }

    /// Adds a handler that runs when an attempt to connect fails. It may take the [`ConnectError`](crate::ConnectError).
    pub fn on_connect_error<P: 'static>(&self, handler: impl Handler<OnConnectError, P>) -> &Self {
        self.change(|handlers| add(&mut handlers.connect_error, erase(handler)))
    }

    /// Removes all handlers of an event.
    pub fn off(&self, event: &str) -> &Self {
        self.change(|handlers| handlers.events.off(event))
    }

    /// Returns the events from now on as a stream. Each event goes to the streams and to the handlers. While 256 events wait in
    /// the stream, later events of the socket wait, also for its handlers.
    pub fn events(&self) -> Events {
        let (sender, events) = Events::new();
        self.change(|handlers| {
            let open = handlers.streams.iter().filter(|stream| !stream.is_closed()).cloned();
            handlers.streams = open.chain([sender]).collect();
        });
        events
    }

    fn change(&self, change: impl FnOnce(&mut Handlers)) -> &Self {
        change(&mut self.shared.handlers.write());
        self
    }
}

fn add<T: Clone>(handlers: &mut Arc<[T]>, handler: T) {
    *handlers = handlers.iter().cloned().chain([handler]).collect();
}
