use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use crate::{Session, memory::Memory, session::table::SessionTable};

/// How long the tasks of sessions that were closed are given to free their memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the limit is checked without a notification that it is exceeded.
const INTERVAL: Duration = Duration::from_secs(1);

/// Closes the sessions that hold the most whenever an engine holds more than `max_memory`, until its sessions are gone.
pub(crate) async fn keep_below_limit(memory: Arc<Memory>, sessions: Weak<SessionTable>) {
    loop {
        // Either way it is time to look.
        let _waited = timeout(INTERVAL, memory.exceeded()).await;
        let Some(sessions) = sessions.upgrade() else { return };
        let excess = memory.excess();
        if excess > 0 {
            close_largest(&sessions, excess, memory.fair_share());
            drop(sessions);
            sleep(PAUSE).await;
        }
    }
}

/// Closes the sessions that hold the most, until what they held exceeds `excess`. Those that hold no more than their share
/// stay open.
fn close_largest(sessions: &SessionTable, excess: usize, share: usize) {
    let open: Vec<Arc<Session>> = sessions.lock().iter().filter(|session| !session.is_ending()).cloned().collect();
    let mut holders: Vec<_> = open.into_iter().map(|session| (session.memory(), session)).collect();
    holders.retain(|(held, _)| *held > share);
    holders.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
    let mut freed = 0;
    for (held, session) in holders {
        if freed >= excess {
            return;
        }
        freed += held;
        session.close_for_memory();
    }
}
