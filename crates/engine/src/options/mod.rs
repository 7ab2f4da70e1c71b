//! What users of the engine set: the configuration, and the types of its fields.
mod config;
mod cookie;
mod cors;
mod hooks;
mod origin;
pub(crate) mod tls;

pub use config::{Config, Transports};
pub use cookie::{Cookie, SameSite};
pub use cors::Cors;
pub use hooks::{ConnectionError, Hooks};
pub use origin::OriginPolicy;
pub use tls::{Tls, TlsError};
