use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sockeye_protocol::engineio::session::UpgradeError;

use crate::CloseReason;

/// Decides which warnings about clients reach the log at its default level. One line for each would let any client fill
/// the log, yet an operator must learn which setting turns clients away: each subject is logged once an hour, up to 16
/// subjects in that time. The others are for level debug.
///
/// The log belongs to the process, so that a throttle belongs into a `static`.
///
/// ```
/// use sockeye_engine::{LogThrottle, excerpt};
///
/// static THROTTLE: LogThrottle = LogThrottle::new();
///
/// fn warn_about(name: &str) {
///     if THROTTLE.permits(name) {
///         tracing::warn!(name = excerpt(name), "refused a client");
///     } else {
///         tracing::debug!(name = excerpt(name), "refused a client");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct LogThrottle(Mutex<Recent>);

/// The subjects that were logged since the period began.
#[derive(Debug)]
struct Recent {
    since: Option<Instant>,
    subjects: Vec<Box<str>>,
}

/// After this time, a subject is logged again.
const PERIOD: Duration = Duration::from_secs(3600);

/// The most subjects that are logged in one period.
const MAX_SUBJECTS: usize = 16;

/// The most bytes of a client's value that the log shows.
const MAX_EXCERPT: usize = 100;

impl LogThrottle {
    /// A throttle that has permitted nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Recent { since: None, subjects: Vec::new() }))
    }

    /// Whether a warning about `subject` may be logged now. If so, it counts as logged.
    pub fn permits(&self, subject: &str) -> bool {
        self.0.lock().permits(subject, Instant::now())
    }
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl Recent {
    fn permits(&mut self, subject: &str, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            *self = Self { since: Some(now), subjects: Vec::new() };
        }
        let subject = excerpt(subject);
        let permits = self.subjects.len() < MAX_SUBJECTS && !self.subjects.iter().any(|known| **known == *subject);
        if permits {
            self.subjects.push(subject.into());
        }
        permits
    }
}

/// The beginning of a client's value, at most 100 bytes of it, for the log.
pub fn excerpt(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_EXCERPT)).unwrap_or_default()
}

/// Logs that a client was turned away because it reached a limit: as a warning once an hour for each setting, value and
/// consequence, else at level debug. `client` is the short id of its session, or its address; `consequence` says what became of it.
///
/// ```
/// # let sid = sockeye_engine::Sid::random();
/// sockeye_engine::log_limit(sid.short(), "max_attachments", 10, "closed a connection whose packet has more attachments");
/// ```
pub fn log_limit(client: &str, setting: &'static str, limit: impl Display, consequence: &str) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    let line = format!("`{setting} = {limit}`: {consequence}");
    if THROTTLE.permits(&line) {
        tracing::warn!(client, "limit reached: {line}; raise the setting if clients need more");
    } else {
        tracing::debug!(client, "limit reached: {line}");
    }
}

/// Logs that a session ended because its client broke the protocol: as a warning once an hour for each fault, else at
/// level debug.
pub(crate) fn log_violation(sid: &str, reason: CloseReason, fault: &dyn Display) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    if THROTTLE.permits(&fault.to_string()) {
        tracing::warn!(sid, %reason, "closed a session because its client broke the protocol: {fault}");
    } else {
        tracing::debug!(sid, %reason, "closed a session because its client broke the protocol: {fault}");
    }
}

/// Logs that a session goes on polling because its WebSocket did not take over: as a warning once an hour for each cause,
/// else at level debug. A client that leaves in between is nothing to warn about.
pub(crate) fn log_failed_upgrade(sid: &str, error: UpgradeError, upgrade_timeout: Duration) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    match error {
        UpgradeError::TimedOut => {
            let limit = format!("{upgrade_timeout:?}");
            log_limit(sid, "upgrade_timeout", limit, "gave up a WebSocket that did not complete its upgrade in time");
        }
        UpgradeError::Unexpected if THROTTLE.permits(&error.to_string()) => {
            tracing::warn!(sid, "an upgrade failed, and the session goes on polling: {error}");
        }
        error => tracing::debug!(sid, "an upgrade failed, and the session goes on polling: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_logged_once_an_hour_up_to_a_number_of_subjects() {
        let mut recent = Recent { since: None, subjects: Vec::new() };
        let begun = Instant::now();
        assert!(recent.permits("a", begun));
        assert!(!recent.permits("a", begun));
        assert!(recent.permits("b", begun), "another subject is logged too");
        let others = (0..100).filter(|number| recent.permits(&number.to_string(), begun)).count();
        assert_eq!(others, MAX_SUBJECTS - 2);
        assert!(!recent.permits("a", begun + PERIOD - Duration::from_secs(1)));
        assert!(recent.permits("a", begun + PERIOD));
        assert!(recent.permits("c", begun + PERIOD));
    }

    #[test]
    fn an_excerpt_is_short_and_ends_between_characters() {
        assert_eq!(excerpt("https://a.example"), "https://a.example");
        assert_eq!(excerpt(&"€".repeat(50)), "€".repeat(33));
    }
}
