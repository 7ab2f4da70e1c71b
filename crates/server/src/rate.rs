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

/// How long an empty bucket is given to fill.
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
            self.closed_until = Some(now + PAUSE);
        }
        self.left >= 0
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
}
