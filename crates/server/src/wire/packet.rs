use std::{borrow::Cow, cell::Cell, sync::Arc};

use serde::ser::SerializeSeq;
use smallvec::SmallVec;
use sockeye_engine::{Frame, FrameBuilder, SendError, Session, log_throttled};
use sockeye_handler::with_causes;
use sockeye_protocol::socketio::{self, ArgsBuf, Arguments, EncodeError};

use crate::{
    EmitError,
    wire::parser::{BegunEvent, Parser, Wire},
};

/// An event that is encoded once and sent to any number of sockets.
#[derive(Debug, Clone)]
pub struct EncodedPacket {
    frames: SmallVec<[Frame; 1]>,
    name: Box<str>,
    /// Kept only if an adapter or an observer needs the arguments.
    args: Option<ArgsBuf>,
    /// The offset that the packet has as its last argument, which is not among `args`.
    offset: Option<Box<str>>,
}

impl EncodedPacket {
    /// Encodes an event. With `keep`, [`args`](Self::args) returns its arguments.
    ///
    /// # Errors
    /// If the arguments cannot be serialised, or the name is reserved.
    pub fn event(
        parser: &Parser,
        namespace: &str,
        ack: Option<u64>,
        name: &str,
        args: &impl Arguments,
        keep: bool,
    ) -> Result<Self, EmitError> {
        check_name(name)?;
        let mut builder = FrameBuilder::with_capacity(64);
        let wire = parser.event(builder.packet(), namespace, ack, name, args)?;
        let args = if keep { Some(ArgsBuf::new(args)?) } else { None };
        Ok(Self { frames: frames(builder, wire), name: name.into(), args, offset: None })
    }

    /// The frames, to be sent in this order with nothing between them.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The total length of the frames in bytes.
    pub fn len(&self) -> usize {
        self.frames.iter().map(|frame| frame.websocket().len()).sum()
    }

    /// How many bytes of memory the packet takes.
    pub(crate) fn memory(&self) -> usize {
        let frames: usize = self.frames.iter().map(|frame| frame.memory() + size_of::<Frame>()).sum();
        size_of::<Self>()
            + frames
            + self.name.len()
            + self.offset.as_deref().map_or(0, str::len)
            + self.args.as_ref().map_or(0, ArgsBuf::memory)
    }

    /// Whether there are no frames. Only a custom parser can produce such a packet.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments, if they were kept, without the offset of connection state recovery.
    pub fn args(&self) -> Option<&ArgsBuf> {
        self.args.as_ref()
    }

    /// The arguments as clients get them, if they were kept: with the offset of connection state recovery.
    pub(crate) fn args_as_sent(&self) -> Option<Cow<'_, ArgsBuf>> {
        let args = self.args.as_ref()?;
        match &self.offset {
            None => Some(Cow::Borrowed(args)),
            Some(offset) => ArgsBuf::new(&WithOffset { args, offset }).ok().map(Cow::Owned),
        }
    }
}

/// An event that is encoded except for its last argument, the offset of connection state recovery.
pub(crate) struct WithoutOffset {
    builder: FrameBuilder,
    event: BegunEvent,
    name: Box<str>,
    args: Option<ArgsBuf>,
}

impl WithoutOffset {
    /// Encodes an event except for the offset. With `keep`, the packet keeps its arguments.
    pub(crate) fn new(
        parser: &Parser,
        namespace: &str,
        name: &str,
        args: &impl Arguments,
        keep: bool,
    ) -> Result<Self, EmitError> {
        let mut builder = FrameBuilder::with_capacity(64);
        let event = parser.begin_event(builder.packet(), namespace, name, args)?;
        let args = if keep { Some(ArgsBuf::new(args)?) } else { None };
        Ok(Self { builder, event, name: name.into(), args })
    }

    /// Adds the offset.
    pub(crate) fn add_offset(self, offset: &str) -> Result<EncodedPacket, EmitError> {
        let Self { mut builder, event, name, args } = self;
        let wire = event.finish(builder.packet(), offset)?;
        Ok(EncodedPacket { frames: frames(builder, wire), name, args, offset: Some(offset.into()) })
    }
}

/// Arguments followed by the packet's offset.
struct WithOffset<'a> {
    args: &'a ArgsBuf,
    offset: &'a str,
}

impl Arguments for WithOffset<'_> {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.args.serialize_elements(seq)?;
        seq.serialize_element(self.offset)
    }

    fn count(&self) -> usize {
        self.args.count() + 1
    }
}

fn frames(builder: FrameBuilder, wire: Wire) -> SmallVec<[Frame; 1]> {
    match wire {
        Wire::Text(attachments) => std::iter::once(builder.finish_text())
            .chain(attachments.iter().map(|attachment| Frame::binary(attachment)))
            .collect(),
        Wire::Binary => SmallVec::from_iter([builder.finish_binary()]),
        Wire::Frames(frames) => frames.into(),
    }
}

/// Encodes a packet for one socket into this thread's buffer and hands it to `send`.
pub(crate) fn with_encoded<R>(
    encode: impl FnOnce(&mut Vec<u8>) -> Result<Wire, EncodeError>,
    send: impl FnOnce(&[u8], Wire) -> R,
) -> Result<R, EncodeError> {
    // The call takes the buffer out of the thread-local, because serialising runs user code, which may emit and need
    // the buffer itself.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let result = encode(&mut buffer).map(|wire| send(&buffer, wire));
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
    result
}

/// Sends one packet to a session.
pub(crate) fn send(session: &Arc<Session>, buffer: &[u8], wire: Wire) -> Result<(), SendError> {
    match wire {
        Wire::Text(attachments) if attachments.is_empty() => session.send_text(buffer),
        wire => session.send_all(into_frames(buffer, wire)),
    }
}

/// Logs that a packet could not be encoded.
pub(crate) fn log_encoding(result: Result<(), EncodeError>) {
    if let Err(error) = result {
        let error = with_causes(&error);
        log_throttled!(error, &error, error, "a packet could not be encoded and was not sent");
    }
}

/// The frames of one packet.
pub(crate) fn into_frames(buffer: &[u8], wire: Wire) -> Vec<Frame> {
    match wire {
        Wire::Text(attachments) => {
            let attachments = attachments.iter().map(|attachment| Frame::binary(attachment));
            std::iter::once(Frame::text(buffer)).chain(attachments).collect()
        }
        Wire::Binary => vec![Frame::binary(buffer)],
        Wire::Frames(frames) => frames,
    }
}

/// Refuses the reserved event names.
pub(crate) fn check_name(name: &str) -> Result<(), EmitError> {
    if socketio::is_reserved(name) { Err(EmitError::ReservedName(name.into())) } else { Ok(()) }
}

/// A buffer with a larger capacity is dropped after use.
const KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
