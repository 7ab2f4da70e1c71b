//! Calls the `on_any_outgoing` observers. They run while no lock is held, because an observer may emit.
use std::cell::RefCell;

/// Calls `observe`. Inside a call of [`after`] on this thread, it is called when that call ends.
pub(crate) fn observe(observe: impl FnOnce() + 'static) {
    let at_once = WAITING.with_borrow_mut(|waiting| match waiting {
        Some(waiting) => {
            waiting.push(Box::new(observe));
            None
        }
        None => Some(observe),
    });
    if let Some(observe) = at_once {
        observe();
    }
}

/// Calls `run`, which delivers packets under a lock, and then calls the observers of those packets.
pub(crate) fn after<R>(run: impl FnOnce() -> R) -> R {
    let before = Before(WAITING.replace(Some(Vec::new())));
    let result = run();
    let waiting = WAITING.take();
    drop(before);
    waiting.into_iter().flatten().for_each(observe);
    result
}

type Waiting = Option<Vec<Box<dyn FnOnce()>>>;

/// The thread's former list of calls. `Drop` restores it, even after a panic.
struct Before(Waiting);

impl Drop for Before {
    fn drop(&mut self) {
        WAITING.set(self.0.take());
    }
}

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(None) };
}
