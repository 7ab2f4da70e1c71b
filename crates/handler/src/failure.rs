use crate::{INTERNAL, Rejection};

/// Why a handler failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerFailure {
    /// A parameter could not be extracted, so that the handler did not run.
    #[error(transparent)]
    Rejected(Rejection),
    /// The handler returned an error.
    #[error("{0}")]
    Returned(String),
    /// The handler panicked, with this message.
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

impl HandlerFailure {
    /// What the peer may be told: nothing of a panic.
    pub fn message(&self) -> String {
        match self {
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Returned(error) => error.clone(),
            Self::Panicked(_) => INTERNAL.to_owned(),
        }
    }
}
