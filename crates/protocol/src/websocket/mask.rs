/// Masks or unmasks `payload` in place (RFC 6455 §5.3). `offset` is the number of payload bytes of the frame before it.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide_mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide_mask).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_like_the_definition() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..length).collect();
                let by_definition: Vec<u8> =
                    plain.iter().enumerate().map(|(index, byte)| byte ^ mask[(index + offset) % 4]).collect();
                let mut masked = plain.clone();
                apply_mask(&mut masked, mask, offset);
                assert_eq!(masked, by_definition, "{length} bytes at offset {offset}");
            }
        }
    }
}
