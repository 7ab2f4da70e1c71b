//! Calls the `on_any_outgoing` observers. They run while no lock is held, because an observer may emit.
use std::cell::RefCell;

use crate::{Socket, adapter::EncodedPacket};

/// Calls the observers for a broadcast's packet to `socket`. Inside a call of [`after`] on this thread, it calls them
/// when that call ends.
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

/// Calls `run`, which delivers packets under a lock, and then calls the observers for those packets.
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

/// The thread's former list of packets. `Drop` restores it, even after a panic.
struct Before(Waiting);

impl Drop for Before {
    fn drop(&mut self) {
        WAITING.set(self.0.take());
    }
}

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(None) };
}
