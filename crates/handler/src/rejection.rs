use std::error::Error;

use sockeye_protocol::socketio::{ArgumentError, ValueError};

/// Why a parameter could not be extracted, so that the handler did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The event's arguments are not what the handler takes.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The CONNECT payload is not what a server's handler takes.
    #[error("the auth payload is not what the handler takes")]
    Auth(#[source] ValueError),
    /// No state of this type was given to the server, or to the client's manager.
    #[error("{owner} has no state of type `{state}`; give it one by `{builder}.state(value)`")]
    MissingState {
        /// The type that was asked for.
        state: &'static str,
        /// Who was asked for it.
        owner: &'static str,
        /// How the owner is built.
        builder: &'static str,
    },
}

impl Rejection {
    /// The text for a log, with the cause: which field or type is wrong, but not the value that the peer sent, which can
    /// be a secret.
    pub fn without_data(&self) -> String {
        match self.source().and_then(|cause| cause.downcast_ref::<ValueError>()) {
            Some(cause) => format!("{self}: {}", cause.without_value()),
            None => self.to_string(),
        }
    }
}
