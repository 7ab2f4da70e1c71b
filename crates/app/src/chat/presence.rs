//! Who is online. A user is while at least one of their devices is connected; others are told of the first to come and
//! the last to go.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Serialize;
use sockeye::{Namespace, Socket};
use tokio::time::{Instant, sleep_until};

use crate::identity::User;

/// The users of the namespaces, each namespace for itself.
///
/// It doesn't count comings and goings, of which one could be lost: it is told that a user's devices may have changed,
/// is shown how many there are now, and compares that with what it has announced.
#[derive(Debug)]
pub(crate) struct Presence {
    namespaces: Mutex<HashMap<String, Users>>,
    max_names: usize,
}

/// What the clients of a namespace are told, as event `presence`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Announcement {
    /// One user has come.
    Joined { joined: User },
    /// One user has gone.
    Left { left: User },
    /// Several have come and gone since the last announcement.
    Changes { joined: Vec<User>, left: Vec<User> },
    /// So many have that this is shorter.
    Online(Online),
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
    /// Nobody is online; lists will hold at most so many names.
    pub(crate) fn new(max_names: usize) -> Arc<Self> {
        Arc::new(Self { namespaces: Mutex::default(), max_names })
    }

    /// Tells the namespace if a user has come or gone, given how many devices the user has now: at once, or in a crowd
    /// within a second and together with others. The devices are counted and the announcement made under the lock, so
    /// that announcements have the order of the changes.
    pub(crate) fn refresh(self: &Arc<Self>, namespace: &Namespace, user: &User, devices: impl FnOnce() -> usize) {
        let mut namespaces = self.namespaces.lock();
        let users = namespaces.entry_ref(namespace.name()).or_default();
        if !users.update(user, devices() > 0) || users.is_due {
            return;
        }
        match users.budget.spend(namespace.local().len(), Instant::now()) {
            Ok(()) => announce(namespace, users, self.max_names),
            Err(renewal) => {
                users.is_due = true;
                let (presence, namespace) = (self.clone(), namespace.clone());
                tokio::spawn(async move {
                    sleep_until(renewal).await;
                    let mut namespaces = presence.namespaces.lock();
                    let users = namespaces.entry_ref(namespace.name()).or_default();
                    users.is_due = false;
                    users.budget = Budget::new(namespace.local().len(), Instant::now());
                    announce(&namespace, users, presence.max_names);
                });
            }
        }
    }

    /// Tells a socket who is online. Whatever is announced later came later.
    pub(crate) fn greet(&self, socket: &Socket) {
        let namespaces = self.namespaces.lock();
        let online = Online::new(namespaces.get(socket.namespace().name()), self.max_names);
        if let Err(error) = socket.emit("presence", &online) {
            tracing::debug!(sid = %socket.id(), %error, "a socket could not be told who is online");
        }
    }

    /// Who is online in a namespace.
    pub(crate) fn online(&self, namespace: &str) -> Online {
        Online::new(self.namespaces.lock().get(namespace), self.max_names)
    }

    /// Whether a user is online in a namespace.
    pub(crate) fn is_online(&self, namespace: &str, user: &str) -> bool {
        self.namespaces.lock().get(namespace).is_some_and(|users| users.online.contains(user))
    }
}

/// The users of one namespace.
#[derive(Debug, Default)]
struct Users {
    online: BTreeSet<User>,
    /// Those who have come or gone since the last announcement.
    untold: BTreeSet<User>,
    /// Whether they wait for an announcement that is on its way.
    is_due: bool,
    budget: Budget,
}

impl Users {
    /// Whether something is to be told of the user that was not to be told before.
    fn update(&mut self, user: &User, is_online: bool) -> bool {
        let is_changed = if is_online { self.online.insert(user.clone()) } else { self.online.remove(user) };
        if !is_changed {
            return false;
        }
        // Who came and went again in between, or the other way round, is as others believe.
        let is_untold = !self.untold.remove(user);
        if is_untold {
            self.untold.insert(user.clone());
        }
        is_untold
    }

    /// Takes what is to be told.
    fn take_announcement(&mut self, max_names: usize) -> Option<Announcement> {
        let (mut joined, mut left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.untold).into_iter().partition(|user| self.online.contains(user));
        match (joined.len(), left.len()) {
            (0, 0) => None,
            (1, 0) => joined.pop().map(|joined| Announcement::Joined { joined }),
            (0, 1) => left.pop().map(|left| Announcement::Left { left }),
            (came, gone) if came + gone <= max_names => Some(Announcement::Changes { joined, left }),
            _ => Some(Announcement::Online(Online::new(Some(self), max_names))),
        }
    }
}

impl Online {
    fn new(users: Option<&Users>, max_names: usize) -> Self {
        let online = users.into_iter().flat_map(|users| &users.online);
        Self { online: online.take(max_names).cloned().collect(), total: users.map_or(0, |users| users.online.len()) }
    }
}

/// How many deliveries of announcements a namespace may cost in a second. Told one by one, a crowd of thousands that
/// connects at once would cost a delivery for each pair of them.
const DELIVERIES: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// What is left of a second's deliveries.
#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    spent: usize,
}

impl Budget {
    fn new(spent: usize, now: Instant) -> Self {
        Self { since: Some(now), spent }
    }

    /// Takes the cost of one announcement, or says when there will be enough. The first of a second is always told.
    fn spend(&mut self, deliveries: usize, now: Instant) -> Result<(), Instant> {
        match self.since.map(|since| since + SECOND) {
            Some(renewal) if now < renewal => {
                if self.spent + deliveries > DELIVERIES {
                    return Err(renewal);
                }
                self.spent += deliveries;
            }
            _ => *self = Self::new(deliveries, now),
        }
        Ok(())
    }
}

fn announce(namespace: &Namespace, users: &mut Users, max_names: usize) {
    let Some(announcement) = users.take_announcement(max_names) else { return };
    if let Err(error) = namespace.emit("presence", &announcement) {
        tracing::error!(%error, "a change of presence could not be announced");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(name: &str) -> User {
        User::parse(name).unwrap()
    }

    fn told(users: &mut Users) -> Value {
        serde_json::to_value(users.take_announcement(3)).unwrap()
    }

    #[test]
    fn a_user_joins_with_the_first_device_and_leaves_with_the_last() {
        let mut users = Users::default();
        let mut announced = Vec::new();
        for devices in [1, 2, 3, 2, 1, 0, 0, 1] {
            if users.update(&user("alice"), devices > 0) {
                announced.push((devices, told(&mut users)));
            }
        }
        assert_eq!(
            announced,
            [(1, json!({ "joined": "alice" })), (0, json!({ "left": "alice" })), (1, json!({ "joined": "alice" }))]
        );
    }

    #[test]
    fn several_are_told_together_and_who_came_and_went_is_not() {
        let mut users = Users::default();
        for name in ["alice", "bob"] {
            assert!(users.update(&user(name), true));
        }
        assert_eq!(told(&mut users), json!({ "joined": ["alice", "bob"], "left": [] }));
        assert!(users.update(&user("alice"), false));
        assert!(users.update(&user("carol"), true));
        assert!(!users.update(&user("carol"), false));
        assert_eq!(told(&mut users), json!({ "left": "alice" }));
        assert_eq!(told(&mut users), Value::Null);
        for name in ["dave", "erin", "frank", "grace"] {
            users.update(&user(name), true);
        }
        assert_eq!(told(&mut users), json!({ "online": ["bob", "dave", "erin"], "total": 5 }));
    }

    #[test]
    fn a_second_has_so_many_deliveries_and_its_first_announcement_always() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(budget.spend(DELIVERIES * 2, now), Ok(()));
        assert_eq!(budget.spend(1, now), Err(now + SECOND));
        assert_eq!(budget.spend(DELIVERIES, now + SECOND), Ok(()));
        assert_eq!(budget.spend(1, now + SECOND), Err(now + SECOND * 2));
    }

    #[test]
    fn a_list_is_in_order_and_bounded() {
        let presence = Presence::new(2);
        let mut users = Users::default();
        for name in ["carol", "alice", "bob"] {
            users.update(&user(name), true);
        }
        presence.namespaces.lock().insert("/".into(), users);
        let online = presence.online("/");
        assert_eq!(online.online.iter().map(User::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(online.total, 3);
        assert_eq!(presence.online("/other"), Online { online: Vec::new(), total: 0 });
        assert!(presence.is_online("/", "carol") && !presence.is_online("/other", "carol"));
    }
}
