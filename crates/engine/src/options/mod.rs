//! What users of the engine set: the configuration, and the types of its fields.
mod config;
mod cookie;
mod cors;
mod hooks;
mod host;
mod origin;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
mod tls;

pub use config::{Config, Transports};
pub use cookie::{Cookie, SameSite};
pub use cors::Cors;
pub use hooks::{ConnectionError, Hooks};
pub use host::Hosts;
pub use origin::{OriginError, OriginPattern, OriginPolicy};
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::TlsError;
#[cfg(feature = "tls")]
pub(crate) use tls::TlsStream;
