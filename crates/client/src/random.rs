/// Unpredictable random bytes.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // If the system has no random bytes, the keys of the standard library's hash tables are the next best.
        use std::hash::{BuildHasher as _, RandomState};
        for chunk in bytes.chunks_mut(8) {
            let random = RandomState::new().hash_one(0).to_ne_bytes();
            chunk.iter_mut().zip(random).for_each(|(byte, random)| *byte = random);
        }
    }
    bytes
}

/// Uniform in `[0, 1)`.
pub(crate) fn random_share() -> f64 {
    f64::from(u32::from_ne_bytes(random_bytes())) / (f64::from(u32::MAX) + 1.0)
}
