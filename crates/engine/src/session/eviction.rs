use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use crate::{
    Session,
    log_throttle::log_limit,
    memory::{Memory, Other},
    session::{context::Context, table::SessionTable},
};

/// How long the tasks of sessions that were closed are given to free their memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the limit is checked without a notification that it is exceeded.
const INTERVAL: Duration = Duration::from_secs(1);

/// A client whose connection can be closed to free memory.
enum Holder {
    Session(Arc<Session>),
    Other(Arc<Other>),
}

/// Closes the clients for which most is held whenever more than `max_memory` is held, until the engine is gone.
pub(crate) async fn keep_below_limit(memory: Arc<Memory>, context: Weak<Context>, sessions: Weak<SessionTable>) {
    loop {
        // Either way it is time to look.
        let _waited = timeout(INTERVAL, memory.exceeded()).await;
        let (Some(context), Some(sessions)) = (context.upgrade(), sessions.upgrade()) else { return };
        let excess = memory.excess();
        if excess > 0 {
            close_largest(&context, &sessions, excess);
            drop((context, sessions));
            sleep(PAUSE).await;
        }
    }
}

/// Closes the clients for which most is held, until what they held exceeds `excess`. Those that hold no more than their
/// share stay open.
fn close_largest(context: &Context, sessions: &SessionTable, excess: usize) {
    let open: Vec<Arc<Session>> = sessions.lock().iter().filter(|session| !session.is_ending()).cloned().collect();
    let sessions = open.into_iter().map(|session| (session.memory(), Holder::Session(session)));
    let others = context.memory.others().into_iter().map(|other| (other.held(), Holder::Other(other)));
    let mut holders: Vec<_> = sessions.chain(others).collect();
    let share = context.memory.fair_share();
    holders.retain(|(held, _)| *held > share);
    holders.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
    let mut freed = 0;
    for (held, holder) in holders {
        if freed >= excess {
            return;
        }
        freed += held;
        match holder {
            Holder::Session(session) => session.close_for_memory(),
            Holder::Other(other) => {
                context.counters.closed_for_memory.increment();
                let why = "closed the connection for which most was held";
                log_limit("another protocol", "max_memory", context.memory.limit(), why);
                other.evict();
            }
        }
    }
}
