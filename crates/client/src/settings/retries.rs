use std::time::Duration;

/// Sends every event of a socket until it is acknowledged: one at a time, in order.
///
/// An event may reach the server more than once, as when the connection breaks before its acknowledgement arrives.
/// With [`ids`](Self::ids) the server can recognise repetitions.
///
/// An event that the server never acknowledges, for example because it has no handler, holds up the events behind it until
/// it is given up, which [`DeliveryFailed`](crate::ManagerEvent::DeliveryFailed) reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// How often an event is sent again after the first time before it is given up; 3 by default.
    ///
    /// Only tries that timed out on an open connection count; a try that ended with its connection does not.
    pub retries: u32,
    /// How long to wait for the acknowledgement of one try; 10 s by default.
    pub ack_timeout: Duration,
    /// Whether every event gets one more argument, the last: a text `<random>-<number>` that is the same for all tries
    /// of one event, and whose number grows by one from each event of this socket to the next. `false` by default.
    pub ids: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self { retries: 3, ack_timeout: Duration::from_secs(10), ids: false }
    }
}
