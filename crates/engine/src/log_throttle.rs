use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sockeye_protocol::engineio::session::UpgradeError;

use crate::CloseReason;

/// Logs a message that a client can cause: at its level once an hour for each subject, else at level debug. One line for
/// each message would let any client fill the log, yet an operator must learn which setting turns clients away.
///
/// The level and the subject come first, then what the macros of `tracing` take, which must be a dependency. Each call has
/// a [`LogThrottle`] of its own. If it has left messages out since its last line, the line has a field `left_out`, how many.
///
/// ```
/// use sockeye_engine::{excerpt, log_throttled};
///
/// fn warn_about(name: &str) {
///     log_throttled!(warn, name, name = excerpt(name), "refused a client");
/// }
/// ```
#[macro_export]
macro_rules! log_throttled {
    ($level:ident, $subject:expr, $($message:tt)+) => {{
        static THROTTLE: $crate::LogThrottle = $crate::LogThrottle::new();
        match THROTTLE.permit($subject) {
            Some(left_out) => ::tracing::$level!(left_out = (left_out > 0).then_some(left_out), $($message)+),
            None => ::tracing::debug!($($message)+),
        }
    }};
}

/// Decides which messages about clients reach the log at their own level: each subject once an hour, up to 16 subjects in
/// that time. The others are counted. Use it through [`log_throttled!`](crate::log_throttled).
///
/// Keep a throttle in a `static`, because the log belongs to the whole process.
#[derive(Debug)]
pub struct LogThrottle(Mutex<Recent>);

/// The subjects that were logged since the period began.
#[derive(Debug)]
struct Recent {
    since: Option<Instant>,
    subjects: Vec<Box<str>>,
    /// The messages that were left out since the last one that was permitted.
    left_out: u64,
}

/// After this time, a subject is logged again.
const PERIOD: Duration = Duration::from_secs(3600);

/// The most subjects that are logged in one period.
const MAX_SUBJECTS: usize = 16;

/// The most bytes of a client's value that the log shows.
const MAX_EXCERPT: usize = 100;

/// The messages that all throttles of the process have left out.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

impl LogThrottle {
    /// A throttle that has permitted nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Recent::new()))
    }

    /// Permits a message about `subject`, or counts it as left out. A permit is the number of messages that were left out
    /// since the last permit.
    pub fn permit(&self, subject: &str) -> Option<u64> {
        let permit = self.0.lock().permit(subject, Instant::now());
        if permit.is_none() {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }

    /// How many messages all throttles of the process have left out since it started.
    pub fn left_out() -> u64 {
        LEFT_OUT.load(Ordering::Relaxed)
    }
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl Recent {
    const fn new() -> Self {
        Self { since: None, subjects: Vec::new(), left_out: 0 }
    }

    fn permit(&mut self, subject: &str, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            self.since = Some(now);
            self.subjects = Vec::new();
        }
        let subject = excerpt(subject);
        if self.subjects.len() >= MAX_SUBJECTS || self.subjects.iter().any(|known| **known == *subject) {
            self.left_out += 1;
            return None;
        }
        self.subjects.push(subject.into());
        Some(std::mem::take(&mut self.left_out))
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
    let line = format!("`{setting} = {limit}`: {consequence}");
    log_throttled!(warn, &line, client, "limit reached: {line}; raise the setting if clients need more");
}

/// Logs that a session ended because its client broke the protocol.
pub(crate) fn log_violation(sid: &str, reason: CloseReason, fault: &dyn Display) {
    let fault = fault.to_string();
    log_throttled!(warn, &fault, sid, %reason, "closed a session because its client broke the protocol: {fault}");
}

/// Logs that a session goes on polling because its WebSocket did not take over. A client that leaves in between is nothing
/// to warn about.
pub(crate) fn log_failed_upgrade(sid: &str, error: UpgradeError, upgrade_timeout: Duration) {
    match error {
        UpgradeError::TimedOut => {
            let limit = format!("{upgrade_timeout:?}");
            log_limit(sid, "upgrade_timeout", limit, "gave up a WebSocket that did not complete its upgrade in time");
        }
        UpgradeError::Unexpected => {
            log_throttled!(
                warn,
                &error.to_string(),
                sid,
                "an upgrade failed, and the session goes on polling: {error}"
            );
        }
        error => tracing::debug!(sid, "an upgrade failed, and the session goes on polling: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_logged_once_an_hour_up_to_a_number_of_subjects_and_the_others_are_counted() {
        let mut recent = Recent::new();
        let begun = Instant::now();
        assert_eq!(recent.permit("a", begun), Some(0));
        assert_eq!(recent.permit("a", begun), None);
        assert_eq!(recent.permit("b", begun), Some(1), "another subject is logged too, with what was left out before");
        let others = (0..100).filter(|number| recent.permit(&number.to_string(), begun).is_some()).count();
        assert_eq!(others, MAX_SUBJECTS - 2);
        assert_eq!(recent.permit("a", begun + PERIOD - Duration::from_secs(1)), None);
        assert_eq!(recent.permit("a", begun + PERIOD), Some(100 - 14 + 1));
        assert_eq!(recent.permit("c", begun + PERIOD), Some(0));
    }

    #[test]
    fn an_excerpt_is_short_and_ends_between_characters() {
        assert_eq!(excerpt("https://a.example"), "https://a.example");
        assert_eq!(excerpt(&"€".repeat(50)), "€".repeat(33));
    }
}
