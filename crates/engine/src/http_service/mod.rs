//! HTTP requests in and answers out: the service, the listeners that serve it, and the WebSocket handshake.
pub(crate) mod answer;
mod collect;
#[cfg(feature = "compression")]
mod compress;
#[cfg(not(feature = "compression"))]
#[path = "without_compression.rs"]
mod compress;
mod fallback;
mod listen;
mod query;
mod serve;
mod service;
mod websocket_session;

pub use fallback::NotFound;
pub use listen::{ServeError, listen};
pub use serve::Graceful;
pub use service::{EngineService, ResponseFuture};
