use std::time::Duration;

use tokio::time::Instant;

/// How many events a connection may send: a bucket that fills at a steady rate and holds a second's worth. When it is
/// empty the connection is not read for a moment, which slows its client down and loses nothing.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: u32,
    /// Below zero for the event that found the bucket empty: it is handled all the same, and paid for later.
    left: i64,
    filled: Option<Instant>,
    closed_until: Option<Instant>,
}

/// How long an empty bucket is given to fill at the least, because waking up costs something too.
const PAUSE: Duration = Duration::from_millis(10);

impl Allowance {
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate, left: rate.into(), filled: None, closed_until: None }
    }

    /// Takes one event out of the bucket. False if that has emptied it, so that the connection must pause.
    pub(crate) fn take(&mut self) -> bool {
        self.left -= 1;
        if self.left >= 0 {
            return true;
        }
        // The clock is only read when the bucket is empty.
        let now = Instant::now();
        self.fill(now);
        if self.left < 0 {
            self.closed_until = Some(now + self.until_paid());
        }
        self.left >= 0
    }

    /// How long the bucket takes to fill up to where it owes nothing.
    fn until_paid(&self) -> Duration {
        let owed = self.left.unsigned_abs().saturating_mul(1_000_000) / u64::from(self.rate.max(1));
        Duration::from_micros(owed).max(PAUSE)
    }

    /// Whether the connection may be read.
    pub(crate) fn is_open(&self) -> bool {
        self.closed_until.is_none_or(|at| Instant::now() >= at)
    }

    pub(crate) fn closed_until(&self) -> Option<Instant> {
        self.closed_until
    }

    pub(crate) fn reopen(&mut self, now: Instant) {
        if self.closed_until.is_some_and(|at| now >= at) {
            self.closed_until = None;
            self.fill(now);
        }
    }

    fn fill(&mut self, now: Instant) {
        // The first bucket lasted as long as it did; from now on time counts.
        let filled = *self.filled.get_or_insert(now);
        let earned = now.duration_since(filled).as_secs_f64() * f64::from(self.rate);
        if earned >= 1.0 {
            self.filled = Some(now);
            // A float that is too large becomes the largest number, which the rate then bounds.
            self.left = self.left.saturating_add(earned as i64).min(self.rate.into());
        }
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
    async fn what_came_in_one_read_is_paid_for_before_the_next() {
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
