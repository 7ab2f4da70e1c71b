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
}
