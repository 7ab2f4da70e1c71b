use std::time::Duration;

/// The times a session keeps. Each is rounded down to whole milliseconds and cut at 24 hours: longer ones, which a
/// server may announce, mean nothing and would overflow an `Instant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    interval: u32,
    timeout: u32,
    upgrade: u32,
    close: u32,
}

impl Timing {
    /// The two times of the heartbeat, which a server announces in its open packet: the time between two pings, at
    /// least 1 ms, and how long the answer may take. An upgrade may take 10 s and a farewell 2 s.
    pub fn new(ping_interval: Duration, ping_timeout: Duration) -> Self {
        let interval = millis(ping_interval).max(1);
        Self { interval, timeout: millis(ping_timeout), upgrade: 10_000, close: 2_000 }
    }

    /// Sets how long an upgrade may take from the opening of its WebSocket.
    #[must_use]
    pub fn upgrade_timeout(mut self, upgrade_timeout: Duration) -> Self {
        self.upgrade = millis(upgrade_timeout);
        self
    }

    /// Sets how long the last packets of a closed session may take.
    #[must_use]
    pub fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close = millis(close_timeout);
        self
    }

    pub(super) fn ping_interval(self) -> Duration {
        Duration::from_millis(self.interval.into())
    }

    pub(super) fn ping_timeout(self) -> Duration {
        Duration::from_millis(self.timeout.into())
    }

    pub(super) fn upgrade(self) -> Duration {
        Duration::from_millis(self.upgrade.into())
    }

    pub(super) fn close(self) -> Duration {
        Duration::from_millis(self.close.into())
    }
}

const LONGEST: Duration = Duration::from_hours(24);

fn millis(duration: Duration) -> u32 {
    // 24 hours are 86,400,000 ms.
    duration.min(LONGEST).as_millis().try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_times_are_cut() {
        let timing = Timing::new(Duration::MAX, Duration::MAX);
        assert_eq!((timing.ping_interval(), timing.ping_timeout()), (LONGEST, LONGEST));
        let timing = Timing::new(Duration::ZERO, Duration::ZERO);
        assert_eq!((timing.ping_interval(), timing.ping_timeout()), (Duration::from_millis(1), Duration::ZERO));
    }
}
