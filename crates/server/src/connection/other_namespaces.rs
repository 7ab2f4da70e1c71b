use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

/// Namespaces that the client has left, or waits to join. Most connections have none.
#[derive(Default)]
pub(crate) struct OtherNamespaces {
    /// The namespaces that the client has left, the latest last.
    pub(crate) left: Vec<Box<str>>,
    /// Requests for recovery whose former socket has not left its namespace yet.
    pub(crate) awaiting: Vec<JoinRequest>,
}

/// A client's request to join a namespace that waits until the client's former socket has left it.
pub(crate) struct JoinRequest {
    pub(crate) namespace: Box<str>,
    pub(crate) auth: Option<Box<RawValue>>,
    pub(crate) wait: Wait,
}

/// How long a client waits for its former socket.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    Until(Instant),
    Over,
}

/// The most namespaces left by a client that the connection remembers.
const MAX_LEFT: usize = 16;

/// How long a client waits for its former socket to leave. It waits this long only if a handler of that socket keeps
/// running.
pub(crate) const FORMER_SOCKET_TIMEOUT: Duration = Duration::from_secs(5);

impl OtherNamespaces {
    /// How many bytes of `auth` are kept for the namespaces that are waited for.
    pub(crate) fn auth_bytes(&self) -> usize {
        self.awaiting.iter().filter_map(|request| request.auth.as_ref()).map(|auth| auth.get().len()).sum()
    }

    /// The time at which the first wait for a former socket ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let until = |request: &JoinRequest| match request.wait {
            Wait::Until(until) => Some(until),
            Wait::Over => None,
        };
        self.awaiting.iter().filter_map(until).min()
    }

    /// Ends the waits whose time is up.
    pub(crate) fn end_waits(&mut self, now: Instant) {
        for request in &mut self.awaiting {
            if matches!(request.wait, Wait::Until(until) if now >= until) {
                request.wait = Wait::Over;
            }
        }
    }

    pub(crate) fn note_left(&mut self, namespace: &str) {
        self.left.retain(|left| **left != *namespace);
        if self.left.len() == MAX_LEFT {
            self.left.remove(0);
        }
        self.left.push(namespace.into());
    }
}
