use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{CloseReason, Refusal};

/// A snapshot of an engine's counters. All but the first three only grow. Bytes sent are counted as WebSocket frames,
/// whatever the transport is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Open sessions on polling.
    pub polling_sessions: u64,
    /// Open sessions on WebSocket.
    pub websocket_sessions: u64,
    /// About how many bytes clients make the server hold, as they count against `max_memory`. The frames of all engines of
    /// the process are among them.
    pub held_bytes: u64,
    /// Sessions that were opened.
    pub opened: u64,
    /// Upgrades from polling to WebSocket that succeeded.
    pub upgrades: u64,
    /// Upgrades from polling to WebSocket that failed.
    pub failed_upgrades: u64,
    /// Refused requests by [`Refusal::code`], 0 to 5. The requests among the `over_` counters and in `too_large` are
    /// counted here as well.
    pub refused: [u64; 6],
    /// Requests refused because of `max_sessions`.
    pub over_max_sessions: u64,
    /// Requests refused because of `max_sessions_per_address`.
    pub over_max_sessions_per_address: u64,
    /// Requests refused because of `max_session_rate`.
    pub over_max_session_rate: u64,
    /// Requests refused because of `max_session_rate_per_address`.
    pub over_max_session_rate_per_address: u64,
    /// Refused because nine tenths of `max_memory` were in use.
    pub over_max_memory: u64,
    /// How often a client was not read for a while because eight tenths of `max_memory` were in use, and much for it.
    pub starved: u64,
    /// Sessions closed because of `max_memory`.
    pub closed_for_memory: u64,
    /// Connections closed because of `max_connections`.
    pub over_max_connections: u64,
    /// Connections closed because of `max_connections_per_address`.
    pub over_max_connections_per_address: u64,
    /// Requests refused because of `max_payload`, and WebSocket messages beyond it, which are not counted in `refused`.
    pub too_large: u64,
    /// Sessions closed because their client did not answer a ping in time.
    pub ping_timeouts: u64,
    /// Sessions closed because their client read too slowly.
    pub slow_consumers: u64,
    /// Sessions closed because their client broke a rule of WebSocket or Engine.IO.
    pub protocol_errors: u64,
    /// Sessions closed because their connection broke.
    pub transport_errors: u64,
    /// Sessions that their client closed.
    pub transport_closes: u64,
    /// Sessions that the server closed, including by a shutdown.
    pub forced_closes: u64,
    /// Sessions that left out headers of their handshake because of `handshake_bytes`.
    pub shortened_handshakes: u64,
    /// Connections whose TLS handshake failed.
    pub failed_tls_handshakes: u64,
    /// Packets received, including heartbeats.
    pub packets_in: u64,
    /// Bytes received in packets, including the bodies and frames that contain them.
    pub bytes_in: u64,
    /// Packets sent, including heartbeats.
    pub packets_out: u64,
    /// Bytes sent in packets, including the bodies and frames that contain them.
    pub bytes_out: u64,
}

impl Metrics {
    pub(crate) fn add(&mut self, traffic: &Traffic) {
        self.packets_in += traffic.packets_in;
        self.bytes_in += traffic.bytes_in;
        self.packets_out += traffic.packets_out;
        self.bytes_out += traffic.bytes_out;
    }
}

/// The packets and bytes of one session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
}

/// The packets and bytes that one session has received. Only the session's task adds to them, so that counting needs no
/// atomic read-modify-write instruction.
#[derive(Debug, Default)]
pub(crate) struct Received {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Received {
    /// Adds to the counts. Only the session's task may call it: two callers at once would lose counts.
    pub(crate) fn add(&self, packets: u64, bytes: usize) {
        self.packets.store(self.packets.load(Ordering::Relaxed) + packets, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Counters of rare events, which all sessions share, and the traffic of the sessions that have ended.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) opened: Counter,
    pub(crate) upgrades: Counter,
    pub(crate) failed_upgrades: Counter,
    pub(crate) too_large: Counter,
    pub(crate) protocol_errors: Counter,
    pub(crate) shortened_handshakes: Counter,
    pub(crate) failed_tls_handshakes: Counter,
    refused: [Counter; 6],
    over_max_sessions: Counter,
    over_max_sessions_per_address: Counter,
    pub(crate) over_max_memory: Counter,
    pub(crate) starved: Counter,
    pub(crate) closed_for_memory: Counter,
    over_max_session_rate: Counter,
    over_max_session_rate_per_address: Counter,
    pub(crate) over_max_connections: Counter,
    pub(crate) over_max_connections_per_address: Counter,
    ping_timeouts: Counter,
    slow_consumers: Counter,
    transport_errors: Counter,
    transport_closes: Counter,
    forced_closes: Counter,
    /// The traffic of the sessions that have ended. Its other numbers stay 0.
    ended: Mutex<Metrics>,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn refused(&self, refusal: &Refusal) {
        if let Some(counter) = self.refused.get(usize::from(refusal.code())) {
            counter.increment();
        }
        let limit = match refusal {
            Refusal::TooManySessions => &self.over_max_sessions,
            Refusal::TooManySessionsOfAddress => &self.over_max_sessions_per_address,
            Refusal::OutOfMemory => &self.over_max_memory,
            Refusal::TooManySessionsPerSecond => &self.over_max_session_rate,
            Refusal::TooManySessionsOfAddressPerSecond => &self.over_max_session_rate_per_address,
            Refusal::PayloadTooLarge => &self.too_large,
            _ => return,
        };
        limit.increment();
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        match reason {
            CloseReason::TransportError => self.transport_errors.increment(),
            CloseReason::TransportClose => self.transport_closes.increment(),
            CloseReason::ForcedClose | CloseReason::ServerShuttingDown => self.forced_closes.increment(),
            CloseReason::PingTimeout => self.ping_timeouts.increment(),
            CloseReason::ParseError => self.protocol_errors.increment(),
            CloseReason::SlowConsumer => self.slow_consumers.increment(),
        }
    }

    /// Adds the traffic of a session that leaves the table.
    pub(crate) fn keep(&self, traffic: Traffic) {
        self.ended.lock().add(&traffic);
    }

    /// The counters, without the sessions that are open.
    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            opened: self.opened.value(),
            upgrades: self.upgrades.value(),
            failed_upgrades: self.failed_upgrades.value(),
            refused: self.refused.each_ref().map(Counter::value),
            over_max_sessions: self.over_max_sessions.value(),
            over_max_sessions_per_address: self.over_max_sessions_per_address.value(),
            over_max_memory: self.over_max_memory.value(),
            starved: self.starved.value(),
            closed_for_memory: self.closed_for_memory.value(),
            over_max_session_rate: self.over_max_session_rate.value(),
            over_max_session_rate_per_address: self.over_max_session_rate_per_address.value(),
            over_max_connections: self.over_max_connections.value(),
            over_max_connections_per_address: self.over_max_connections_per_address.value(),
            too_large: self.too_large.value(),
            ping_timeouts: self.ping_timeouts.value(),
            slow_consumers: self.slow_consumers.value(),
            protocol_errors: self.protocol_errors.value(),
            transport_errors: self.transport_errors.value(),
            transport_closes: self.transport_closes.value(),
            forced_closes: self.forced_closes.value(),
            shortened_handshakes: self.shortened_handshakes.value(),
            failed_tls_handshakes: self.failed_tls_handshakes.value(),
            ..*self.ended.lock()
        }
    }
}
