use crate::{HandlerError, INTERNAL, Rejection, with_causes};

/// Why a handler failed. The enum is exhaustive, because a handler cannot fail in another way.
#[derive(Debug)]
pub enum HandlerFailure {
    /// A parameter could not be extracted, so that the handler did not run.
    Rejected(Rejection),
    /// The handler returned an error.
    Returned(HandlerError),
    /// The handler panicked, with this message.
    Panicked(String),
}

impl HandlerFailure {
    /// What the peer may be told: why its arguments do not fit, the handler's error without the causes, and nothing of a
    /// panic.
    pub fn message(&self) -> String {
        match self {
            Self::Rejected(rejection) => with_causes(rejection),
            Self::Returned(error) => error.message(),
            Self::Panicked(_) => INTERNAL.to_owned(),
        }
    }
}
