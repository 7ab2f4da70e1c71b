//! What the connections to one Redis share, and what outlives them.
use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    address::{Address, Settings},
    census::Census,
    connection::Publisher,
};

pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) settings: Settings,
    /// The connections that publish, while there are some.
    pub(super) publisher: Mutex<Option<Publisher>>,
    pub(super) census: Census,
    /// The id of the last entry that was read of each stream.
    pub(super) positions: Mutex<HashMap<String, String>>,
    /// Whether streams were added since they were last looked at.
    pub(super) streams_changed: Notify,
}

impl Shared {
    pub(super) fn new(address: Address, settings: Settings) -> Self {
        let (publisher, positions, census) = (Mutex::default(), Mutex::default(), Census::default());
        Self { address, settings, publisher, positions, census, streams_changed: Notify::new() }
    }
}
