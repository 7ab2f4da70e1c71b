use std::{
    error::Error as StdError,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{BuildError, error::BuildErrorKind};

/// Makes the authentication data that CONNECT carries.
pub(crate) type Auth = Arc<dyn Fn() -> AuthFuture + Send + Sync>;

pub(crate) type AuthFuture =
    Pin<Box<dyn Future<Output = Result<Option<Box<RawValue>>, Box<dyn StdError + Send + Sync>>> + Send>>;

/// Authentication data that is always the same.
pub(crate) fn value(value: &(impl Serialize + ?Sized)) -> Result<Auth, BuildError> {
    let value = to_raw_value(value).map_err(|error| BuildError::with_source(BuildErrorKind::Auth, error))?;
    if !value.get().trim_start().starts_with('{') {
        return Err(BuildErrorKind::Auth.into());
    }
    Ok(Arc::new(move || Box::pin(ready(Ok(Some(value.clone()))))))
}

/// Authentication data that the user's function makes anew for each CONNECT.
pub(crate) fn function<F, Fut, T, E>(make: F) -> Auth
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Serialize,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    Arc::new(move || {
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
    })
}
