use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// One turn of a session's task: it ends when its work is done or its budget is spent, so that others get their turn.
///
/// What the turn sends to other sessions is charged to it.
pub(crate) struct Turn {
    /// How many packets this turn has read.
    pub(crate) packets: u64,
    /// How many bytes this turn has read.
    pub(crate) bytes: usize,
    /// When the first packets were handled; the clock is not read for fewer.
    clock: Option<Instant>,
    former: Current,
}

/// Where a session lies in memory, which tells it from others as long as it exists.
pub(crate) type SessionAddress = usize;

/// Who sends to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The session's own task: its handlers, and the answers of the protocol.
    Own,
    /// Anybody else.
    Other,
}

/// The most packets that a turn reads.
const PACKETS: u64 = 64;

/// The most bytes that a turn reads, but for the end of a read.
const BYTES: usize = 256 * 1024;

/// The most packets that a turn sends to other sessions, but for the end of a broadcast. While as many are not written
/// yet, the session has no further turn. A lower limit would have the others written more often, with fewer packets at a
/// time.
pub(crate) const DELIVERIES: usize = 8_192;

/// How long the handlers of a turn may run, but for the end of what one of them does without waiting.
const TIME: Duration = Duration::from_millis(2);

/// The clock is read once for this many packets.
const PACKETS_A_LOOK: u64 = 4;

/// The turn that runs on this thread.
#[derive(Debug, Clone, Copy)]
struct Current {
    /// The address of its session; 0 outside of turns.
    session: SessionAddress,
    /// How many packets it has sent to other sessions.
    deliveries: usize,
    /// Whether it has sent packets to its own session.
    has_answered: bool,
}

impl Current {
    const fn new(session: SessionAddress) -> Self {
        Self { session, deliveries: 0, has_answered: false }
    }
}

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new(Current::new(0)) };
}

impl Turn {
    /// Begins a turn of this session's task on this thread.
    pub(crate) fn begin(session: SessionAddress) -> Self {
        let former = CURRENT.replace(Current::new(session));
        Self { packets: 0, bytes: 0, clock: None, former }
    }

    /// Whether the turn has sent packets to its own session, which are to be written.
    pub(crate) fn has_answered(&self) -> bool {
        CURRENT.get().has_answered
    }

    /// How many packets the turn has sent to other sessions.
    pub(crate) fn deliveries(&self) -> usize {
        CURRENT.get().deliveries
    }

    /// Whether others must have their turn before more is read.
    pub(crate) fn is_spent(&mut self) -> bool {
        self.packets >= PACKETS || self.bytes >= BYTES || self.deliveries() >= DELIVERIES || self.took_long()
    }

    fn took_long(&mut self) -> bool {
        if !self.packets.is_multiple_of(PACKETS_A_LOOK) || self.packets == 0 {
            return false;
        }
        match self.clock {
            Some(begun) => begun.elapsed() >= TIME,
            None => {
                self.clock = Some(Instant::now());
                false
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.set(self.former);
    }
}

/// Whether the turn that runs on this thread is one of this session's task.
pub(super) fn runs(session: SessionAddress) -> bool {
    CURRENT.get().session == session
}

/// Says who sends a packet to this session, and notes that with the turn that runs on this thread.
pub(super) fn sender_to(session: SessionAddress) -> Sender {
    let current = CURRENT.get();
    if current.session == session {
        CURRENT.set(Current { has_answered: true, ..current });
        Sender::Own
    } else {
        CURRENT.set(Current { deliveries: current.deliveries + 1, ..current });
        Sender::Other
    }
}
