use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use super::extension::DATE;

/// A point in time, a `Date` in JavaScript.
///
/// Only MessagePack has a form for it. In JSON it is text, `"2023-11-14T22:13:20.123Z"`, as JavaScript's
/// `JSON.stringify` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    milliseconds: i64,
}

impl Date {
    /// The time that is `milliseconds` after 1970-01-01T00:00:00Z, or before it if negative.
    #[must_use]
    pub const fn from_unix_milliseconds(milliseconds: i64) -> Self {
        Self { milliseconds }
    }

    /// The milliseconds since 1970-01-01T00:00:00Z, what `getTime()` returns in JavaScript.
    #[must_use]
    pub const fn unix_milliseconds(self) -> i64 {
        self.milliseconds
    }
}

impl From<SystemTime> for Date {
    /// Rounds down to a whole millisecond.
    fn from(time: SystemTime) -> Self {
        let milliseconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                let nanoseconds = before.duration().as_nanos();
                i64::try_from(nanoseconds.div_ceil(1_000_000)).map_or(i64::MIN, |milliseconds| -milliseconds)
            }
        };
        Self { milliseconds }
    }
}

impl Date {
    /// The time as the system counts it; `None` if the system can't hold it.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let distance = Duration::from_millis(self.milliseconds.unsigned_abs());
        if self.milliseconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }
}

/// Writes the time as JavaScript's `toISOString()` does.
impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000;
        let (year, month, day) = civil_date(self.milliseconds.div_euclid(DAY));
        let time = self.milliseconds.rem_euclid(DAY);
        let (hour, minute, second, fraction) = (time / 3_600_000, time / 60_000 % 60, time / 1_000 % 60, time % 1_000);
        match year {
            0..=9999 => write!(formatter, "{year:04}")?,
            _ => write!(formatter, "{year:+07}")?,
        }
        write!(formatter, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(DATE, &Content(*self))
    }
}

/// The content of the newtype struct: milliseconds for the MessagePack writer, which says that it is not human
/// readable, and text for every other serialiser.
struct Content(Date);

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_i64(self.0.milliseconds)
        }
    }
}

/// Turns days since 1970-01-01 into year, month and day of the Gregorian calendar.
///
/// It counts in eras of 400 years, 146,097 days each, and in years that start in March, so that the leap day is the
/// last.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_javascript_does() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (-62_198_755_200_000, "-000001-01-01T00:00:00.000Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Date::from_unix_milliseconds(milliseconds).to_string(), text);
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert!(Date::from_unix_milliseconds(extreme).to_string().ends_with('Z'));
        }
    }

    #[test]
    fn system_time_converts() {
        for milliseconds in [0, 1, -1, 1_700_000_000_123, -62_198_755_200_000] {
            let date = Date::from_unix_milliseconds(milliseconds);
            assert_eq!(date.to_system_time().map(Date::from), Some(date));
        }
        assert_eq!(Date::from(UNIX_EPOCH + Duration::from_micros(1_999)).unix_milliseconds(), 1);
        assert_eq!(Date::from(UNIX_EPOCH - Duration::from_micros(1)).unix_milliseconds(), -1);
    }
}
