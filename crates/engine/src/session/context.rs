use std::sync::Arc;

use crate::{Config, counters::Counters, memory::Memory, session::flusher::Flusher};

/// What all sessions of an engine share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) memory: Arc<Memory>,
}
