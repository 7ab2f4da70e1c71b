use crate::{Config, handles::pending_acks::AckIds, metrics::Counters};

/// What a server, its namespaces and its sockets share.
#[derive(Default)]
pub(crate) struct Common {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) ack_ids: AckIds,
}
