//! How handlers are added, alike for both kinds of namespace.
use std::{future::Future, sync::Arc, time::Duration};

use sockeye_engine::log_throttled;
use sockeye_handler::guard;
use sockeye_protocol::socketio::{Args, ArgsBuf};

use crate::{
    IntoReply, Namespace, ParentNamespace, Socket,
    adapter::RoomEvent,
    handler::{ErrorHandler, FailedEvent, Handler, OnConnect, OnDisconnect, OnEvent, erase},
};

/// Defines the methods that add handlers. The namespace that `template` returns keeps them.
macro_rules! registration {
    ($($Kind:ident),*) => {$(
        impl $Kind {
            /// Handles clients that ask to join. Middleware runs first. The handler runs before the client is admitted:
            /// it refuses the client by returning an error or by calling [`Socket::disconnect`]. Events that the
            /// handler emits to the socket arrive after the CONNECT packet. Several handlers run in the order in which
            /// they were added.
            pub fn on_connect<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.connect.push(handler.clone()));
                self
            }

            /// Adds a middleware. It runs for every client that asks to join, before the connect handlers, and refuses
            /// the client by returning an error. It does not run for recovered clients, unless
            /// [`skip_middleware`](crate::RecoveryConfig::skip_middleware) is false.
            pub fn middleware<P: 'static>(&self, handler: impl Handler<OnConnect, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.middleware.push(handler.clone()));
                self
            }

            /// Handles sockets that have left. The handler can still read their rooms, and the [reason](crate::Reason). If it
            /// returns an error, the server logs it.
            pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<OnDisconnect, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.disconnect.push(handler.clone()));
                self
            }

            /// Handles an event. The events of one socket are handled one after the other, in the order of their
            /// arrival. Several handlers of one event run in the order in which they were added; the first answer is
            /// the acknowledgement.
            pub fn on<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.events.on(event, handler.clone(), false));
                self
            }

            /// Handles only the next event of this name from any socket of the namespace; below a parent, of each
            /// child.
            pub fn once<P: 'static>(&self, event: &str, handler: impl Handler<OnEvent, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.events.on(event, handler.clone(), true));
                self
            }

            /// Removes the handlers of an event.
            pub fn off(&self, event: &str) -> &Self {
                self.template().change(|handlers| handlers.events.off(event));
                self
            }

            /// Handles every event, before the event's handlers.
            pub fn on_any<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.any.push(handler.clone()));
                self
            }

            /// Handles every event that has no other handler.
            pub fn on_fallback<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.fallback.push(handler.clone()));
                self
            }

            /// Adds a middleware for events. It runs before an event's handlers. It stops the event by returning an
            /// error, which is then the acknowledgement, or by disconnecting the socket.
            pub fn event_middleware<P: 'static>(&self, handler: impl Handler<OnEvent, P>) -> &Self {
                let handler = erase(handler);
                self.template().change(|handlers| handlers.before_event.push(handler.clone()));
                self
            }

            /// Calls an observer for every event that is sent to a socket. For a broadcast it is called once for each
            /// recipient.
            pub fn on_any_outgoing(&self, observer: impl Fn(&Socket, &str, Args<'_>) + Send + Sync + 'static) -> &Self {
                self.template().add_observer(Arc::new(observer));
                self
            }

            /// Handles the errors of event handlers. Its return value is the acknowledgement of the event. Without an
            /// error handler the acknowledgement is `{"error": text}`.
            pub fn on_error<R: IntoReply>(
                &self,
                handler: impl Fn(&FailedEvent<'_>) -> R + Send + Sync + 'static,
            ) -> &Self {
                let handler: ErrorHandler = Arc::new(move |error| handler(error).into_reply());
                self.template().change(|handlers| handlers.error = Some(handler.clone()));
                self
            }

            /// Calls an observer when rooms are created or deleted, and when sockets join or leave rooms.
            pub fn on_room_event(&self, observer: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &Self {
                let common = self.template().common().clone();
                self.template().local().observe_rooms(Arc::new(move |event: &RoomEvent| {
                    if let Err(panic) = guard(|| observer(event)) {
                        common.counters.handler_panics.add();
                        log_throttled!(error, &panic, panic, "an `on_room_event` observer panicked");
                    }
                }));
                self
            }

            /// Handles an event that another server of the cluster has emitted by
            /// [`Operator::server_side_emit`](crate::Operator::server_side_emit).
            pub fn on_server_event<F, R>(
                &self,
                event: &str,
                handler: impl FnOnce(ArgsBuf) -> F + Clone + Send + Sync + 'static,
            ) -> &Self
            where
                F: Future<Output = R> + Send + 'static,
                R: IntoReply,
            {
                self.template().server_events().on(event, handler);
                self
            }

            /// Runs a job at intervals while the namespace has sockets. The job starts when the first socket joins, or
            /// at once if there are sockets; it stops when the last socket leaves. It runs once for the whole
            /// namespace, not for each socket; below a parent, once in each child. A job that is added outside of a
            /// runtime starts when the next socket joins.
            pub fn every<F>(
                &self,
                interval: Duration,
                run: impl FnOnce(Namespace) -> F + Clone + Send + Sync + 'static,
            ) -> &Self
            where
                F: Future<Output = ()> + Send + 'static,
            {
                self.template().add_job(interval, run);
                self
            }
        }
    )*};
}

registration!(Namespace, ParentNamespace);
