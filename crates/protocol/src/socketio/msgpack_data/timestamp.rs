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

/// Appends a timestamp in the shortest form of the MessagePack specification; milliseconds since 1970.
pub(super) fn append(out: &mut Vec<u8>, milliseconds: i64) {
    let seconds = milliseconds.div_euclid(1_000);
    let nanoseconds = milliseconds.rem_euclid(1_000) * 1_000_000;
    match (u64::try_from(seconds), u64::try_from(nanoseconds)) {
        (Ok(seconds), Ok(nanoseconds)) if seconds >> 34 == 0 => match u32::try_from(seconds) {
            Ok(seconds) if nanoseconds == 0 => {
                out.extend_from_slice(&[0xd6, 0xff]);
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            _ => {
                out.extend_from_slice(&[0xd7, 0xff]);
                out.extend_from_slice(&(nanoseconds << 34 | seconds).to_be_bytes());
            }
        },
        _ => {
            out.extend_from_slice(&[0xc7, 12, 0xff]);
            // Nanoseconds are fewer than 2^32.
            out.extend_from_slice(&u32::try_from(nanoseconds).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_timestamp_are_read() {
        assert_eq!(milliseconds(&[0, 0, 0, 2]), Some(2_000));
        assert_eq!(milliseconds(&((5_000_000_u64 << 34) | 3).to_be_bytes()), Some(3_005));
        let mut long = vec![0, 0x0f, 0x42, 0x40];
        long.extend((-2_i64).to_be_bytes());
        assert_eq!(milliseconds(&long), Some(-1_999));
        assert_eq!(milliseconds(&[0; 5]), None);
    }

    #[test]
    fn a_timestamp_is_written_in_the_shortest_form_that_holds_it() {
        for (time, head, length) in [
            (0, &[0xd6, 0xff][..], 6),
            (4_294_967_295_000, &[0xd6, 0xff], 6),
            (1, &[0xd7, 0xff], 10),
            (4_294_967_296_000, &[0xd7, 0xff], 10),
            (17_179_869_183_999, &[0xd7, 0xff], 10),
            (17_179_869_184_000, &[0xc7, 12, 0xff], 15),
            (-1, &[0xc7, 12, 0xff], 15),
            (i64::MIN, &[0xc7, 12, 0xff], 15),
            (i64::MAX, &[0xc7, 12, 0xff], 15),
        ] {
            let mut out = Vec::new();
            append(&mut out, time);
            let data = out.strip_prefix(head).unwrap();
            assert_eq!(out.len(), length);
            // The multiplication of the reader overflows for the first millisecond there is.
            assert_eq!(milliseconds(data), (time != i64::MIN).then_some(time));
        }
    }
}
