//! Who is online. A user is while at least one of their devices is connected; others are told of the first to come and
//! the last to go.
use std::{collections::BTreeSet, num::NonZeroUsize};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Serialize;
use sockeye::{EmitError, Namespace};

use crate::identity::User;

/// The users of the namespaces, each namespace for itself.
///
/// It doesn't count comings and goings, of which one could be lost: it is told that a user's devices may have changed,
/// is shown how many there are now, and compares that with what it has announced.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    online: Mutex<HashMap<String, BTreeSet<User>>>,
}

/// A change that others are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change<'a> {
    Joined(&'a User),
    Left(&'a User),
}

/// Who is online, as clients are told.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Online {
    /// The names, or the first of them if there are too many.
    pub(crate) online: Vec<User>,
    /// How many there are in all.
    pub(crate) total: usize,
}

impl Presence {
    /// Tells the namespace if a user has come or gone, given how many devices the user has now. The devices are counted
    /// under the lock, so that announcements have the order of the changes.
    pub(crate) fn refresh(&self, namespace: &Namespace, user: &User, devices: impl FnOnce() -> usize) {
        let announce = |change: Change<'_>| {
            if let Err(error) = namespace.emit("presence", &change) {
                log_lost(&error);
            }
        };
        self.update(namespace.name(), user, || NonZeroUsize::new(devices()), announce);
    }

    /// Who is online in a namespace: at most `limit` names, in order.
    pub(crate) fn online(&self, namespace: &str, limit: usize) -> Online {
        let namespaces = self.online.lock();
        let users = namespaces.get(namespace);
        Online {
            online: users.into_iter().flatten().take(limit).cloned().collect(),
            total: users.map_or(0, BTreeSet::len),
        }
    }

    /// Whether a user is online in a namespace.
    pub(crate) fn is_online(&self, namespace: &str, user: &str) -> bool {
        self.online.lock().get(namespace).is_some_and(|users| users.contains(user))
    }

    fn update(
        &self,
        namespace: &str,
        user: &User,
        devices: impl FnOnce() -> Option<NonZeroUsize>,
        announce: impl FnOnce(Change<'_>),
    ) {
        let mut namespaces = self.online.lock();
        let users = namespaces.entry_ref(namespace).or_default();
        match devices() {
            Some(_) if users.insert(user.clone()) => announce(Change::Joined(user)),
            None if users.remove(user) => announce(Change::Left(user)),
            _ => {}
        }
    }
}

fn log_lost(error: &EmitError) {
    tracing::error!(%error, "a change of presence could not be announced");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_joins_with_the_first_device_and_leaves_with_the_last() {
        let presence = Presence::default();
        let alice = User::parse("alice").unwrap();
        let mut told = Vec::new();
        for devices in [1, 2, 3, 2, 1, 0, 0, 1] {
            presence.update(
                "/",
                &alice,
                || NonZeroUsize::new(devices),
                |change| {
                    told.push((devices, serde_json::to_value(change).unwrap()));
                },
            );
        }
        let joined = serde_json::json!({ "joined": "alice" });
        assert_eq!(told, [(1, joined.clone()), (0, serde_json::json!({ "left": "alice" })), (1, joined)]);
        assert!(presence.is_online("/", "alice"));
        assert!(!presence.is_online("/imchat", "alice"));
    }

    #[test]
    fn the_list_is_in_order_and_bounded() {
        let presence = Presence::default();
        for name in ["carol", "alice", "bob"] {
            presence.update("/", &User::parse(name).unwrap(), || NonZeroUsize::new(1), |_| {});
        }
        let online = presence.online("/", 2);
        assert_eq!(online.online.iter().map(User::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(online.total, 3);
        assert_eq!(presence.online("/other", 2), Online { online: Vec::new(), total: 0 });
    }
}
