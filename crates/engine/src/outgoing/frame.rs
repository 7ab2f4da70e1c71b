use std::sync::Arc;

use sockeye_protocol::{
    engineio::{Packet, Revision},
    websocket::{self, MAX_SERVER_HEAD, Opcode},
};

use crate::outgoing::frame_memory;

/// One Engine.IO packet in its final bytes: the WebSocket frame head directly in front of the packet, so that a
/// broadcast is encoded once and every recipient takes a reference, whatever its transport. A reference is one pointer.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    bytes: Vec<u8>,
    /// Where the head begins.
    start: u8,
    /// How long the head is.
    head: u8,
    /// None for several frames side by side.
    opcode: Option<Opcode>,
}

impl Encoded {
    fn new(bytes: Vec<u8>, start: u8, head: u8, opcode: Option<Opcode>) -> Arc<Self> {
        let encoded = Self { bytes, start, head, opcode };
        frame_memory::add(encoded.memory());
        Arc::new(encoded)
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + SHARED
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        frame_memory::remove(self.memory());
    }
}

impl Frame {
    /// A text packet, its type character included: `4hello`.
    pub fn text(packet: &[u8]) -> Self {
        let mut builder = FrameBuilder::with_capacity(packet.len());
        builder.packet().extend_from_slice(packet);
        builder.finish_text()
    }

    /// A binary message.
    pub fn binary(message: &[u8]) -> Self {
        let mut builder = FrameBuilder::with_capacity(message.len());
        builder.packet().extend_from_slice(message);
        builder.finish_binary()
    }

    /// The whole WebSocket frame, unmasked as servers send it.
    #[inline]
    pub fn websocket(&self) -> &[u8] {
        self.0.bytes.get(usize::from(self.0.start)..).unwrap_or_default()
    }

    /// The packet alone: text with its type character, or the raw bytes of a binary message.
    #[inline]
    pub fn packet(&self) -> &[u8] {
        self.websocket().get(usize::from(self.0.head)..).unwrap_or_default()
    }

    /// Whether this is a binary message.
    #[inline]
    pub fn is_binary(&self) -> bool {
        self.0.opcode == Some(Opcode::Binary)
    }

    /// How many bytes of memory the frame takes, all its references together.
    pub fn memory(&self) -> usize {
        self.0.memory()
    }

    /// A binary message as a WebSocket client of revision 3 expects it: behind its packet type, or as base64.
    pub(crate) fn into_revision_3(self, base64: bool) -> Self {
        if !base64 {
            return Self::binary(&[&[4], self.packet()].concat());
        }
        let mut builder = FrameBuilder::with_capacity(2 + self.packet().len().div_ceil(3) * 4);
        Packet::Binary(self.packet().into()).encode_text(Revision::V3, builder.packet());
        builder.finish_text()
    }

    pub(crate) fn control(opcode: Opcode, payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(payload.len() + 2);
        websocket::encode_frame(&mut bytes, opcode, payload, None);
        Self(Encoded::new(bytes, 0, 2, Some(opcode)))
    }

    /// Several WebSocket frames side by side, which are no packet.
    pub(crate) fn side_by_side(bytes: Vec<u8>) -> Self {
        Self(Encoded::new(bytes, 0, 0, None))
    }

    /// Whether this is one packet.
    pub(crate) fn is_packet(&self) -> bool {
        self.0.opcode.is_some()
    }
}

/// What a frame takes besides its bytes: its fields, the two counts of its references, and what the allocator adds to two
/// allocations.
const SHARED: usize = size_of::<Encoded>() + 2 * size_of::<usize>() + 2 * 16;

/// Builds a [`Frame`] in place: the packet is written behind a gap that the head then fills from the right.
#[derive(Debug)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// A builder with room for a packet of `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(MAX_SERVER_HEAD + capacity);
        bytes.resize(MAX_SERVER_HEAD, 0);
        Self { bytes }
    }

    /// The packet so far; append to it, never shorten it below what it held at first.
    pub fn packet(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts the head in front of a text packet, its type character included.
    pub fn finish_text(self) -> Frame {
        self.finish(Opcode::Text)
    }

    /// Puts the head in front of a binary message.
    pub fn finish_binary(self) -> Frame {
        self.finish(Opcode::Binary)
    }

    fn finish(self, opcode: Opcode) -> Frame {
        let mut bytes = self.bytes;
        let length = bytes.len().saturating_sub(MAX_SERVER_HEAD);
        let head = websocket::encode_head(true, opcode, length as u64, None);
        let start = MAX_SERVER_HEAD - head.len();
        bytes[start..MAX_SERVER_HEAD].copy_from_slice(&head);
        if bytes.capacity() / 4 > bytes.len() / 3 {
            bytes.shrink_to_fit();
        }
        Frame(Encoded::new(bytes, start as u8, head.len() as u8, Some(opcode)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_stands_directly_before_the_packet() {
        let frame = Frame::text(b"4hello");
        assert_eq!(frame.websocket(), b"\x81\x064hello");
        assert_eq!(frame.packet(), b"4hello");
        let long = Frame::binary(&[7; 300]);
        assert_eq!(&long.websocket()[..4], &[0x82, 126, 1, 44]);
        assert_eq!(long.packet(), &[7; 300]);
        assert!(long.is_binary());
    }
}
