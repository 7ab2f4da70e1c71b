//! What the program does as a client: each command is a module of its own, and what they share stands beside them.
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod emit;

mod console;
mod editor;
mod input;
mod outcome;
mod packets;
mod target;
mod values;

pub(crate) use outcome::{CommandError, Status};
