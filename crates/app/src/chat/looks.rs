use hashbrown::HashMap;

use crate::{identity::User, names::looks};

/// What the users who are online and the rooms of a namespace look like, so that nothing else looks like a user.
#[derive(Debug, Default)]
pub(super) struct Looks {
    users: HashMap<String, User>,
    /// Rooms by their looks, and those that have no members any more.
    rooms: HashMap<String, Vec<String>>,
    /// How many entries `rooms` may have before those without members are removed.
    sweep_at: usize,
}

/// The least number of entries at which rooms without members are removed.
const MIN_SWEEP: usize = 64;

impl Looks {
    /// Adds a user who comes online.
    ///
    /// # Errors
    /// If the name looks like that of another user, who is returned.
    pub(super) fn add_user(&mut self, user: &User) -> Result<(), User> {
        let looks = looks(user.as_str());
        if let Some(other) = looks.iter().find_map(|look| self.users.get(look)) {
            return Err(other.clone());
        }
        self.users.extend(looks.map(|look| (look, user.clone())));
        Ok(())
    }

    /// Removes a user who goes offline, with the name as it was added.
    pub(super) fn remove_user(&mut self, user: &User) {
        for look in looks(user.as_str()) {
            self.users.remove(&look);
        }
    }

    /// Whether a name looks like that of a user.
    pub(super) fn is_user(&self, name: &str) -> bool {
        looks(name).iter().any(|look| self.users.contains_key(look))
    }

    /// Adds a room by its name. `is_empty` tells which rooms have no members.
    pub(super) fn add_room(&mut self, name: &str, is_empty: impl Fn(&str) -> bool) {
        if self.rooms.len() >= self.sweep_at {
            self.rooms.retain(|_, rooms| {
                rooms.retain(|room| !is_empty(room));
                !rooms.is_empty()
            });
            self.sweep_at = MIN_SWEEP.max(2 * self.rooms.len());
        }
        for look in looks(name) {
            let rooms = self.rooms.entry(look).or_default();
            if !rooms.iter().any(|room| room == name) {
                rooms.retain(|room| !is_empty(room));
                rooms.push(name.to_owned());
            }
        }
    }

    /// Removes the rooms that look like a user, and returns their names.
    pub(super) fn take_rooms(&mut self, user: &User) -> Vec<String> {
        let mut rooms: Vec<_> =
            looks(user.as_str()).iter().filter_map(|look| self.rooms.remove(look)).flatten().collect();
        rooms.sort();
        rooms.dedup();
        rooms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        User::parse(name).unwrap()
    }

    #[test]
    fn a_name_that_looks_like_a_user_is_refused_until_the_user_leaves() {
        let mut looks = Looks::default();
        looks.add_user(&user("alice")).unwrap();
        for other in ["aIice", "аlice"] {
            assert_eq!(looks.add_user(&user(other)), Err(user("alice")), "{other}");
            assert!(looks.is_user(other));
        }
        looks.remove_user(&user("alice"));
        looks.add_user(&user("аlice")).unwrap();
        assert!(looks.is_user("alice") && !looks.is_user("bob"));
    }

    #[test]
    fn rooms_are_found_by_their_looks_and_forgotten_without_members() {
        let mut looks = Looks::default();
        for room in ["b0b", "bob", "team"] {
            looks.add_room(room, |_| false);
        }
        assert_eq!(looks.take_rooms(&user("bob")), ["b0b", "bob"]);
        assert!(looks.take_rooms(&user("bob")).is_empty());
        for number in 0..10_000 {
            looks.add_room(&format!("room {number}"), |room| room != "team");
        }
        assert!(looks.rooms.len() <= 2 * MIN_SWEEP, "{} rooms are kept", looks.rooms.len());
        assert_eq!(looks.take_rooms(&user("team")), ["team"]);
    }
}
