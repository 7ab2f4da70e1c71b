//! The settings of a manager.
pub(crate) mod auth;
pub(crate) mod builder;
pub(crate) mod cookies;
pub(crate) mod format;
pub(crate) mod limits;
pub(crate) mod reconnection;
pub(crate) mod retries;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod tls_and_proxy;
