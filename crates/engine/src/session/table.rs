use std::sync::Arc;

use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::{
    Sid,
    session::{handle::Session, permits::ConnectionPermit},
};

/// The sessions of an engine by their identifier, for the requests that belong to them.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    sessions: RwLock<HashMap<Sid, Arc<Session>>>,
}

impl SessionTable {
    /// Adds a session, unless another one has its identifier.
    pub(crate) fn insert(&self, session: &Arc<Session>) -> bool {
        match self.sessions.write().entry(session.id().clone()) {
            Entry::Vacant(entry) => {
                entry.insert(session.clone());
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.read().get(id).cloned()
    }

    /// The sessions, none of which is added or removed meanwhile.
    pub(crate) fn lock(&self) -> RwLockReadGuard<'_, HashMap<Sid, Arc<Session>>> {
        self.sessions.read()
    }

    /// Removes a session, so that requests of its identifier are answered as unknown.
    pub(crate) fn remove(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.write();
        // The identifier may be another session's by now, if the application's generator repeats itself.
        let Entry::Occupied(entry) = sessions.entry(session.id().clone()) else { return };
        if !Arc::ptr_eq(entry.get(), session) {
            return;
        }
        entry.remove();
        session.context().counters.keep(session.traffic());
    }
}

/// Keeps a session in the table and its connection permit taken. When it is dropped, with the session's task, with a
/// handler that panics or with the runtime, nobody drives the session any more, and it takes no more packets.
pub(crate) struct SessionGuard {
    session: Arc<Session>,
    table: Arc<SessionTable>,
    /// Returned when the session's memory is free, not before.
    _permit: ConnectionPermit,
}

impl SessionGuard {
    pub(crate) fn new(session: Arc<Session>, table: Arc<SessionTable>, permit: ConnectionPermit) -> Self {
        Self { session, table, _permit: permit }
    }

    /// Removes the session from the table.
    pub(crate) fn remove(&self) {
        self.table.remove(&self.session);
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.session.abandon();
        self.remove();
    }
}
