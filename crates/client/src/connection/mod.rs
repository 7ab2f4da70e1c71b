//! One Engine.IO connection and its transports.
pub(crate) mod http;
pub(crate) mod packet;
pub(crate) mod packet_log;
mod parser;
pub(crate) mod queue;
pub(crate) mod session;
pub(crate) mod transport;
