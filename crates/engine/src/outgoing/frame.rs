use bytes::Bytes;
use sockeye_protocol::{
    engineio::{Packet, Revision},
    websocket::{self, MAX_SERVER_HEAD, Opcode},
};

/// One Engine.IO packet in its final bytes: the WebSocket frame head directly in front of the packet, so that a
/// broadcast is encoded once and every recipient takes a reference, whatever its transport.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Bytes,
    head: u8,
    opcode: Opcode,
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
        &self.bytes
    }

    /// The packet alone: text with its type character, or the raw bytes of a binary message.
    #[inline]
    pub fn packet(&self) -> &[u8] {
        self.bytes.get(usize::from(self.head)..).unwrap_or_default()
    }

    /// Whether this is a binary message.
    #[inline]
    pub fn is_binary(&self) -> bool {
        self.opcode == Opcode::Binary
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
        Self { head: 2, bytes: bytes.into(), opcode }
    }
}

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

    fn finish(mut self, opcode: Opcode) -> Frame {
        let length = self.bytes.len().saturating_sub(MAX_SERVER_HEAD);
        let head = websocket::encode_head(true, opcode, length as u64, None);
        let start = MAX_SERVER_HEAD - head.len();
        self.bytes[start..MAX_SERVER_HEAD].copy_from_slice(&head);
        let bytes = Bytes::from(self.bytes).slice(start..);
        Frame { bytes, head: head.len() as u8, opcode }
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
