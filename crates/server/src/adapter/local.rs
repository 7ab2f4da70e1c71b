use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;
use smallvec::SmallVec;
use sockeye_engine::{Batch, Sid};

use super::{
    EncodedPacket, RoomNames, Target,
    joined_rooms::{JoinedRooms, Position},
    member_table::{Member, MemberTable},
};
use crate::{LimitError, Socket};

/// The sockets of one namespace on this server, and their rooms.
pub struct Local {
    namespace: Arc<str>,
    members: RwLock<Members>,
    room_observers: RwLock<Vec<RoomObserver>>,
    room_watch: OnceLock<RoomWatch>,
}

/// A change to a room, as [`Namespace::on_room_event`](crate::Namespace::on_room_event) reports it. The enum is
/// exhaustive, because a room changes in no other way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEvent {
    /// A room was created: its first socket joined.
    Created(Arc<str>),
    /// A socket joined a room.
    Joined(Arc<str>, Sid),
    /// A socket left a room.
    Left(Arc<str>, Sid),
    /// A room was deleted: its last socket left.
    Deleted(Arc<str>),
}

type RoomObserver = Arc<dyn Fn(&RoomEvent) + Send + Sync>;
type RoomWatch = Arc<dyn Fn(&str) + Send + Sync>;

impl Local {
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        Self { namespace, members: RwLock::default(), room_observers: RwLock::default(), room_watch: OnceLock::new() }
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The number of sockets in the namespace on this server.
    pub fn len(&self) -> usize {
        self.members.read().by_id.len()
    }

    /// Whether the namespace has no sockets on this server.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The socket with this id.
    pub fn socket(&self, id: &str) -> Option<Socket> {
        self.members.read().by_id.find(id).map(|member| member.socket.clone())
    }

    /// The sockets that the target selects, each once.
    pub fn sockets(&self, target: &Target) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.for_each(target, |socket| sockets.push(socket.clone()));
        sockets
    }

    /// The number of sockets that the target selects.
    pub fn count(&self, target: &Target) -> usize {
        match (target.rooms.as_slice(), target.except.as_slice()) {
            ([], []) => self.len(),
            ([room], []) => self.room_len(room),
            _ => {
                let mut count = 0;
                self.for_each(target, |_| count += 1);
                count
            }
        }
    }

    /// Has `watch` called with the name of a room after the room was created or deleted, and with the id of a socket
    /// after it has entered or left. Calls for one name may come in another order than the changes, so that `watch` has to
    /// look whether [`room_len`](Self::room_len) is zero. Only the first call of this method has an effect; it is for the
    /// namespace's adapter.
    pub fn watch_rooms(&self, watch: Arc<dyn Fn(&str) + Send + Sync>) {
        // A namespace has one adapter.
        let _former = self.room_watch.set(watch);
    }

    /// The names of all rooms that have members. The rooms named after socket ids are not among them.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.members.read().rooms.keys().cloned().collect()
    }

    /// The number of sockets in a room.
    pub fn room_len(&self, room: &str) -> usize {
        let members = self.members.read();
        match members.rooms.get(room) {
            Some(group) => group.sockets.len(),
            None => usize::from(members.by_id.find(room).is_some()),
        }
    }

    /// The rooms that the socket with this id has joined; the room named after its id comes first.
    pub fn rooms_of(&self, id: &str) -> Vec<Arc<str>> {
        self.members.read().by_id.find(id).map(Member::room_names).unwrap_or_default()
    }

    /// The rooms that this socket has joined; the room named after its id comes first. Empty if another socket has its
    /// id.
    pub(crate) fn rooms_joined_by(&self, socket: &Socket) -> Vec<Arc<str>> {
        let members = self.members.read();
        members.by_id.find(socket.id()).filter(|member| member.is(socket)).map(Member::room_names).unwrap_or_default()
    }

    /// Whether this socket has joined a room. It has joined the room named after its id.
    pub(crate) fn is_in(&self, socket: &Socket, room: &str) -> bool {
        let members = self.members.read();
        let member = members.by_id.find(socket.id()).filter(|member| member.is(socket));
        member.is_some_and(|member| *room == *socket.id().as_str() || member.rooms.contains(room))
    }

    /// Sends a packet to every socket of the target. It holds no lock while it sends.
    pub fn broadcast(&self, packet: &EncodedPacket, target: &Target) {
        let _batch = Batch::open();
        self.for_each(target, |socket| socket.deliver(packet, target.volatile));
    }

    /// Makes every socket of the target join the rooms. A socket that would be in more than `max_rooms` joins none.
    pub fn join_all(&self, target: &Target, rooms: &RoomNames, max_rooms: usize) {
        for socket in self.sockets(target) {
            if let Err(limit) = self.join(&socket, rooms, max_rooms) {
                socket.namespace().limit_hit(limit);
            }
        }
    }

    /// Makes every socket of the target leave the rooms.
    pub fn leave_all(&self, target: &Target, rooms: &RoomNames) {
        for socket in self.sockets(target) {
            self.leave(&socket, rooms);
        }
    }

    /// Disconnects every socket of the target from the namespace.
    pub fn disconnect_all(&self, target: &Target) {
        self.sockets(target).iter().for_each(Socket::disconnect);
    }

    /// Closes the connection of every socket of the target.
    pub fn close_all(&self, target: &Target) {
        self.sockets(target).iter().for_each(Socket::close);
    }

    /// Adds a socket to the namespace. A client of Socket.IO 2 that leaves the namespace and joins it again on the same
    /// connection has the same socket id. If its former socket is still here because its handlers run, this removes the
    /// former socket. The caller passes the returned events to [`tell`](Self::tell) after it has released its locks.
    pub(crate) fn insert(&self, socket: &Socket) -> Events {
        let mut events = self.events();
        let former = {
            let mut members = self.members.write();
            let former = members.remove(socket.id(), &mut events);
            members.insert(socket);
            former
        };
        if let Some(former) = former {
            former.socket.keep_rooms(former.room_names());
        }
        self.watch(socket.id().as_str());
        events
    }

    /// Removes a socket from the namespace and from its rooms, and returns the names of those rooms. The caller passes
    /// the returned events to [`tell`](Self::tell) after it has released its locks.
    pub(crate) fn remove(&self, socket: &Socket) -> (Vec<Arc<str>>, Events) {
        let mut events = self.events();
        let removed = {
            let mut members = self.members.write();
            match members.entry(socket) {
                Some(_) => members.remove(socket.id(), &mut events),
                None => None,
            }
        };
        if removed.is_some() {
            self.watch(socket.id().as_str());
        }
        (removed.as_ref().map(Member::room_names).unwrap_or_default(), events)
    }

    pub(crate) fn join(&self, socket: &Socket, rooms: &[Arc<str>], max_rooms: usize) -> Result<(), LimitError> {
        let mut events = self.events();
        self.join_untold(socket, rooms, max_rooms, &mut events)?;
        self.tell(events);
        Ok(())
    }

    /// Adds a socket to rooms. The caller passes the returned events to [`tell`](Self::tell) after it has released its
    /// locks.
    pub(crate) fn join_untold(
        &self,
        socket: &Socket,
        rooms: &[Arc<str>],
        max_rooms: usize,
        events: &mut Events,
    ) -> Result<(), LimitError> {
        let mut members = self.members.write();
        if members.room_count_with(socket, rooms) > max_rooms {
            return Err(LimitError::Rooms { limit: max_rooms });
        }
        for room in rooms {
            members.join(socket, room, events);
        }
        Ok(())
    }

    pub(crate) fn leave(&self, socket: &Socket, rooms: &[Arc<str>]) {
        let mut events = self.events();
        {
            let mut members = self.members.write();
            for room in rooms {
                members.leave(socket, room, &mut events);
            }
        }
        self.tell(events);
    }

    pub(crate) fn observe_rooms(&self, observer: RoomObserver) {
        self.room_observers.write().push(observer);
    }

    /// Copies the observers of the parent namespace.
    pub(crate) fn inherit(&self, parent: &Self) {
        self.room_observers.write().clone_from(&parent.room_observers.read());
    }

    /// An empty list of events, or none if there are no observers.
    fn events(&self) -> Events {
        (self.room_watch.get().is_some() || !self.room_observers.read().is_empty()).then(Vec::new)
    }

    /// Calls the observers with these events. It holds no lock meanwhile.
    pub(crate) fn tell(&self, events: Events) {
        let Some(events) = events.filter(|events| !events.is_empty()) else { return };
        let observers = self.room_observers.read().clone();
        for event in &events {
            if let RoomEvent::Created(room) | RoomEvent::Deleted(room) = event {
                self.watch(room);
            }
            observers.iter().for_each(|observer| observer(event));
        }
    }

    fn watch(&self, room: &str) {
        if let Some(watch) = self.room_watch.get() {
            watch(room);
        }
    }

    /// Calls `each` for every socket of the target. It iterates over a snapshot, so that it holds no lock meanwhile.
    fn for_each(&self, target: &Target, mut each: impl FnMut(&Socket)) {
        let (groups, excluded) = {
            let members = self.members.read();
            let groups: SmallVec<[Snapshot; 1]> = match target.rooms.as_slice() {
                [] => SmallVec::from_elem(members.everyone.snapshot(), 1),
                rooms => rooms.iter().filter_map(|room| members.snapshot(room)).collect(),
            };
            let excluded: SmallVec<[Snapshot; 1]> =
                target.except.iter().filter_map(|room| members.snapshot(room)).collect();
            (groups, Excluded::new(&excluded))
        };
        if let [group] = groups.as_slice() {
            for socket in group.iter().filter(|socket| !excluded.contains(socket)) {
                each(socket);
            }
            return;
        }
        let mut seen = HashSet::new();
        for socket in groups.iter().flat_map(|group| group.iter()) {
            if !excluded.contains(socket) && seen.insert(socket.address()) {
                each(socket);
            }
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

type Snapshot = Arc<[Socket]>;

/// The room events to report, or none if there are no observers.
pub(crate) type Events = Option<Vec<RoomEvent>>;

#[derive(Default)]
struct Members {
    everyone: Group,
    by_id: MemberTable,
    rooms: HashMap<Arc<str>, Group>,
}

/// An unordered set of sockets, with a snapshot of it for broadcasts. A broadcast makes the snapshot if there is none;
/// every change drops it.
#[derive(Default)]
struct Group {
    sockets: Vec<Socket>,
    snapshot: OnceLock<Snapshot>,
}

impl Group {
    fn snapshot(&self) -> Snapshot {
        self.snapshot.get_or_init(|| self.sockets.as_slice().into()).clone()
    }

    /// Adds a socket and returns its position.
    fn add(&mut self, socket: Socket) -> Position {
        self.snapshot.take();
        let position = Position::at(self.sockets.len());
        self.sockets.push(socket);
        position
    }

    /// Removes the socket at a position. Returns the socket that has moved to that position, if any.
    fn remove(&mut self, position: Position) -> Option<Socket> {
        self.snapshot.take();
        self.sockets.swap_remove(position.index());
        if self.sockets.len() < self.sockets.capacity() / 4 {
            self.sockets.shrink_to(self.sockets.len() * 2);
        }
        self.sockets.get(position.index()).cloned()
    }
}

impl Members {
    fn insert(&mut self, socket: &Socket) {
        let position = self.everyone.add(socket.clone());
        self.by_id.insert(Member { socket: socket.clone(), position, rooms: JoinedRooms::default() });
    }

    fn entry(&mut self, socket: &Socket) -> Option<&mut Member> {
        self.by_id.find_mut(socket.id()).filter(|member| member.is(socket))
    }

    fn remove(&mut self, id: &Sid, events: &mut Events) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        if let Some(moved) = self.everyone.remove(member.position)
            && let Some(moved) = self.by_id.find_mut(moved.id())
        {
            moved.position = member.position;
        }
        for (room, position) in member.rooms.iter() {
            self.leave_group(id, room, position, events);
        }
        Some(member)
    }

    /// The number of rooms that a socket would be in if it joined these.
    fn room_count_with(&mut self, socket: &Socket, rooms: &[Arc<str>]) -> usize {
        let Some(member) = self.entry(socket) else { return 0 };
        let is_new = |room: &&Arc<str>| !member.rooms.contains(room);
        member.rooms.len() + rooms.iter().filter(is_new).count()
    }

    fn join(&mut self, socket: &Socket, room: &Arc<str>, events: &mut Events) {
        let id = socket.id();
        let Some(member) = self.by_id.find_mut(id).filter(|member| member.is(socket)) else { return };
        if **room == *id.as_str() || member.rooms.contains(room) {
            return;
        }
        let (name, group) = match self.rooms.get_key_value_mut(room) {
            Some((name, group)) => (name.clone(), group),
            None => (room.clone(), self.rooms.entry(room.clone()).or_default()),
        };
        if let Some(events) = events {
            if group.sockets.is_empty() {
                events.push(RoomEvent::Created(name.clone()));
            }
            events.push(RoomEvent::Joined(name.clone(), id.clone()));
        }
        let position = group.add(member.socket.clone());
        member.rooms.insert(name, position);
    }

    fn leave(&mut self, socket: &Socket, room: &Arc<str>, events: &mut Events) {
        let Some(member) = self.entry(socket) else { return };
        let Some((room, position)) = member.rooms.remove(room) else { return };
        self.leave_group(socket.id(), &room, position, events);
    }

    fn leave_group(&mut self, id: &Sid, room: &Arc<str>, position: Position, events: &mut Events) {
        let Some(group) = self.rooms.get_mut(room) else { return };
        let moved = group.remove(position);
        let is_empty = group.sockets.is_empty();
        if is_empty {
            self.rooms.remove(room);
        }
        if let Some(events) = events {
            events.push(RoomEvent::Left(room.clone(), id.clone()));
            if is_empty {
                events.push(RoomEvent::Deleted(room.clone()));
            }
        }
        if let Some(moved) = moved
            && let Some(member) = self.by_id.find_mut(moved.id())
        {
            member.rooms.set_position(room, position);
        }
    }

    /// The sockets of a room. A socket's id is also the name of a room, which has that one socket and no group.
    fn snapshot(&self, room: &str) -> Option<Snapshot> {
        match (self.rooms.get(room), self.by_id.find(room)) {
            (Some(group), None) => Some(group.snapshot()),
            (None, Some(member)) => Some(Arc::from([member.socket.clone()])),
            (Some(group), Some(own)) => Some(group.sockets.iter().chain([&own.socket]).cloned().collect()),
            (None, None) => None,
        }
    }
}

/// The sockets that a broadcast skips: nearly always none, or only the sender.
enum Excluded {
    None,
    One(usize),
    Many(HashSet<usize>),
}

impl Excluded {
    fn new(groups: &[Snapshot]) -> Self {
        match groups {
            [] => Self::None,
            [group] if group.len() == 1 => group.first().map_or(Self::None, |socket| Self::One(socket.address())),
            groups => Self::Many(groups.iter().flat_map(|group| group.iter().map(Socket::address)).collect()),
        }
    }

    fn contains(&self, socket: &Socket) -> bool {
        match self {
            Self::None => false,
            Self::One(address) => *address == socket.address(),
            Self::Many(addresses) => addresses.contains(&socket.address()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    /// Each member's positions are those of its socket, so that it leaves its groups without a search.
    fn check_positions(local: &Local) {
        let members = local.members.read();
        assert_eq!(members.everyone.sockets.len(), members.by_id.len());
        let mut joined = 0;
        for (position, socket) in members.everyone.sockets.iter().enumerate() {
            let member = members.by_id.find(socket.id()).unwrap();
            assert!(member.is(socket) && member.position.index() == position);
            for (room, position) in member.rooms.iter() {
                assert!(member.is(&members.rooms[room].sockets[position.index()]), "{room}");
                joined += 1;
            }
        }
        assert_eq!(members.rooms.values().map(|group| group.sockets.len()).sum::<usize>(), joined);
    }

    #[tokio::test]
    async fn a_socket_knows_its_position_in_each_of_many_rooms() {
        let server = Server::new();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(server.test_client().connect().await.unwrap());
        }
        let root = server.of("/");
        let sockets: Vec<_> = clients.iter().map(|client| root.socket(client.sid()).unwrap()).collect();
        let local = root.local();
        let rooms: Vec<Arc<str>> = (0..100).map(|number| format!("room {number}").into()).collect();
        for socket in &sockets {
            local.join(socket, &rooms, usize::MAX).unwrap();
        }
        check_positions(local);
        // The last socket of a room moves to the position of the one that leaves.
        for (number, room) in rooms.iter().enumerate() {
            local.leave(&sockets[number % 4], std::slice::from_ref(room));
            check_positions(local);
        }
        local.join(&sockets[0], &rooms, usize::MAX).unwrap();
        check_positions(local);
        local.remove(&sockets[1]);
        check_positions(local);
        assert_eq!(sockets.iter().map(|socket| socket.rooms().len()).collect::<Vec<_>>(), [101, 0, 76, 76]);
    }
}
