use super::{DecodeError, Event, Limits, Opcode, growth::room, utf8::Utf8Buffer};

/// A message that is still being received.
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

    /// Counts one more fragment.
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

    /// How much memory the bytes take.
    pub(super) fn capacity(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.capacity(),
            Data::Binary(bytes) => bytes.capacity(),
        }
    }

    /// Appends an unmasked part of a frame. `more` bytes of that frame have not arrived yet.
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

    /// Marks the message as complete.
    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        self.complete = true;
        match &self.data {
            Data::Text(text) => text.finish(),
            Data::Binary(_) => Ok(()),
        }
    }

    /// Whether the message is complete. The decoder has then returned it and frees it with the next call.
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
