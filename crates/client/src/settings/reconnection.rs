use std::time::Duration;

/// When and how often the client tries to replace a lost connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconnection {
    /// Whether to reconnect at all; `true` by default.
    pub enabled: bool,
    /// The delay before the first attempt; it doubles with each further one. 1 s by default. With 0 the first attempt
    /// is made at once, and the delays after it start from 100 ms.
    pub delay: Duration,
    /// The longest delay, before jitter; 5 s by default.
    pub delay_max: Duration,
    /// The share, from 0 to 1, by which each delay is lengthened or shortened at random; 0.5 by default. It applies to
    /// the longest delay too, so that many clients do not return at the same moment.
    pub jitter: f64,
    /// After how many failed attempts in a row to give up; never by default.
    pub attempts: Option<u32>,
    /// Whether the first attempt is made without delay; `false` by default.
    pub immediate: bool,
}

impl Default for Reconnection {
    fn default() -> Self {
        Self {
            enabled: true,
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(5),
            jitter: 0.5,
            attempts: None,
            immediate: false,
        }
    }
}

impl Reconnection {
    /// Never reconnects.
    pub fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }
}

/// The second delay if the first is 0, which doubling would leave at 0.
const SMALLEST_STEP: Duration = Duration::from_millis(100);

/// Counts attempts and says how long to wait before the next.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// How often the delay has doubled.
    step: u32,
    /// The attempts since the last connection that was opened.
    attempts: u32,
}

impl Backoff {
    /// The delay before the next attempt, or `None` to give up. `random` is uniform in `[0, 1)`.
    pub(crate) fn next(&mut self, policy: &Reconnection, random: f64) -> Option<Duration> {
        if !policy.enabled || policy.attempts.is_some_and(|limit| self.attempts >= limit) {
            return None;
        }
        let delay = self.nominal(policy);
        self.step = self.step.saturating_add(1);
        self.attempts = self.attempts.saturating_add(1);
        let factor = 1.0 + policy.jitter.clamp(0.0, 1.0) * (2.0 * random - 1.0);
        Some(delay.mul_f64(factor.max(0.0)))
    }

    /// How many attempts were made since the last connection.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// A connection was opened.
    pub(crate) fn opened(&mut self) {
        self.attempts = 0;
    }

    /// A connection was lost after `lifetime`. The delays start anew only if it lived longer than the next delay, so that
    /// a server that accepts connections and drops them at once is not asked without a pause.
    pub(crate) fn lost(&mut self, policy: &Reconnection, lifetime: Duration) {
        if lifetime > self.nominal(policy).max(SMALLEST_STEP) {
            self.step = 0;
        }
    }

    fn nominal(&self, policy: &Reconnection) -> Duration {
        if self.step == 0 && (policy.immediate || policy.delay.is_zero()) {
            return Duration::ZERO;
        }
        let skipped = u32::from(policy.immediate || policy.delay.is_zero());
        let base = if policy.delay.is_zero() { SMALLEST_STEP } else { policy.delay };
        let factor = 2_u32.saturating_pow(self.step - skipped);
        base.saturating_mul(factor).min(policy.delay_max.max(SMALLEST_STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: &Reconnection, random: f64, count: usize) -> Vec<u128> {
        let mut backoff = Backoff::default();
        (0..count).map(|_| backoff.next(policy, random).unwrap().as_millis()).collect()
    }

    #[test]
    fn a_delay_doubles_up_to_the_maximum() {
        assert_eq!(delays(&Reconnection::default(), 0.5, 6), [1000, 2000, 4000, 5000, 5000, 5000]);
    }

    #[test]
    fn jitter_applies_after_the_cap() {
        let policy = Reconnection::default();
        assert_eq!(delays(&policy, 0.0, 5), [500, 1000, 2000, 2500, 2500]);
        assert_eq!(delays(&policy, 1.0, 5), [1500, 3000, 6000, 7500, 7500]);
    }

    #[test]
    fn a_delay_of_zero_still_backs_off() {
        let policy = Reconnection { delay: Duration::ZERO, ..Reconnection::default() };
        assert_eq!(delays(&policy, 0.5, 8), [0, 100, 200, 400, 800, 1600, 3200, 5000]);
        let policy = Reconnection { delay_max: Duration::ZERO, ..policy };
        assert_eq!(delays(&policy, 0.5, 3), [0, 100, 100]);
    }

    #[test]
    fn the_first_attempt_may_be_immediate() {
        let policy = Reconnection { immediate: true, ..Reconnection::default() };
        assert_eq!(delays(&policy, 0.5, 4), [0, 1000, 2000, 4000]);
    }

    #[test]
    fn no_number_of_attempts_overflows() {
        let mut backoff = Backoff { step: u32::MAX - 1, attempts: u32::MAX - 1 };
        for _ in 0..4 {
            assert_eq!(backoff.next(&Reconnection::default(), 0.5), Some(Duration::from_secs(5)));
        }
    }

    #[test]
    fn a_client_gives_up_after_the_allowed_attempts() {
        let policy = Reconnection { attempts: Some(2), ..Reconnection::default() };
        let mut backoff = Backoff::default();
        assert!(backoff.next(&policy, 0.5).is_some());
        assert!(backoff.next(&policy, 0.5).is_some());
        assert_eq!(backoff.next(&policy, 0.5), None);
        backoff.opened();
        assert!(backoff.next(&policy, 0.5).is_some());
        assert_eq!(Backoff::default().next(&Reconnection::off(), 0.5), None);
    }

    #[test]
    fn delays_start_anew_after_a_connection_that_lasted() {
        let policy = Reconnection { delay: Duration::ZERO, ..Reconnection::default() };
        let mut backoff = Backoff::default();
        let mut reconnect = |lifetime| {
            backoff.opened();
            backoff.lost(&policy, lifetime);
            backoff.next(&policy, 0.5).unwrap().as_millis()
        };
        let brief = Duration::from_millis(1);
        assert_eq!([reconnect(brief), reconnect(brief), reconnect(brief)], [0, 100, 200]);
        assert_eq!(reconnect(Duration::from_secs(60)), 0);
    }
}
