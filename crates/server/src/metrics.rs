use std::sync::atomic::{AtomicU64, Ordering};

use crate::LimitError;

/// The counters of a server since it was created. They count rare events only, so that counting costs next to nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Clients refused by a middleware or a connect handler, or because their namespace does not exist.
    pub connects_refused: u64,
    /// Connections closed because they broke the Socket.IO protocol.
    pub protocol_violations: u64,
    /// Connections closed because they joined no namespace in time.
    pub connect_timeouts: u64,
    /// Connections closed because the attachments of a packet did not arrive in time.
    pub attachment_timeouts: u64,
    /// Handlers that returned an error, or whose parameters could not be extracted.
    pub handler_errors: u64,
    /// Handlers and observers that panicked.
    pub handler_panics: u64,
    /// How often the server paused reading a connection because of `max_event_rate`.
    pub rate_limited: u64,
    /// How often `max_rooms` was reached.
    pub rooms_limited: u64,
    /// How often `max_namespaces` was reached.
    pub namespaces_limited: u64,
    /// How often a client was refused because of `max_child_namespaces`.
    pub child_namespaces_limited: u64,
    /// How often a client was refused because of `max_auth`.
    pub auths_limited: u64,
    /// How often `max_pending_acks` was reached.
    pub acks_limited: u64,
    /// Clients that were recovered by connection state recovery.
    pub recovered: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Metrics {
                Metrics { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    connects_refused,
    protocol_violations,
    connect_timeouts,
    attachment_timeouts,
    handler_errors,
    handler_panics,
    rate_limited,
    rooms_limited,
    namespaces_limited,
    child_namespaces_limited,
    auths_limited,
    acks_limited,
    recovered,
);

impl Counters {
    pub(crate) fn limit_hit(&self, limit: LimitError) {
        match limit {
            LimitError::Rooms { .. } => self.rooms_limited.add(),
            LimitError::Namespaces { .. } => self.namespaces_limited.add(),
            LimitError::ChildNamespaces { .. } => self.child_namespaces_limited.add(),
            LimitError::Auth { .. } => self.auths_limited.add(),
            LimitError::PendingAcks { .. } => self.acks_limited.add(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
