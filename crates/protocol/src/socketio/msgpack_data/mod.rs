//! MessagePack as serde reads and writes it.
mod reader;
mod timestamp;
mod writer;

pub(super) use reader::{Reader, Token};
pub(super) use writer::{Dialect, Writer};
