use std::sync::Arc;

use bytes::Bytes;
use serde::ser::SerializeSeq;

use super::args::{Args, Repr};
use super::arguments::Arguments;
use super::encode;
use super::error::EncodeError;

/// Owned [`Args`]. Cloning them is cheap.
#[derive(Clone, Debug)]
pub struct ArgsBuf {
    repr: OwnedRepr,
    count: usize,
}

#[derive(Clone, Debug)]
enum OwnedRepr {
    Json { elements: Arc<str>, attachments: Vec<Bytes> },
    MessagePack(Bytes),
}

impl ArgsBuf {
    /// Encodes `args` as JSON once, so that they can be sent many times.
    ///
    /// # Errors
    /// A value has no JSON form.
    pub fn new(args: &impl Arguments) -> Result<Self, EncodeError> {
        let (elements, attachments) = encode::elements(args)?;
        Ok(Self { repr: OwnedRepr::Json { elements, attachments }, count: args.count() })
    }

    /// Returns the size of the encoded arguments and their attachments in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match &self.repr {
            OwnedRepr::Json { elements, attachments } => {
                elements.len() + attachments.iter().map(Bytes::len).sum::<usize>()
            }
            OwnedRepr::MessagePack(elements) => elements.len(),
        }
    }

    /// Returns how many bytes of memory the arguments take: their encoded form, their attachments, and what holds these.
    #[must_use]
    pub fn memory(&self) -> usize {
        let attachments = match &self.repr {
            OwnedRepr::Json { attachments, .. } => attachments.len(),
            OwnedRepr::MessagePack(_) => 0,
        };
        // Each allocation that is shared begins with its counts.
        let counts = 4 * size_of::<usize>();
        self.encoded_len() + counts + attachments * (counts + size_of::<Bytes>())
    }

    /// The arguments, borrowed.
    #[must_use]
    pub fn as_args(&self) -> Args<'_> {
        match &self.repr {
            OwnedRepr::Json { elements, attachments } => Args::json(elements, self.count, attachments),
            OwnedRepr::MessagePack(elements) => Args::message_pack(elements, self.count),
        }
    }
}

impl Default for ArgsBuf {
    fn default() -> Self {
        Args::EMPTY.to_owned()
    }
}

impl Args<'_> {
    /// Copies the encoded arguments.
    #[must_use]
    pub fn to_owned(&self) -> ArgsBuf {
        let repr = match self.repr {
            Repr::Json { elements, attachments } => {
                OwnedRepr::Json { elements: elements.into(), attachments: attachments.to_vec() }
            }
            Repr::MessagePack(elements) => OwnedRepr::MessagePack(Bytes::copy_from_slice(elements)),
        };
        ArgsBuf { repr, count: self.len() }
    }
}

impl Arguments for ArgsBuf {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.as_args().serialize_elements(seq)
    }

    fn count(&self) -> usize {
        self.as_args().len()
    }

    fn encoded(&self) -> Option<Args<'_>> {
        Some(self.as_args())
    }
}
