//! One Engine.IO connection and its transports.
pub(crate) mod cookies;
pub(crate) mod heartbeat;
pub(crate) mod http;
pub(crate) mod packet;
pub(crate) mod packet_log;
pub(crate) mod session;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod transport;
