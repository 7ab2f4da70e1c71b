//! `sockeye serve`: the server, from its settings to its end.
mod app;
mod banner;
pub(crate) mod listen;

pub(crate) use app::App;
pub(crate) use banner::Banner;
