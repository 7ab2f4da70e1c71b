/// How much may wait to be sent, for each namespace while it is offline, and for the connection while the server
/// doesn't read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimits {
    /// The most events; 65,536 by default.
    pub packets: usize,
    /// The most bytes, attachments included; 16 MiB by default.
    pub bytes: usize,
    /// What happens to an event beyond either limit while its namespace is offline. While the server doesn't read, and
    /// with [`Retries`](crate::Retries), which are to lose nothing, `emit` fails.
    pub policy: OverflowPolicy,
}

/// What gives way when a buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverflowPolicy {
    /// The new event: its `emit` fails, so that the caller knows.
    #[default]
    Reject,
    /// The oldest events, whose acknowledgements then fail. Good for states, of which only the latest count.
    DropOldest,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { packets: 65_536, bytes: 16 * 1024 * 1024, policy: OverflowPolicy::Reject }
    }
}
