use std::time::Duration;

use sockeye::{EngineConfig, OriginPolicy};

/// The limits and times of plain connections, which are those of Socket.IO connections.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) origins: OriginPolicy,
    pub(super) max_payload: usize,
    pub(super) outbox_bytes: usize,
    pub(super) close_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}

impl Config {
    pub(super) fn of(engine: &EngineConfig) -> Self {
        Self {
            origins: engine.origins.clone(),
            max_payload: engine.max_payload,
            outbox_bytes: engine.outbox_bytes,
            close_timeout: engine.close_timeout,
            ping_interval: engine.ping_interval,
            ping_timeout: engine.ping_timeout,
        }
    }
}
