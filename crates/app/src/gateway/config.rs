use std::time::Duration;

use sockeye::{EngineConfig, OriginPolicy, PermitLimits};

use crate::settings::Settings;

/// The limits and times of plain connections. All but the number of connections are those of Socket.IO connections.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) origins: OriginPolicy,
    pub(super) trust_forwarded: bool,
    pub(super) permits: PermitLimits,
    pub(super) max_payload: usize,
    pub(super) outbox_bytes: usize,
    pub(super) close_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}

impl Config {
    pub(super) fn new(settings: &Settings, engine: &EngineConfig) -> Self {
        Self {
            origins: engine.origins.clone(),
            trust_forwarded: engine.trust_forwarded,
            permits: PermitLimits {
                max: settings.max_plain_connections,
                max_per_address: settings.max_plain_connections_per_address,
                rate: engine.max_session_rate,
                rate_per_address: engine.max_session_rate_per_address,
            },
            max_payload: engine.max_payload,
            outbox_bytes: engine.outbox_bytes,
            close_timeout: engine.close_timeout,
            ping_interval: engine.ping_interval,
            ping_timeout: engine.ping_timeout,
        }
    }
}
