use std::{sync::Arc, task::Waker};

use serde_json::value::RawValue;
use sockeye_engine::{Revision, Session, Sid};

use crate::{
    Namespace, Socket,
    adapter::{
        RoomEvents,
        recovery::{PrivateId, Restored},
    },
};

/// The outcome of a client's request to join a namespace.
pub(crate) enum Entry {
    /// The client's socket is in the namespace. The events are to be passed to the observers of rooms.
    Entered(Socket, RoomEvents),
    /// The client waits until its former socket has left.
    AwaitsFormer,
}

/// Adds a new or a recovered socket to a namespace. If the client asks to recover a socket that is still in the
/// namespace, this ends that socket and calls the waker `former` when it has left. Without `former` the client gets a
/// new socket.
pub(crate) fn enter(
    namespace: &Namespace,
    session: &Arc<Session>,
    auth: Option<Box<RawValue>>,
    former: Option<&Waker>,
) -> Entry {
    let insert = |id: Sid, auth, identity| {
        let socket = Socket::new(id, namespace.clone(), session.clone(), auth, identity);
        let events = namespace.local().insert(&socket);
        (socket, events)
    };
    let Some(recovery) = namespace.recovery().filter(|_| session.revision() == Revision::V4) else {
        let (socket, events) = insert(new_id(namespace, session), auth, None);
        return Entry::Entered(socket, events);
    };
    let begin = |auth| {
        let id = Sid::random();
        let (socket, events) = recovery.begin(&id.clone(), |identity| insert(id, auth, Some(identity)));
        Entry::Entered(socket, events)
    };
    let Some(waker) = former else { return begin(auth) };
    let space = namespace.config().engine.outbox_bytes.saturating_sub(session.buffered_bytes());
    let mut former = None;
    let is_present = |id: &str, pid: &PrivateId| {
        former = namespace.socket(id).filter(|socket| socket.is_recoverable_by(pid));
        former.is_some()
    };
    let restored = recovery.restore(auth.as_deref(), space, waker, is_present, |id, rooms, identity| {
        let (socket, mut events) = insert(id, auth.clone(), Some(identity));
        // The former socket was within the limit.
        let _unlimited = namespace.local().join_untold(&socket, &rooms, usize::MAX, &mut events);
        (socket, events)
    });
    match restored {
        Restored::Entered((socket, events)) => {
            namespace.counters().recovered.add();
            Entry::Entered(socket, events)
        }
        Restored::FormerIsPresent => {
            if let Some(former) = former {
                former.make_way();
            }
            Entry::AwaitsFormer
        }
        Restored::Unknown => begin(auth),
    }
}

/// Makes the id of a new socket. In Socket.IO 2 it is derived from the id of the session.
fn new_id(namespace: &Namespace, session: &Session) -> Sid {
    match (session.revision(), namespace.name()) {
        (Revision::V4, _) => Sid::random(),
        (Revision::V3, "/") => session.id().clone(),
        (Revision::V3, name) => format!("{name}#{}", session.id()).into(),
    }
}
