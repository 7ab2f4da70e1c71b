//! The plain WebSocket connections that are open, and how frames get to them: all that the chat knows of them. How they
//! come and go is the gateway's business.
mod outbox;
mod registry;

use bytes::Bytes;
use serde_json::Value;
use sockeye_protocol::websocket::{Opcode, encode_frame};

pub(crate) use outbox::Outbox;
pub(crate) use registry::{Place, Registration, Registry};

/// Encodes a frame for any number of clients.
pub(crate) fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    encode_frame(&mut frame, opcode, payload, None);
    frame.into()
}

/// A value as a text frame.
pub(crate) fn json_frame(value: &Value) -> Bytes {
    frame(Opcode::Text, value.to_string().as_bytes())
}
