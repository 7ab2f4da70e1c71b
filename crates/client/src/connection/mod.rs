//! One Engine.IO connection and its transports.
pub(crate) mod http;
pub(crate) mod packet;
pub(crate) mod packet_log;
pub(crate) mod session;
pub(crate) mod transport;
