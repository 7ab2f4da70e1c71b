use std::{error::Error as StdError, fmt, future::Future, pin::Pin, sync::Arc};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{BuildError, error::BuildErrorKind};

/// The authentication data that CONNECT carries, or the function that makes it.
#[derive(Clone)]
pub(crate) enum Auth {
    Value(Arc<RawValue>),
    Function(Arc<dyn Fn() -> AuthFuture + Send + Sync>),
}

pub(crate) type AuthFuture =
    Pin<Box<dyn Future<Output = Result<Option<Box<RawValue>>, Box<dyn StdError + Send + Sync>>> + Send>>;

impl Auth {
    pub(crate) fn value(value: &(impl Serialize + ?Sized)) -> Result<Self, BuildError> {
        let value = to_raw_value(value).map_err(|error| BuildError::with_source(BuildErrorKind::Auth, error))?;
        if !value.get().trim_start().starts_with('{') {
            return Err(BuildErrorKind::Auth.into());
        }
        Ok(Self::Value(value.into()))
    }

    pub(crate) fn function<F, Fut, T, E>(make: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::Function(Arc::new(move || {
            let value = make();
            Box::pin(async move {
                let value = value.await.map_err(Into::into)?;
                let value = to_raw_value(&value)?;
                match value.get() {
                    "null" => Ok(None),
                    json if json.starts_with('{') => Ok(Some(value)),
                    _ => Err(BuildError::new(BuildErrorKind::Auth).into()),
                }
            })
        }))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Logs must not contain secrets.
        f.write_str(match self {
            Self::Value(_) => "Auth::Value(..)",
            Self::Function(_) => "Auth::Function(..)",
        })
    }
}
