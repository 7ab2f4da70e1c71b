use std::{fmt, ops::Deref};

/// Up to `N` bytes without an allocation; `N` is at most 255.
#[derive(Clone, Copy)]
pub(super) struct InlineBytes<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> InlineBytes<N> {
    pub(super) const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Appends as many of the bytes as there is room for.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let free = self.bytes.get_mut(usize::from(self.length)..).unwrap_or_default();
        for (slot, byte) in free.iter_mut().zip(bytes) {
            *slot = *byte;
            self.length += 1;
        }
    }
}

impl<const N: usize> Deref for InlineBytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl<const N: usize> PartialEq for InlineBytes<N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<const N: usize> Eq for InlineBytes<N> {}

impl<const N: usize> fmt::Debug for InlineBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
