use crate::{Engine, TransportKind, counters::Metrics};

impl<A> Engine<A> {
    /// The current numbers. Each session counts its own packets and bytes, and this function adds them up. With very
    /// many sessions that takes some milliseconds, so call it at intervals.
    pub fn metrics(&self) -> Metrics {
        // While the lock is held, no session ends and moves its numbers into the totals.
        let (mut metrics, sessions) = {
            let sessions = self.shared.sessions.lock();
            (self.shared.context.counters.snapshot(), sessions.iter().cloned().collect::<Vec<_>>())
        };
        metrics.held_bytes = self.shared.context.memory.held() as u64;
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
