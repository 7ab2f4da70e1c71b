//! What the connections to one Redis share, and what outlives them.
use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{address::Address, connection::Connection};

pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) settings: Settings,
    /// The connection that publishes, while there is one.
    pub(super) publisher: Mutex<Option<Connection>>,
    /// The id of the last entry that was read of each stream.
    pub(super) positions: Mutex<HashMap<String, String>>,
    /// Whether streams were added since they were last looked at.
    pub(super) streams_changed: Notify,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Whether the channels are those of sharded publish and subscribe.
    pub(super) sharded: bool,
    /// About how many entries a stream keeps.
    pub(super) stream_length: usize,
}

impl Shared {
    pub(super) fn new(address: Address, settings: Settings) -> Self {
        let (publisher, positions) = (Mutex::default(), Mutex::default());
        Self { address, settings, publisher, positions, streams_changed: Notify::new() }
    }
}
