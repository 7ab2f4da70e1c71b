//! The transports: packets in the bodies of HTTP requests ([`payload`]), or in the frames of a WebSocket
//! ([`websocket`]).
pub(crate) mod channel;
pub(crate) mod connection;
pub(crate) mod payload;
pub(crate) mod switching;
pub(crate) mod websocket;
