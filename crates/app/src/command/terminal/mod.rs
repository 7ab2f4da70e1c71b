//! Printing and reading lines.
pub(crate) mod console;
pub(crate) mod editor;
pub(crate) mod packets;
