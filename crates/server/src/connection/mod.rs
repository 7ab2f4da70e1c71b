//! The work of one connection, and of each socket that shares it.
pub(crate) mod client;
mod entry;
mod member;
mod other_namespaces;
mod rate;
mod refusal;
mod violation;
