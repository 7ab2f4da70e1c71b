use std::sync::Arc;

use hashbrown::HashMap;

/// The rooms that one socket has joined, with the socket's position in each.
///
/// Most sockets are in a few rooms, which are searched one by one. A socket in many rooms has an index, so that it joins
/// and leaves a room in constant time.
pub(super) enum JoinedRooms {
    Few(Vec<(Arc<str>, usize)>),
    Many(Box<HashMap<Arc<str>, usize>>),
}

/// The most rooms without an index.
const FEW: usize = 8;

impl JoinedRooms {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(rooms) => rooms.len(),
            Self::Many(rooms) => rooms.len(),
        }
    }

    pub(super) fn contains(&self, room: &str) -> bool {
        match self {
            Self::Few(rooms) => rooms.iter().any(|(joined, _)| **joined == *room),
            Self::Many(rooms) => rooms.contains_key(room),
        }
    }

    /// Adds a room that the socket is not in.
    pub(super) fn insert(&mut self, room: Arc<str>, position: usize) {
        match self {
            Self::Few(rooms) if rooms.len() < FEW => rooms.push((room, position)),
            Self::Few(rooms) => {
                let mut many: HashMap<_, _> = rooms.drain(..).collect();
                many.insert(room, position);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(rooms) => {
                rooms.insert(room, position);
            }
        }
    }

    /// Removes a room. Returns its name and the socket's position in it.
    pub(super) fn remove(&mut self, room: &str) -> Option<(Arc<str>, usize)> {
        match self {
            Self::Few(rooms) => {
                let index = rooms.iter().position(|(joined, _)| **joined == *room)?;
                Some(rooms.swap_remove(index))
            }
            Self::Many(rooms) => {
                let removed = rooms.remove_entry(room)?;
                // Half as many as make an index, so that a socket that joins and leaves one room does not rebuild it.
                if rooms.len() <= FEW / 2 {
                    *self = Self::Few(rooms.drain().collect());
                }
                Some(removed)
            }
        }
    }

    /// Records that the socket has another position in a room.
    pub(super) fn set_position(&mut self, room: &str, position: usize) {
        let former = match self {
            Self::Few(rooms) => rooms.iter_mut().find(|(joined, _)| **joined == *room).map(|(_, position)| position),
            Self::Many(rooms) => rooms.get_mut(room),
        };
        if let Some(former) = former {
            *former = position;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let (few, many) = match self {
            Self::Few(rooms) => (Some(rooms.iter()), None),
            Self::Many(rooms) => (None, Some(rooms.iter())),
        };
        let few = few.into_iter().flatten().map(|(room, position)| (room, *position));
        few.chain(many.into_iter().flatten().map(|(room, position)| (room, *position)))
    }
}

impl Default for JoinedRooms {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_rooms_behave_alike() {
        let mut rooms = JoinedRooms::default();
        let name = |number: usize| -> Arc<str> { format!("room {number}").into() };
        for number in 0..3 * FEW {
            assert!(!rooms.contains(&name(number)));
            rooms.insert(name(number), number);
            rooms.set_position(&name(number), 2 * number);
            assert_eq!(rooms.len(), number + 1);
        }
        assert!(matches!(rooms, JoinedRooms::Many(_)));
        let mut all: Vec<_> = rooms.iter().map(|(room, position)| (room.clone(), position)).collect();
        all.sort_by_key(|(_, position)| *position);
        assert_eq!(all, (0..3 * FEW).map(|number| (name(number), 2 * number)).collect::<Vec<_>>());
        for number in 0..3 * FEW {
            assert!(rooms.contains(&name(number)));
            assert_eq!(rooms.remove(&name(number)), Some((name(number), 2 * number)));
            assert_eq!(rooms.remove(&name(number)), None);
            assert_eq!(rooms.len(), 3 * FEW - number - 1);
        }
        assert!(matches!(rooms, JoinedRooms::Few(_)));
    }

    /// Every socket has one, and most are in no room.
    #[test]
    fn a_socket_in_no_room_takes_three_words() {
        assert_eq!(size_of::<JoinedRooms>(), 3 * size_of::<usize>());
    }
}
