//! The work of one connection, and of each socket that shares it.
pub(crate) mod client;
mod member;
mod rate;
