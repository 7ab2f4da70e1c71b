/// Reads a timestamp in one of the three forms of the MessagePack specification; milliseconds since 1970.
pub(super) fn milliseconds(data: &[u8]) -> Option<i64> {
    let (seconds, nanoseconds) = match *data {
        [a, b, c, d] => (i64::from(u32::from_be_bytes([a, b, c, d])), 0),
        [a, b, c, d, e, f, g, h] => {
            let packed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            (i64::try_from(packed & 0x3_ffff_ffff).ok()?, i64::try_from(packed >> 34).ok()?)
        }
        [a, b, c, d, e, f, g, h, i, j, k, l] => {
            (i64::from_be_bytes([e, f, g, h, i, j, k, l]), i64::from(u32::from_be_bytes([a, b, c, d])))
        }
        _ => return None,
    };
    seconds.checked_mul(1_000)?.checked_add(nanoseconds / 1_000_000)
}

/// Writes a time as JavaScript's `Date` does in JSON, so that a handler gets the same text by either parser.
pub(super) fn iso_8601(milliseconds: i64) -> String {
    const DAY: i64 = 86_400_000;
    let (year, month, day) = civil_date(milliseconds.div_euclid(DAY));
    let time = milliseconds.rem_euclid(DAY);
    let (hour, minute, second, fraction) = (time / 3_600_000, time / 60_000 % 60, time / 1_000 % 60, time % 1_000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// Turns days since 1970-01-01 into year, month and day of the Gregorian calendar.
///
/// It counts in eras of 400 years, 146,097 days each, and in years that start in March, so that the leap day is the last.
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
            assert_eq!(iso_8601(milliseconds), text);
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert!(iso_8601(extreme).ends_with('Z'));
        }
    }

    #[test]
    fn the_three_forms_of_a_timestamp_are_read() {
        assert_eq!(milliseconds(&[0, 0, 0, 2]), Some(2_000));
        assert_eq!(milliseconds(&((5_000_000_u64 << 34) | 3).to_be_bytes()), Some(3_005));
        let mut long = vec![0, 0x0f, 0x42, 0x40];
        long.extend((-2_i64).to_be_bytes());
        assert_eq!(milliseconds(&long), Some(-1_999));
        assert_eq!(milliseconds(&[0; 5]), None);
    }
}
