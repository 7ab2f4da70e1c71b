//! What a bus is to be subscribed to. It changes when namespaces and rooms come and go.
use hashbrown::HashSet;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::format::Subscription;

/// The subscriptions that a bus wants, and those that have changed since its transport last looked.
#[derive(Debug, Default)]
pub struct Subscriptions {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    wanted: HashSet<Subscription>,
    /// What was added or removed since the transport last looked. It may be what it was then.
    touched: HashSet<Subscription>,
}

/// A subscription that may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The subscription.
    pub subscription: Subscription,
    /// Whether it is to be in effect.
    pub wanted: bool,
}

impl Subscriptions {
    /// Adds a subscription, or with `wanted` false removes it.
    pub fn set(&self, subscription: Subscription, wanted: bool) {
        let mut state = self.state.lock();
        let changed = match wanted {
            true => state.wanted.insert(subscription.clone()),
            false => state.wanted.remove(&subscription),
        };
        if changed {
            state.touched.insert(subscription);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// All subscriptions. A transport asks for them after it has connected; [`changes`](Self::changes) then returns later
    /// changes only.
    pub fn all(&self) -> Vec<Subscription> {
        let mut state = self.state.lock();
        state.touched.clear();
        state.wanted.iter().cloned().collect()
    }

    /// The names of the streams that are wanted.
    pub fn streams(&self) -> Vec<String> {
        let state = self.state.lock();
        let stream = |subscription: &Subscription| match subscription {
            Subscription::Stream(name) => Some(name.clone()),
            Subscription::Channel(_) | Subscription::Pattern(_) => None,
        };
        state.wanted.iter().filter_map(stream).collect()
    }

    /// Waits until subscriptions have been added or removed since the last call, and returns them. One transport calls it.
    /// If the future is dropped, no change is lost.
    pub async fn changes(&self) -> Vec<Change> {
        loop {
            let changes = self.take_changes();
            if !changes.is_empty() {
                return changes;
            }
            self.changed.notified().await;
        }
    }

    fn take_changes(&self) -> Vec<Change> {
        let mut state = self.state.lock();
        let touched = std::mem::take(&mut state.touched);
        let wanted = &state.wanted;
        let change = |subscription| Change { wanted: wanted.contains(&subscription), subscription };
        touched.into_iter().map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Subscription {
        Subscription::Channel(name.into())
    }

    #[tokio::test]
    async fn a_transport_gets_all_first_and_then_what_changes() {
        let subscriptions = Subscriptions::default();
        subscriptions.set(channel("a"), true);
        assert_eq!(subscriptions.all(), [channel("a")]);
        assert_eq!(subscriptions.take_changes(), []);
        subscriptions.set(channel("b"), true);
        assert_eq!(subscriptions.changes().await, [Change { subscription: channel("b"), wanted: true }]);
        subscriptions.set(channel("a"), false);
        subscriptions.set(channel("a"), false);
        assert_eq!(subscriptions.changes().await, [Change { subscription: channel("a"), wanted: false }]);
        // It was added and removed in between: the transport may have it or not.
        subscriptions.set(channel("c"), true);
        subscriptions.set(channel("c"), false);
        assert_eq!(subscriptions.changes().await, [Change { subscription: channel("c"), wanted: false }]);
        assert_eq!(subscriptions.all(), [channel("b")]);
    }
}
