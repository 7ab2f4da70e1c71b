use std::{hash::BuildHasher, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::time::Instant;

use crate::{
    memory::SessionCharge,
    session::{
        deadlines::{Alarm, Deadlines},
        handle::Session,
        permits::ConnectionPermit,
    },
};

/// The sessions of an engine by their identifier, for the requests that belong to them. An entry is a pointer, because
/// the session itself holds the identifier.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    sessions: RwLock<HashTable<Arc<Session>>>,
    hasher: DefaultHashBuilder,
    deadlines: Deadlines,
}

impl SessionTable {
    /// Adds a session, unless another one has its identifier.
    pub(crate) fn insert(&self, session: &Arc<Session>) -> bool {
        let id = session.id();
        let hash = |session: &Arc<Session>| self.hash(session.id());
        match self.sessions.write().entry(self.hash(id), |other| other.id() == id, hash) {
            Entry::Vacant(entry) => {
                entry.insert(session.clone());
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.read().find(self.hash(id), |session| session.id().as_str() == id).cloned()
    }

    /// The sessions, none of which is added or removed meanwhile.
    pub(crate) fn lock(&self) -> RwLockReadGuard<'_, HashTable<Arc<Session>>> {
        self.sessions.read()
    }

    /// Removes a session, so that requests of its identifier are answered as unknown.
    pub(crate) fn remove(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.write();
        // The identifier may be another session's by now, if the application's generator repeats itself.
        let found = sessions.find_entry(self.hash(session.id()), |other| Arc::ptr_eq(other, session));
        if let Ok(entry) = found {
            entry.remove();
            session.context().counters.keep(session.traffic());
        }
    }

    #[cfg(test)]
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }
}

/// Keeps a session in the table and its connection permit taken. When it is dropped, with the session's task, with a
/// handler that panics or with the runtime, nobody drives the session any more, and it takes no more packets.
pub(crate) struct SessionGuard {
    session: Arc<Session>,
    table: Arc<SessionTable>,
    /// Wakes the session's task at its next deadline or before it.
    alarm: Alarm,
    /// Returned when the session's memory is free, not before.
    _permit: ConnectionPermit,
    _charge: SessionCharge,
}

impl SessionGuard {
    pub(crate) fn new(session: Arc<Session>, table: Arc<SessionTable>, permit: ConnectionPermit) -> Self {
        let charge = SessionCharge::new(session.context().memory.clone());
        Self { session, table, alarm: Alarm::default(), _permit: permit, _charge: charge }
    }

    /// Removes the session from the table.
    pub(crate) fn remove(&self) {
        self.table.remove(&self.session);
    }

    /// Has the session's task woken at this deadline, or earlier.
    pub(crate) fn set_alarm(&mut self, deadline: Instant) {
        self.table.deadlines.set(&mut self.alarm, &self.session, deadline);
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Whether the task was woken, so that its deadline may have passed.
    pub(crate) fn alarm_has_rung(&self) -> bool {
        self.table.deadlines.has_rung(&self.alarm)
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.table.deadlines.cancel(&mut self.alarm, &self.session);
        self.session.abandon();
        self.remove();
    }
}
