//! HTTP requests in and answers out: the service, the listeners that serve it, and the WebSocket handshake.
pub(crate) mod answer;
mod compress;
mod query;
mod serve;
mod service;
pub(crate) mod switching;

pub use serve::{Graceful, ServeError};
pub use service::{EngineService, ResponseBody, ResponseFuture};
