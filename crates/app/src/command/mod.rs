//! What the program does as a client: each command is a module of its own, and what they share stands beside them.
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod emit;

mod advice;
mod outcome;
mod target;
mod terminal;
mod values;

pub(crate) use outcome::{CommandError, Status};
