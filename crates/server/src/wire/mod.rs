//! Packets in their bytes.
pub(crate) mod packet;
pub mod parser;
