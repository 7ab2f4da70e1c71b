use std::sync::Arc;

use hashbrown::HashMap;

/// The rooms that one socket has joined, with the socket's position in each.
///
/// Most sockets are in a few rooms, which are searched one by one. A socket in many rooms has an index, so that it joins
/// and leaves a room in constant time. A socket in no room takes one word.
#[derive(Default)]
pub(super) struct JoinedRooms(Option<Box<Rooms>>);

/// A socket's position among the sockets of a group. Four bytes suffice, because as many sockets would take terabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u32);

enum Rooms {
    Few(Vec<(Arc<str>, Position)>),
    Many(HashMap<Arc<str>, Position>),
}

/// The most rooms without an index.
const FEW: usize = 8;

impl JoinedRooms {
    pub(super) fn len(&self) -> usize {
        match self.0.as_deref() {
            None => 0,
            Some(Rooms::Few(rooms)) => rooms.len(),
            Some(Rooms::Many(rooms)) => rooms.len(),
        }
    }

    pub(super) fn contains(&self, room: &str) -> bool {
        match self.0.as_deref() {
            None => false,
            Some(Rooms::Few(rooms)) => rooms.iter().any(|(joined, _)| **joined == *room),
            Some(Rooms::Many(rooms)) => rooms.contains_key(room),
        }
    }

    /// Adds a room that the socket is not in.
    pub(super) fn insert(&mut self, room: Arc<str>, position: Position) {
        let rooms = self.0.get_or_insert_with(|| Box::new(Rooms::Few(Vec::new())));
        match &mut **rooms {
            Rooms::Few(few) if few.len() < FEW => few.push((room, position)),
            Rooms::Few(few) => {
                let mut many: HashMap<_, _> = few.drain(..).collect();
                many.insert(room, position);
                **rooms = Rooms::Many(many);
            }
            Rooms::Many(many) => {
                many.insert(room, position);
            }
        }
    }

    /// Removes a room. Returns its name and the socket's position in it.
    pub(super) fn remove(&mut self, room: &str) -> Option<(Arc<str>, Position)> {
        let rooms = self.0.as_deref_mut()?;
        let removed = match rooms {
            Rooms::Few(few) => {
                let index = few.iter().position(|(joined, _)| **joined == *room)?;
                few.swap_remove(index)
            }
            Rooms::Many(many) => {
                let removed = many.remove_entry(room)?;
                // Half as many as make an index, so that a socket that joins and leaves one room does not rebuild it.
                if many.len() <= FEW / 2 {
                    *rooms = Rooms::Few(many.drain().collect());
                }
                removed
            }
        };
        if self.len() == 0 {
            self.0 = None;
        }
        Some(removed)
    }

    /// Records that the socket has another position in a room.
    pub(super) fn set_position(&mut self, room: &str, position: Position) {
        let former = match self.0.as_deref_mut() {
            None => None,
            Some(Rooms::Few(few)) => few.iter_mut().find(|(joined, _)| **joined == *room).map(|(_, position)| position),
            Some(Rooms::Many(many)) => many.get_mut(room),
        };
        if let Some(former) = former {
            *former = position;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Position)> {
        let (few, many) = match self.0.as_deref() {
            None => (None, None),
            Some(Rooms::Few(few)) => (Some(few.iter()), None),
            Some(Rooms::Many(many)) => (None, Some(many.iter())),
        };
        let few = few.into_iter().flatten().map(|(room, position)| (room, *position));
        few.chain(many.into_iter().flatten().map(|(room, position)| (room, *position)))
    }
}

impl Position {
    /// # Panics
    /// If the index takes more than four bytes.
    pub(super) fn at(index: usize) -> Self {
        match index.try_into() {
            Ok(index) => Self(index),
            Err(_) => panic!("a group has more than {} sockets", u32::MAX),
        }
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
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
            rooms.insert(name(number), Position::at(number));
            rooms.set_position(&name(number), Position::at(2 * number));
            assert_eq!(rooms.len(), number + 1);
        }
        assert!(matches!(rooms.0.as_deref(), Some(Rooms::Many(_))));
        let mut all: Vec<_> = rooms.iter().map(|(room, position)| (room.clone(), position)).collect();
        all.sort_by_key(|(_, position)| *position);
        assert_eq!(all, (0..3 * FEW).map(|number| (name(number), Position::at(2 * number))).collect::<Vec<_>>());
        for number in 0..3 * FEW {
            assert!(rooms.contains(&name(number)));
            assert_eq!(rooms.remove(&name(number)), Some((name(number), Position::at(2 * number))));
            assert_eq!(rooms.remove(&name(number)), None);
            assert_eq!(rooms.len(), 3 * FEW - number - 1);
        }
        assert!(rooms.0.is_none(), "a socket in no room keeps memory");
    }

    /// Every socket has one, and most are in no room.
    #[test]
    fn a_socket_in_no_room_takes_one_word() {
        assert_eq!(size_of::<JoinedRooms>(), size_of::<usize>());
    }
}
