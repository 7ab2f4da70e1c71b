/// How many bytes a buffer reserves for a part that has arrived. The announced length `more` never makes the buffer
/// larger: it only stops the buffer from doubling past the size that the frame needs.
pub(super) fn room(len: usize, capacity: usize, part: usize, more: usize) -> usize {
    let needed = len.saturating_add(part);
    if needed <= capacity {
        return 0;
    }
    capacity.saturating_mul(2).min(needed.saturating_add(more)).max(needed) - len
}
