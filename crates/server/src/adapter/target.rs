use std::sync::Arc;

use smallvec::SmallVec;

use crate::IntoRooms;

/// Room names; nearly always one.
pub type RoomNames = SmallVec<[Arc<str>; 1]>;

/// The sockets that a broadcast or a command reaches.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The rooms whose members it reaches, each member once. If empty, it reaches every socket of the namespace. A
    /// socket's id is also the name of a room with only that socket.
    pub rooms: RoomNames,
    /// The rooms whose members it does not reach.
    pub except: RoomNames,
    /// Whether it reaches only sockets of this server.
    pub local: bool,
    /// Whether a socket that is not ready to receive misses it.
    pub volatile: bool,
}

pub(crate) fn add_rooms(names: &mut RoomNames, rooms: impl IntoRooms) {
    rooms.for_each_room(&mut |room| names.push(room.into()));
}
