use std::{hash::BuildHasher, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::joined_rooms::{JoinedRooms, Position};
use crate::Socket;

/// The members of a namespace by their id. An entry has no copy of the id, because the socket itself holds it.
#[derive(Default)]
pub(super) struct MemberTable {
    members: HashTable<Member>,
    hasher: DefaultHashBuilder,
}

/// One socket and its position in each of its groups. The position lets it leave a group in constant time.
pub(super) struct Member {
    pub(super) socket: Socket,
    pub(super) position: Position,
    pub(super) rooms: JoinedRooms,
}

impl MemberTable {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Member> {
        self.members.find(self.hash(id), |member| member.has_id(id))
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.find_mut(self.hasher.hash_one(id), |member| member.has_id(id))
    }

    /// Adds a member whose id no other member has.
    pub(super) fn insert(&mut self, member: Member) {
        let hash = self.hash(member.socket.id());
        let hasher = &self.hasher;
        self.members.insert_unique(hash, member, |member| hasher.hash_one(member.socket.id().as_str()));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let found = self.members.find_entry(self.hash(id), |member| member.has_id(id));
        found.ok().map(|entry| entry.remove().0)
    }

    fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }
}

impl Member {
    /// Whether the member is this socket and not another one with the same id.
    pub(super) fn is(&self, socket: &Socket) -> bool {
        self.socket == *socket
    }

    pub(super) fn room_names(&self) -> Vec<Arc<str>> {
        let rooms = self.rooms.iter().map(|(room, _)| room.clone());
        std::iter::once(self.socket.id().as_str().into()).chain(rooms).collect()
    }

    fn has_id(&self, id: &str) -> bool {
        self.socket.id().as_str() == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every socket has an entry, and the table has up to twice as many places as entries.
    #[test]
    fn an_entry_takes_three_words() {
        assert_eq!(size_of::<Member>(), 24);
    }
}
