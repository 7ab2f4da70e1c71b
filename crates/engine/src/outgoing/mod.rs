//! What is sent to a peer: frames in their final bytes, and the queue in which they wait.
mod frame;
pub(crate) mod frame_memory;
pub(crate) mod outbox;
mod queue;

pub use frame::{Frame, FrameBuilder};
