//! Both ends of a session over a network that delays, cuts and breaks off, in a time that passes only as it is told.
mod checks;
mod endpoint;
mod random;
mod schedule;
mod wire;
mod world;

use self::world::World;

/// A mistake that a driver or the session could make, planted to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// What waits is dropped when the session moves to its WebSocket.
    LosesFlush,
    /// A noop is sent twice.
    DoublesNoop,
    /// Some pings stay unanswered.
    ForgetsPong,
    /// What comes in the same read behind the upgrade packet is dropped.
    DropsEarlyPacket,
    /// The server's application is not told why the session ended.
    EndsWithoutReason,
}

/// Runs one schedule. The error says what went wrong, and what happened until then if `traces`.
pub(crate) fn run(seed: u64, fault: Fault, traces: bool) -> Result<(), (String, Vec<String>)> {
    World::new(seed, fault, traces).run()
}
