//! Rooms: shared ones, which every user may enter, and one private room for each user. On the server each kind has its
//! own prefix, so that a client cannot choose the name of a private room or the id of a socket.
use sockeye::{LimitError, Socket};

use crate::{
    identity::User,
    names::{fold, is_printable},
};

/// A room, from the point of view of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Room {
    /// The user's own private room, which the user is always in.
    Own(String),
    /// A shared room, and its name for clients.
    Shared { room: String, name: String },
}

/// Why a user cannot enter a room, leave it or send to it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("a room's name has 1 to {0} printable characters")]
    Name(usize),
    #[error("this is the private room of another user")]
    Private,
    #[error("you are in {0} rooms already; leave one first")]
    TooMany(usize),
    #[error("you are not in the room `{0}`; enter it first")]
    NotIn(String),
    #[error("you cannot leave your own private room")]
    Own,
    #[error(transparent)]
    Limit(#[from] LimitError),
}

const PRIVATE: &str = "user:";
const SHARED: &str = "room:";

/// The name on the server of the shared room that clients know by `name`.
pub(crate) fn shared_room(name: &str) -> String {
    format!("{SHARED}{name}")
}

/// The room that all devices of one user are in, and no others.
pub(crate) fn private_room(user: &User) -> String {
    format!("{PRIVATE}{}", user.key())
}

impl Room {
    /// The room that a user means by a name. The user's own name, with or without the prefix, is the private room.
    ///
    /// # Errors
    /// If the name is empty, longer than `limit` characters, not printable, or that of another user's private room.
    pub(crate) fn parse(name: &str, user: &User, limit: usize) -> Result<Self, RoomError> {
        let characters = name.chars().count();
        if characters > limit.max(User::MAX_CHARACTERS) + PRIVATE.len() {
            return Err(RoomError::Name(limit));
        }
        let key = fold(name);
        if key == user.key() || key.strip_prefix(PRIVATE) == Some(user.key()) {
            return Ok(Self::Own(private_room(user)));
        }
        if key.starts_with(PRIVATE) {
            return Err(RoomError::Private);
        }
        let is_valid = !name.trim().is_empty() && characters <= limit && name.chars().all(is_printable);
        if is_valid {
            Ok(Self::Shared { room: shared_room(name), name: name.into() })
        } else {
            Err(RoomError::Name(limit))
        }
    }

    /// Whether the socket has to join the room to be in it.
    ///
    /// # Errors
    /// If the socket is in `limit` rooms already, or the room's name is the id of a socket: others would take it for the
    /// room of that socket.
    pub(crate) fn is_to_join(&self, socket: &Socket, limit: usize) -> Result<bool, RoomError> {
        match self {
            Self::Own(_) => Ok(false),
            Self::Shared { room, .. } if socket.is_in(room) => Ok(false),
            Self::Shared { name, .. } if socket.namespace().local().socket(name).is_some() => Err(RoomError::Private),
            Self::Shared { .. } => {
                let shared = socket.rooms().iter().filter(|room| room.starts_with(SHARED)).count();
                if shared >= limit { Err(RoomError::TooMany(limit)) } else { Ok(true) }
            }
        }
    }

    /// Leaves the room.
    pub(crate) fn leave(&self, socket: &Socket) -> Result<(), RoomError> {
        match self {
            Self::Own(_) => Err(RoomError::Own),
            Self::Shared { room, name } if !socket.is_in(room) => Err(RoomError::NotIn(name.clone())),
            Self::Shared { room, .. } => {
                socket.leave(room);
                Ok(())
            }
        }
    }

    /// Whether the socket is in the room.
    pub(crate) fn has(&self, socket: &Socket) -> bool {
        match self {
            Self::Own(room) | Self::Shared { room, .. } => socket.is_in(room),
        }
    }

    /// The room's name on the server.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Own(room) | Self::Shared { room, .. } => room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_choose_the_name_of_a_private_room() {
        let alice = User::parse("alice").unwrap();
        let parse = |name: &str| Room::parse(name, &alice, 10);
        assert_eq!(parse("alice"), Ok(Room::Own("user:alice".into())));
        assert_eq!(parse("user:alice"), Ok(Room::Own("user:alice".into())));
        assert_eq!(parse("user:bob"), Err(RoomError::Private));
        assert_eq!(parse("Ｕser：BOB"), Err(RoomError::Private));
        assert_eq!(parse("ALICE"), Ok(Room::Own("user:alice".into())));
        assert_eq!(parse("user:"), Err(RoomError::Private));
        for shared in ["bob", "room:x", " user:bob"] {
            let Ok(Room::Shared { room, .. }) = parse(shared) else { panic!("{shared} is a shared room") };
            assert_ne!(room, private_room(&User::parse("bob").unwrap()));
        }
        for wrong in ["", "  ", "a\nb", "01234567890"] {
            assert_eq!(parse(wrong), Err(RoomError::Name(10)), "{wrong:?}");
        }
    }
}
