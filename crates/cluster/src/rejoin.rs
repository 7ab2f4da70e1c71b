//! Keeps a bus joined: connects again whenever the connection has ended.
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use sockeye::{log_throttled, with_causes};

use crate::bus::{JoinedBus, count};

/// The pause before the second try; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Joins a bus, and joins it again whenever its connection ends.
pub(crate) async fn keep_joined(bus: Arc<JoinedBus>) {
    let watched = bus.clone();
    tokio::join!(count_joins(watched), async {
        let mut pause = MIN_PAUSE;
        loop {
            // A panic of a library is one more way in which a connection ends.
            let result = AssertUnwindSafe(bus.transport.run(bus.link.clone())).catch_unwind().await;
            let was_up = bus.link.up.send_replace(false);
            let error = match &result {
                Ok(Ok(())) => "the broker ended the connection".to_owned(),
                Ok(Err(error)) => with_causes(error),
                Err(_) => "the connection's task panicked".to_owned(),
            };
            *bus.failure.lock() = Some(error.clone());
            if was_up {
                pause = MIN_PAUSE;
                log_throttled!(warn, &error, bus = &*bus.name, error, "left a bus; joining it again");
            } else {
                log_throttled!(warn, &error, bus = &*bus.name, error, "cannot join a bus; trying again");
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    });
}

/// Counts and logs each time that the bus is joined.
async fn count_joins(bus: Arc<JoinedBus>) {
    let mut up = bus.link.up.subscribe();
    while up.wait_for(|up| *up).await.is_ok() {
        count(&bus.counters.joined);
        tracing::info!(bus = &*bus.name, "joined a bus");
        if up.wait_for(|up| !*up).await.is_err() {
            return;
        }
    }
}

/// Between half of the pause and the whole of it, so that servers do not all come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random numbers, the pause is simply not jittered.
    let _no_jitter = getrandom::fill(&mut byte);
    pause - pause.mul_f64(f64::from(byte[0]) / 512.0)
}
