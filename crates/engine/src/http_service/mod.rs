//! HTTP requests in and answers out: the service, the listeners that serve it, and the WebSocket handshake.
pub(crate) mod answer;
#[cfg(feature = "compression")]
mod compress;
#[cfg(not(feature = "compression"))]
#[path = "without_compression.rs"]
mod compress;
mod listen;
mod query;
mod serve;
mod service;
mod websocket_session;

pub use listen::{NotFound, listen};
pub use serve::{Graceful, ServeError};
pub use service::{EngineService, ResponseFuture};
