//! What a command prints, and the lines it reads.
pub(crate) mod console;
pub(crate) mod editor;
pub(crate) mod packets;
