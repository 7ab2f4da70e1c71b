use std::time::Duration;

use tokio::time::Instant;

/// Limits the rate of a connection's events with a token bucket. The bucket fills at a steady rate and holds the tokens
/// of one second. While it is empty, the server does not read the connection: the client slows down, and no event is
/// lost.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: u32,
    /// Negative after events that found the bucket empty. The server handles these events all the same; later tokens
    /// pay for them.
    left: i64,
    /// Present once the bucket has been empty, which most connections never see.
    emptied: Option<Box<Emptied>>,
}

/// The times of a bucket that has been empty.
#[derive(Debug)]
struct Emptied {
    filled: Instant,
    closed_until: Option<Instant>,
}

/// The shortest pause for an empty bucket. Shorter ones would wake the task too often.
const PAUSE: Duration = Duration::from_millis(10);

impl Allowance {
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate, left: rate.into(), emptied: None }
    }

    /// Takes a token for one event. Returns false if the bucket is empty, so that the connection must pause.
    pub(crate) fn take(&mut self) -> bool {
        self.left -= 1;
        if self.left >= 0 {
            return true;
        }
        // It reads the clock only when the bucket is empty.
        let now = Instant::now();
        self.fill(now);
        if self.left >= 0 {
            return true;
        }
        let closed_until = now + self.until_paid();
        self.emptied(now).closed_until = Some(closed_until);
        false
    }

    /// The time until the bucket is no longer negative.
    fn until_paid(&self) -> Duration {
        let owed = self.left.unsigned_abs().saturating_mul(1_000_000) / u64::from(self.rate.max(1));
        Duration::from_micros(owed).max(PAUSE)
    }

    /// Whether the connection may be read.
    pub(crate) fn is_open(&self) -> bool {
        self.closed_until().is_none_or(|at| Instant::now() >= at)
    }

    pub(crate) fn closed_until(&self) -> Option<Instant> {
        self.emptied.as_ref()?.closed_until
    }

    pub(crate) fn reopen(&mut self, now: Instant) {
        if self.closed_until().is_some_and(|at| now >= at) {
            self.emptied(now).closed_until = None;
            self.fill(now);
        }
    }

    fn fill(&mut self, now: Instant) {
        let earned = now.duration_since(self.emptied(now).filled).as_secs_f64() * f64::from(self.rate);
        if earned >= 1.0 {
            self.emptied(now).filled = now;
            // The cast turns a float that is too large into the largest integer, and `min` bounds it by the rate.
            self.left = self.left.saturating_add(earned as i64).min(self.rate.into());
        }
    }

    fn emptied(&mut self, now: Instant) -> &mut Emptied {
        // The bucket starts full, so that the time before it is empty for the first time does not count.
        self.emptied.get_or_insert_with(|| Box::new(Emptied { filled: now, closed_until: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate_holds() {
        let mut allowance = Allowance::new(1000);
        assert!((0..1000).all(|_| allowance.take()));
        assert!(!allowance.take(), "the bucket must be empty after its size");
        assert!(!allowance.is_open());
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(allowance.is_open());
        allowance.reopen(Instant::now());
        let passed = (0..1000).take_while(|_| allowance.take()).count();
        assert!((95..=105).contains(&passed), "{passed} events passed in a tenth of a second at 1000 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn events_of_one_read_are_paid_before_the_next_read() {
        for (rate, each) in [(10, 1), (10, 5), (1000, 200), (0, 1)] {
            let mut allowance = Allowance::new(rate);
            let begun = Instant::now();
            let mut taken = 0;
            while begun.elapsed() < Duration::from_secs(20) {
                for _ in 0..each {
                    allowance.take();
                    taken += 1;
                }
                if let Some(until) = allowance.closed_until() {
                    tokio::time::sleep_until(until).await;
                    allowance.reopen(Instant::now());
                }
            }
            let allowed = u64::from(rate) * 21 + 2 * each + 21;
            assert!(taken <= allowed, "{taken} events passed in 20 seconds at {rate} a second, {each} at a time");
        }
    }
}
