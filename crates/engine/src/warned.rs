use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What was warned about of late. A line for each refusal would let anybody fill the log, but an operator must find out
/// whom the settings keep out: each value is worth a warning once in a [`PERIOD`], as long as there are not too many.
///
/// The log is the process's, and so is this, in a `static`.
#[derive(Debug)]
pub(crate) struct Warned(Mutex<Recent>);

#[derive(Debug)]
struct Recent {
    since: Option<Instant>,
    values: Vec<Box<str>>,
}

impl Warned {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Recent { since: None, values: Vec::new() }))
    }

    /// Whether a warning about `value` is due, which is then taken as given.
    pub(crate) fn is_due(&self, value: &str) -> bool {
        self.0.lock().is_due(value, Instant::now())
    }
}

/// How long a warning is good for.
const PERIOD: Duration = Duration::from_secs(3600);

/// How many values are warned about in that time.
const MOST: usize = 16;

/// How many bytes of a value the log shows.
const SHOWN: usize = 100;

/// The part of a client's value that the log shows.
pub(crate) fn shown(value: &str) -> &str {
    &value[..value.floor_char_boundary(SHOWN)]
}

impl Recent {
    fn is_due(&mut self, value: &str, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            *self = Self { since: Some(now), values: Vec::new() };
        }
        let is_due = self.values.len() < MOST && !self.values.iter().any(|known| **known == *value);
        if is_due {
            self.values.push(value.into());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_warned_about_once_in_a_while_and_not_too_many() {
        let mut recent = Recent { since: None, values: Vec::new() };
        let begun = Instant::now();
        assert!(recent.is_due("a", begun));
        assert!(!recent.is_due("a", begun));
        assert!(recent.is_due("b", begun), "another one must be found, too");
        let others = (0..100).filter(|number| recent.is_due(&number.to_string(), begun)).count();
        assert_eq!(others, MOST - 2);
        assert!(!recent.is_due("a", begun + PERIOD - Duration::from_secs(1)));
        assert!(recent.is_due("a", begun + PERIOD));
        assert!(recent.is_due("c", begun + PERIOD));
    }

    #[test]
    fn what_is_shown_is_short_and_whole_characters() {
        assert_eq!(shown("https://a.example"), "https://a.example");
        assert_eq!(shown(&"€".repeat(50)), "€".repeat(33));
    }
}
