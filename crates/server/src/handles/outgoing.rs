//! Who sees outgoing events sees them with no lock held, because it may emit itself.
use std::cell::RefCell;

use crate::{Socket, adapter::EncodedPacket};

/// Shows a broadcast's packet to those who want to see what goes out to `socket`: now, or when the call of [`after`]
/// that this thread is in has ended.
pub(crate) fn show(socket: &Socket, packet: &EncodedPacket) {
    let waits = WAITING.with_borrow_mut(|waiting| match waiting {
        Some(waiting) => {
            waiting.push((socket.clone(), packet.clone()));
            true
        }
        None => false,
    });
    if let (false, Some(args)) = (waits, packet.args()) {
        socket.namespace().observe(socket, packet.name(), args.as_args());
    }
}

/// Runs something that delivers packets under a lock, and has them seen afterwards.
pub(crate) fn after<R>(run: impl FnOnce() -> R) -> R {
    let before = Before(WAITING.replace(Some(Vec::new())));
    let result = run();
    let waiting = WAITING.take();
    drop(before);
    for (socket, packet) in waiting.into_iter().flatten() {
        show(&socket, &packet);
    }
    result
}

type Waiting = Option<Vec<(Socket, EncodedPacket)>>;

/// What this thread's list was before, put back even if what runs panics.
struct Before(Waiting);

impl Drop for Before {
    fn drop(&mut self) {
        WAITING.set(self.0.take());
    }
}

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(None) };
}
