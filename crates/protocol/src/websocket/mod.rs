//! The WebSocket protocol of RFC 6455, either side of it, on byte slices.
//!
//! [`Decoder`] turns whatever bytes arrived into [`Event`]s. [`encode_frame`] and [`encode_close`] append frames to a
//! buffer; [`encode_head`] makes a head alone, for a payload that is shared by many recipients. The opening handshake
//! is HTTP, except for [`accept_key`].
mod close;
mod close_code;
mod decoder;
mod error;
mod event;
mod growth;
mod handshake;
mod head;
mod inline;
mod limits;
mod mask;
mod message;
mod opcode;
mod read_buffer;
mod role;
mod utf8;

pub use close::encode_close;
pub use close_code::CloseCode;
pub use decoder::Decoder;
pub use error::DecodeError;
pub use event::Event;
pub use handshake::accept_key;
pub use head::{Head, MAX_HEAD, MAX_SERVER_HEAD, encode_frame, encode_head};
pub use limits::Limits;
pub use mask::apply_mask;
pub use opcode::Opcode;
pub use read_buffer::with_read_buffer;
pub use role::Role;
