use std::{future::Future, time::Duration};

/// Longer than anything that works takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test on a thread of its own, so that a fault that keeps the thread for ever fails it instead of hanging it.
pub(crate) fn in_time(test: impl Future<Output = ()> + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
        done.send(()).unwrap();
    });
    // Nothing is sent by a thread that panics either.
    ended.recv_timeout(3 * PATIENCE).expect("the test has failed or hangs");
}
