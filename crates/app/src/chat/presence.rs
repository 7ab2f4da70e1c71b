//! Presence: which users are online. A user is online while at least one device is connected. Others are told when the
//! first device connects and when the last one disconnects.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use sockeye::{Namespace, Socket, log_throttled};
use tokio::time::{Instant, sleep_until};

use super::{looks::Looks, room::shared_room};
use crate::identity::User;

/// The users of each namespace who are online.
///
/// It does not count connects and disconnects, because one of them could be missed. Whenever the devices of a user may
/// have changed, it looks how many there are now and compares that with what it has announced.
#[derive(Debug)]
pub(crate) struct Presence {
    namespaces: Mutex<HashMap<String, Users>>,
    max_names: usize,
}

/// The data of the event `presence`, which goes to all clients of a namespace.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Announcement {
    /// One user is online now.
    Joined { joined: User },
    /// One user is offline now.
    Left { left: User },
    /// Several users have come online or gone offline since the last announcement.
    Changes { joined: Vec<User>, left: Vec<User> },
    /// The list of users online, if it is shorter than the list of changes.
    Online(Online),
}

/// The users who are online, as clients get them.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Online {
    /// Their names, or the first ones if there are too many.
    pub(crate) online: Vec<User>,
    /// How many users are online.
    pub(crate) total: usize,
}

impl Presence {
    /// Nobody is online yet. Lists hold at most `max_names` names.
    pub(crate) fn new(max_names: usize) -> Arc<Self> {
        Arc::new(Self { namespaces: Mutex::default(), max_names })
    }

    /// Announces to the namespace if a user has come online or gone offline; `devices` counts the user's devices. The
    /// announcement is made at once, or if there are many, within a second and together with others. `tell` tells the
    /// user's devices whether there are several. The lock is held while devices are counted, announced and told, so that
    /// each change is told once, and in order.
    ///
    /// The members of rooms that look like a user who comes online leave them.
    ///
    /// # Errors
    /// If the user's name looks like that of another user who is online. Then it is not announced.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        namespace: &Namespace,
        user: &User,
        devices: impl FnOnce() -> usize,
        tell: impl FnOnce(Sharing),
    ) -> Result<(), LooksLike> {
        let mut namespaces = self.namespaces.lock();
        let users = namespaces.entry_ref(namespace.name()).or_default();
        let devices = devices();
        let is_online = devices > 0;
        let is_new = users.update(user, is_online)?;
        if let Some(sharing) = users.share(user, devices) {
            tell(sharing);
        }
        if is_online {
            // There are none if the user was online before.
            users.looks.take_rooms(user).iter().for_each(|room| close_room(namespace, room));
        }
        if !is_new || users.is_scheduled {
            return Ok(());
        }
        match users.budget.spend(namespace.local().len(), Instant::now()) {
            Ok(()) => announce(namespace, users, self.max_names),
            Err(renewal) => {
                users.is_scheduled = true;
                let (presence, namespace) = (self.clone(), namespace.clone());
                tokio::spawn(async move {
                    sleep_until(renewal).await;
                    let mut namespaces = presence.namespaces.lock();
                    let users = namespaces.entry_ref(namespace.name()).or_default();
                    users.is_scheduled = false;
                    users.budget = Budget::new(namespace.local().len(), Instant::now());
                    announce(&namespace, users, presence.max_names);
                });
            }
        }
        Ok(())
    }

    /// Runs `join`, which lets a socket into the shared room of this name, unless the name looks like that of a user who
    /// is online.
    pub(crate) fn join_room<T>(&self, namespace: &Namespace, name: &str, join: impl FnOnce() -> T) -> Option<T> {
        let mut namespaces = self.namespaces.lock();
        let users = namespaces.entry_ref(namespace.name()).or_default();
        if users.looks.is_user(name) {
            return None;
        }
        let local = namespace.local();
        users.looks.add_room(name, |room| local.room_len(&shared_room(room)) == 0);
        Some(join())
    }

    /// The user as the namespace knows it: with the name that the first device has given.
    pub(crate) fn known(&self, namespace: &str, user: User) -> User {
        self.namespaces.lock().get(namespace).and_then(|users| users.online.get(&user)).cloned().unwrap_or(user)
    }

    /// Sends a socket the list of users online. Announcements that it gets later happened later.
    pub(crate) fn greet(&self, socket: &Socket) {
        let namespaces = self.namespaces.lock();
        let online = Online::new(namespaces.get(socket.namespace().name()), self.max_names);
        if let Err(error) = socket.emit("presence", &online) {
            tracing::debug!(sid = %socket.id(), %error, "cannot send a socket the list of users online");
        }
    }

    /// The users online in a namespace.
    pub(crate) fn online(&self, namespace: &str) -> Online {
        Online::new(self.namespaces.lock().get(namespace), self.max_names)
    }
}

/// The name of a user looks like that of another one, who is online.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this name looks like that of `{0}`, who is online; choose another one")]
pub(crate) struct LooksLike(User);

/// Whether several devices use a name, as it is after one of them has connected or disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The second device has connected.
    Begins,
    /// There were several devices before, too.
    Continues,
    /// One device is left.
    Ends,
}

/// The users of one namespace.
#[derive(Debug, Default)]
struct Users {
    online: BTreeSet<User>,
    /// The users with several devices.
    shared: BTreeSet<User>,
    looks: Looks,
    /// The users whose change is not announced yet.
    unannounced: BTreeSet<User>,
    /// Whether a task is going to announce them.
    is_scheduled: bool,
    budget: Budget,
}

impl Users {
    /// Updates a user; returns whether there is something new to announce.
    fn update(&mut self, user: &User, is_online: bool) -> Result<bool, LooksLike> {
        if is_online {
            if self.online.contains(user) {
                return Ok(false);
            }
            self.looks.add_user(user).map_err(LooksLike)?;
            self.online.insert(user.clone());
        } else {
            let Some(known) = self.online.take(user) else { return Ok(false) };
            self.looks.remove_user(&known);
        }
        // If the last change is not announced yet, this one undoes it.
        let is_new = !self.unannounced.remove(user);
        if is_new {
            self.unannounced.insert(user.clone());
        }
        Ok(is_new)
    }

    /// Notes how many devices a user has now; returns what the devices are to be told.
    fn share(&mut self, user: &User, devices: usize) -> Option<Sharing> {
        if devices > 1 {
            let begins = self.shared.insert(user.clone());
            return Some(if begins { Sharing::Begins } else { Sharing::Continues });
        }
        let ends = self.shared.remove(user);
        (ends && devices == 1).then_some(Sharing::Ends)
    }

    /// Takes the changes to announce.
    fn take_announcement(&mut self, max_names: usize) -> Option<Announcement> {
        let (mut joined, mut left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unannounced).into_iter().partition(|user| self.online.contains(user));
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

/// How many deliveries of announcements a namespace may cost in a second. If thousands of users connected at once and were
/// announced one by one, each pair of them would cost a delivery.
const DELIVERIES: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// The deliveries spent in the current second.
#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    spent: usize,
}

impl Budget {
    fn new(spent: usize, now: Instant) -> Self {
        Self { since: Some(now), spent }
    }

    /// Spends the cost of one announcement, or returns when the next second begins. The first announcement of a second is
    /// always made.
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

/// Lets all members leave a room that has the name of a user, and tells them.
fn close_room(namespace: &Namespace, name: &str) {
    let room = shared_room(name);
    let notice = json!({ "msg": "this room is closed: its name is that of a user who has come online", "room": name });
    let members = namespace.to(&room);
    if let Err(error) = members.emit("message", &notice) {
        log_throttled!(error, &error.to_string(), %error, "cannot tell the members of a room that it is closed");
    }
    members.sockets_leave(&room);
}

fn announce(namespace: &Namespace, users: &mut Users, max_names: usize) {
    let Some(announcement) = users.take_announcement(max_names) else { return };
    if let Err(error) = namespace.emit("presence", &announcement) {
        log_throttled!(error, &error.to_string(), %error, "cannot announce a change of presence");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn user(name: &str) -> User {
        User::parse(name).unwrap()
    }

    fn announced(users: &mut Users) -> Value {
        serde_json::to_value(users.take_announcement(3)).unwrap()
    }

    #[test]
    fn a_user_joins_with_the_first_device_and_leaves_with_the_last() {
        let mut users = Users::default();
        let mut announcements = Vec::new();
        for devices in [1, 2, 3, 2, 1, 0, 0, 1] {
            if users.update(&user("alice"), devices > 0).unwrap() {
                announcements.push((devices, announced(&mut users)));
            }
        }
        assert_eq!(
            announcements,
            [(1, json!({ "joined": "alice" })), (0, json!({ "left": "alice" })), (1, json!({ "joined": "alice" }))]
        );
    }

    #[test]
    fn devices_that_leave_together_are_told_once_that_one_is_left() {
        let mut users = Users::default();
        let told: Vec<_> =
            [1, 2, 3, 1, 1, 2, 0, 1].into_iter().map(|devices| users.share(&user("alice"), devices)).collect();
        let (begins, continues, ends) = (Some(Sharing::Begins), Some(Sharing::Continues), Some(Sharing::Ends));
        assert_eq!(told, [None, begins, continues, ends, None, begins, None, None]);
    }

    #[test]
    fn changes_are_announced_together_and_those_undone_are_not() {
        let mut users = Users::default();
        for name in ["alice", "bob"] {
            assert!(users.update(&user(name), true).unwrap());
        }
        assert_eq!(announced(&mut users), json!({ "joined": ["alice", "bob"], "left": [] }));
        assert!(users.update(&user("alice"), false).unwrap());
        assert!(users.update(&user("carol"), true).unwrap());
        assert!(!users.update(&user("carol"), false).unwrap());
        assert_eq!(announced(&mut users), json!({ "left": "alice" }));
        assert_eq!(announced(&mut users), Value::Null);
        for name in ["dave", "erin", "frank", "grace"] {
            users.update(&user(name), true).unwrap();
        }
        assert_eq!(announced(&mut users), json!({ "online": ["bob", "dave", "erin"], "total": 5 }));
    }

    #[test]
    fn a_second_has_a_budget_of_deliveries_and_always_one_announcement() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(budget.spend(DELIVERIES * 2, now), Ok(()));
        assert_eq!(budget.spend(1, now), Err(now + SECOND));
        assert_eq!(budget.spend(DELIVERIES, now + SECOND), Ok(()));
        assert_eq!(budget.spend(1, now + SECOND), Err(now + SECOND * 2));
    }

    #[test]
    fn the_list_of_users_is_sorted_and_bounded() {
        let presence = Presence::new(2);
        let mut users = Users::default();
        for name in ["carol", "alice", "bob"] {
            users.update(&user(name), true).unwrap();
        }
        presence.namespaces.lock().insert("/".into(), users);
        let online = presence.online("/");
        assert_eq!(online.online.iter().map(User::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(online.total, 3);
        assert_eq!(presence.online("/other"), Online { online: Vec::new(), total: 0 });
        assert_eq!(presence.known("/", user("CAROL")).as_str(), "carol");
        assert_eq!(presence.known("/other", user("CAROL")).as_str(), "CAROL");
    }
}
