use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio_tungstenite::tungstenite::Message;

use super::outbox::{Counted, Outbox};
use crate::identity::User;

/// The plain WebSocket connections that are open, and whom they belong to.
#[derive(Debug, Default)]
pub(crate) struct PlainDevices {
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    outboxes: HashMap<Group, HashMap<u64, Outbox>>,
    count: usize,
    next_id: u64,
}

/// Plain connections that receive the same messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The connections to `/ws/`, each of which hears all of them.
    Lobby,
    /// The connections of one user.
    User(User),
}

/// Keeps a connection registered until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    devices: Arc<PlainDevices>,
    id: u64,
    group: Group,
}

impl PlainDevices {
    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.members.lock().count
    }

    /// How many connections a group has.
    pub(crate) fn count(&self, group: &Group) -> usize {
        self.members.lock().outboxes.get(group).map_or(0, HashMap::len)
    }

    /// Sends a message to every connection of a group and returns how many those are.
    pub(crate) fn send(&self, group: &Group, message: &Message) -> usize {
        // The lock is released before the messages are queued.
        let outboxes: Vec<_> =
            self.members.lock().outboxes.get(group).into_iter().flat_map(HashMap::values).cloned().collect();
        if !outboxes.is_empty() {
            let message = Counted::from(message.clone());
            outboxes.iter().for_each(|outbox| outbox.push(message.clone()));
        }
        outboxes.len()
    }

    /// Registers a connection.
    pub(crate) fn register(self: &Arc<Self>, group: Group, outbox: Outbox) -> Registration {
        let mut members = self.members.lock();
        let id = members.next_id;
        members.next_id += 1;
        members.count += 1;
        members.outboxes.entry(group.clone()).or_default().insert(id, outbox);
        Registration { devices: self.clone(), id, group }
    }
}

impl Registration {
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut members = self.devices.members.lock();
        members.count -= 1;
        if let Some(outboxes) = members.outboxes.get_mut(&self.group) {
            outboxes.remove(&self.id);
            if outboxes.is_empty() {
                members.outboxes.remove(&self.group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use sockeye::Server;

    use super::*;

    #[test]
    fn messages_reach_every_connection_of_their_group_and_no_other() {
        let devices = Arc::new(PlainDevices::default());
        let outboxes: Vec<_> = (0..4).map(|_| Outbox::new(1000, Server::new().charge_memory().unwrap())).collect();
        let group = |name: &str| Group::User(User::parse(name).unwrap());
        let groups = [group("alice"), group("alice"), group("bob"), Group::Lobby];
        let mut registered: Vec<_> =
            groups.into_iter().zip(&outboxes).map(|(group, outbox)| devices.register(group, outbox.clone())).collect();
        assert_eq!((devices.len(), devices.count(&group("alice"))), (4, 2));

        for (to, text, count) in [(group("alice"), "a", 2), (group("bob"), "b", 1), (Group::Lobby, "c", 1)] {
            assert_eq!(devices.send(&to, &Message::text(text)), count);
        }
        assert_eq!(devices.send(&group("nobody"), &Message::text("")), 0);
        for (outbox, text) in outboxes.iter().zip(["a", "a", "b", "c"]) {
            let taken = outbox.poll_take(&mut Context::from_waker(Waker::noop()), true);
            assert_eq!(taken, Poll::Ready(Ok([Message::text(text)].into())));
        }

        registered.swap_remove(0);
        assert_eq!(devices.count(&group("alice")), 1);
        registered.clear();
        assert_eq!((devices.len(), devices.count(&group("alice"))), (0, 0));
        assert!(devices.members.lock().outboxes.is_empty());
    }
}
