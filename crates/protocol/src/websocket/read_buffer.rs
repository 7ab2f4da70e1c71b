use std::cell::Cell;

const SIZE: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends this thread's read buffer of 64 KiB, for bytes that a [`Decoder`](super::Decoder) decodes next. Connections
/// share it because most of them are idle. It contains whatever the last reader left in it.
pub fn with_read_buffer<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    // The call takes the buffer out of the thread, so that a nested call gets another one.
    let mut buffer = BUFFER.take().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice());
    let result = read(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_the_threads_own_and_a_nested_call_gets_another() {
        let first = with_read_buffer(|outer| {
            outer[0] = 1;
            with_read_buffer(|inner| assert_ne!(outer.as_ptr(), inner.as_ptr()));
            outer.as_ptr() as usize
        });
        assert_eq!(with_read_buffer(|again| (again.as_ptr() as usize, again.len(), again[0])), (first, SIZE, 1));
    }
}
