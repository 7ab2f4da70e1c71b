//! Socket.IO, protocol revisions 5 and 4: packets with binary attachments as JSON text, and the MessagePack parser.

mod args;
mod args_buf;
mod arguments;
mod binary;
mod date;
mod decoder;
mod encode;
mod encoded;
mod error;
mod extension;
mod json;
mod map_key;
pub mod membership;
pub mod msgpack;
mod msgpack_data;
mod packet;
mod placeholder;
mod surrogates;
mod transcode;
mod value;

pub use args::{Args, ArgumentError};
pub use args_buf::ArgsBuf;
pub use arguments::Arguments;
pub use date::Date;
pub use decoder::Decoder;
pub use encode::{
    append_argument, append_elements, encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event,
};
pub use encoded::Encoded;
pub use error::{DecodeError, EncodeError, ValueError};
pub use packet::{Ack, Event, Limits, Packet, Revision, is_reserved};
pub use value::{Map, Number, Value};
