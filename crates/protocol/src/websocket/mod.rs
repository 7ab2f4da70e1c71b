//! The WebSocket protocol of RFC 6455, either side of it, on byte slices.
//!
//! [`Decoder`] turns whatever bytes arrived into [`Event`]s. [`encode_frame`] and [`encode_close`] append frames to a
//! buffer; [`encode_head`] makes a head alone, for a payload that is shared by many recipients. The opening handshake
//! is HTTP, except for [`accept_key`].
mod close;
mod decoder;
mod error;
mod handshake;
mod head;
mod inline;
mod mask;
mod message;
mod read_buffer;
mod utf8;

pub use close::{CloseCode, encode_close};
pub use decoder::{Decoder, Event, Limits, Role};
pub use error::DecodeError;
pub use handshake::accept_key;
pub use head::{Head, MAX_HEAD, MAX_SERVER_HEAD, Opcode, encode_frame, encode_head};
pub use mask::apply_mask;
pub use read_buffer::with_read_buffer;
