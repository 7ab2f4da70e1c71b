//! The commands that make the program a client. Each has its own module; the others are shared.
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod emit;

mod advice;
mod outcome;
mod target;
mod terminal;
mod values;

pub(crate) use outcome::{CommandError, Status};
