use super::{DecodeError, Event, Limits, Opcode, utf8::Utf8Buffer};

/// A message whose parts are still arriving.
#[derive(Debug)]
pub(super) struct Message {
    data: Data,
    fragments: usize,
    complete: bool,
}

impl Message {
    pub(super) fn new(opcode: Opcode) -> Self {
        let data = match opcode {
            Opcode::Text => Data::Text(Utf8Buffer::EMPTY),
            _ => Data::Binary(Vec::new()),
        };
        Self { data, fragments: 1, complete: false }
    }

    /// Counts a further fragment.
    pub(super) fn begin_fragment(&mut self, limits: &Limits) -> Result<(), DecodeError> {
        if self.fragments >= limits.max_fragments {
            return Err(DecodeError::TooManyFragments { limit: limits.max_fragments });
        }
        self.fragments += 1;
        Ok(())
    }

    /// The bytes received so far.
    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.capacity(),
            Data::Binary(bytes) => bytes.capacity(),
        }
    }

    /// Appends an unmasked part of a frame; `more` further bytes of that frame are to come.
    pub(super) fn append(&mut self, part: &[u8], more: usize) -> Result<(), DecodeError> {
        match &mut self.data {
            Data::Text(text) => text.append(part, more),
            Data::Binary(bytes) => {
                bytes.reserve_exact(room(bytes.len(), bytes.capacity(), part.len(), more));
                bytes.extend_from_slice(part);
                Ok(())
            }
        }
    }

    /// Takes note that the last part has come.
    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        self.complete = true;
        match &self.data {
            Data::Text(text) => text.finish(),
            Data::Binary(_) => Ok(()),
        }
    }

    /// Whether the last part has come; the message has then been handed out and is to be freed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn event(&self) -> Event<'_> {
        match &self.data {
            Data::Text(text) => Event::Text(text.as_str()),
            Data::Binary(bytes) => Event::Binary(bytes),
        }
    }
}

#[derive(Debug)]
enum Data {
    Text(Utf8Buffer),
    Binary(Vec<u8>),
}

/// How many bytes a buffer must reserve for a part that has arrived. What was merely announced, `more`, doesn't enlarge
/// it: that only keeps it from doubling beyond what will be needed.
pub(super) fn room(len: usize, capacity: usize, part: usize, more: usize) -> usize {
    let needed = len.saturating_add(part);
    if needed <= capacity {
        return 0;
    }
    capacity.saturating_mul(2).min(needed.saturating_add(more)).max(needed) - len
}
