/// How many events may wait to be sent: for each namespace while it is not connected, and for the connection while the
/// server does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimits {
    /// The most events; 65,536 by default.
    pub packets: usize,
    /// The most bytes; 16 MiB by default. An event counts its bytes, those of its attachments, and 256 more for itself
    /// and for each attachment, so that the memory of the buffer is bounded too.
    pub bytes: usize,
    /// What happens to an event beyond either limit while its namespace is not connected. While the server does not read,
    /// and with [`Retries`](crate::Retries), `emit` fails.
    pub policy: OverflowPolicy,
}

/// Which events are dropped when a buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// The new event: its `emit` fails, so that the caller knows.
    #[default]
    Reject,
    /// The oldest events; their acknowledgements fail. Use it for values of which only the latest matter.
    DropOldest,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { packets: 65_536, bytes: 16 * 1024 * 1024, policy: OverflowPolicy::Reject }
    }
}
