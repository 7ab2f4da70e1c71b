use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Outbox;
use crate::identity::User;

/// The plain connections that are open, by where they belong.
#[derive(Debug)]
pub(crate) struct Registry {
    members: Mutex<Members>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    lobby: HashMap<u64, Outbox>,
    users: HashMap<User, HashMap<u64, Outbox>>,
    count: usize,
}

/// Where a connection belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Everyone there hears everyone.
    Lobby,
    /// The devices of one user.
    User(User),
}

/// A place in the registry, given back when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    id: u64,
    place: Place,
}

impl Registry {
    /// A registry that takes at most `limit` connections.
    pub(crate) fn new(limit: usize) -> Self {
        Self { members: Mutex::default(), limit }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.members.lock().count
    }

    /// How many connections a user has.
    pub(crate) fn devices(&self, user: &str) -> usize {
        self.members.lock().users.get(user).map_or(0, HashMap::len)
    }

    /// Sends a frame to every connection of a user and says to how many.
    pub(crate) fn send_to(&self, user: &str, frame: &Bytes) -> usize {
        let outboxes: Vec<_> = self.members.lock().users.get(user).into_iter().flatten().map(cloned).collect();
        push_all(&outboxes, frame)
    }

    /// Sends a frame to everyone in the lobby.
    pub(crate) fn broadcast(&self, frame: &Bytes) {
        let outboxes: Vec<_> = self.members.lock().lobby.iter().map(cloned).collect();
        push_all(&outboxes, frame);
    }

    /// Adds a connection, unless there are too many.
    pub(crate) fn register(registry: &Arc<Self>, place: Place, outbox: Outbox) -> Option<Registration> {
        let mut members = registry.members.lock();
        if members.count >= registry.limit {
            return None;
        }
        let id = members.next;
        members.next += 1;
        members.count += 1;
        match &place {
            Place::Lobby => members.lobby.insert(id, outbox),
            Place::User(user) => members.users.entry_ref(user).or_default().insert(id, outbox),
        };
        drop(members);
        Some(Registration { registry: registry.clone(), id, place })
    }
}

impl Registration {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut members = self.registry.members.lock();
        members.count -= 1;
        match &self.place {
            Place::Lobby => {
                members.lobby.remove(&self.id);
            }
            Place::User(user) => {
                if let Some(devices) = members.users.get_mut(user) {
                    devices.remove(&self.id);
                    if devices.is_empty() {
                        members.users.remove(user);
                    }
                }
            }
        }
    }
}

fn cloned((_, outbox): (&u64, &Outbox)) -> Outbox {
    outbox.clone()
}

/// No lock of the registry is held meanwhile.
fn push_all(outboxes: &[Outbox], frame: &Bytes) -> usize {
    for outbox in outboxes {
        outbox.push(frame.clone());
    }
    outboxes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_reach_every_device_of_their_user_and_nobody_else() {
        let registry = Arc::new(Registry::new(4));
        let outboxes: Vec<_> = (0..4).map(|_| Outbox::new(1000)).collect();
        let place = |name: &str| Place::User(User::parse(name).unwrap());
        let places = [place("alice"), place("alice"), place("bob"), Place::Lobby];
        let mut registered: Vec<_> = places
            .into_iter()
            .zip(&outboxes)
            .map(|(place, outbox)| Registry::register(&registry, place, outbox.clone()).unwrap())
            .collect();
        assert!(Registry::register(&registry, Place::Lobby, Outbox::new(1)).is_none());
        assert_eq!((registry.len(), registry.devices("alice")), (4, 2));

        assert_eq!(registry.send_to("alice", &Bytes::from_static(b"a")), 2);
        assert_eq!(registry.send_to("bob", &Bytes::from_static(b"b")), 1);
        registry.broadcast(&Bytes::from_static(b"c"));
        assert_eq!(registry.send_to("nobody", &Bytes::new()), 0);
        for (outbox, expected) in outboxes.iter().zip(["a", "a", "b", "c"]) {
            assert_eq!(outbox.next().await.unwrap(), expected);
        }

        registered.swap_remove(0);
        assert_eq!(registry.devices("alice"), 1);
        registered.clear();
        assert_eq!((registry.len(), registry.devices("alice")), (0, 0));
        assert!(registry.members.lock().users.is_empty());
    }
}
