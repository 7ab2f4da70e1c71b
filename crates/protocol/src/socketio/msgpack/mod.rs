mod packet;
mod reader;
mod timestamp;
mod writer;

pub use packet::{
    append_argument, decode, encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event,
};
pub(super) use reader::Reader;
