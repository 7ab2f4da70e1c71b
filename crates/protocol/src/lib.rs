//! Sans-IO Engine.IO, Socket.IO and WebSocket: bytes in, packets out; no clock, no sockets.
//!
//! Enums of errors may get more variants. All other enums are exhaustive: they list what a protocol defines, or what a
//! state machine asks of its driver, and whoever matches on them must handle each variant.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

pub mod engineio;
pub mod socketio;
pub mod websocket;
