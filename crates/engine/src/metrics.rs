use crate::{Engine, TransportKind, counters::Metrics};

impl<A> Engine<A> {
    /// The numbers of this moment. Packets and bytes are counted in each session, where it costs nothing, and added up
    /// here; with very many sessions this takes some milliseconds, so ask once in a while.
    pub fn metrics(&self) -> Metrics {
        // While the lock is held no session's numbers move from the session into the totals.
        let (mut metrics, sessions) = {
            let sessions = self.shared.sessions.lock();
            (self.shared.context.counters.snapshot(), sessions.iter().cloned().collect::<Vec<_>>())
        };
        for session in &sessions {
            let traffic = session.traffic();
            metrics.add(&traffic);
            match session.transport() {
                TransportKind::Polling => metrics.polling_sessions += 1,
                TransportKind::WebSocket => metrics.websocket_sessions += 1,
            }
        }
        metrics
    }
}
