use std::sync::Arc;

use smallvec::SmallVec;

use crate::IntoRooms;

/// Names of rooms, nearly always one.
pub type RoomNames = SmallVec<[Arc<str>; 1]>;

/// Whom a broadcast is for.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The rooms whose members it reaches, each member once; none means every socket of the namespace. A socket's id is
    /// the name of the room it is alone in.
    pub rooms: RoomNames,
    /// The rooms whose members it leaves out.
    pub except: RoomNames,
    /// Whether it stays on this server.
    pub local: bool,
    /// Whether it is dropped for sockets that are not ready to receive.
    pub volatile: bool,
}

pub(crate) fn add_rooms(names: &mut RoomNames, rooms: impl IntoRooms) {
    rooms.for_each_room(&mut |room| names.push(room.into()));
}
