use std::sync::atomic::{AtomicU64, Ordering};

use crate::{CloseReason, Refusal};

/// What an engine has done so far, and how many sessions are open: a snapshot of plain numbers. All but the first two
/// only grow. Bytes sent count as WebSocket frames, whatever the transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Open sessions that poll.
    pub polling_sessions: u64,
    /// Open sessions on a WebSocket.
    pub websocket_sessions: u64,
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions that moved from polling to a WebSocket.
    pub upgrades: u64,
    /// WebSockets that began to take a session over and failed.
    pub failed_upgrades: u64,
    /// Refused requests by [`Refusal::code`], 0 to 5. The counters of what is over a limit are parts of these, but for
    /// connections.
    pub refused: [u64; 6],
    /// Refused because of `max_sessions`.
    pub over_max_sessions: u64,
    /// Refused because of `max_sessions_per_address`.
    pub over_max_sessions_per_address: u64,
    /// Refused because of `max_session_rate`.
    pub over_max_session_rate: u64,
    /// Refused because of `max_session_rate_per_address`.
    pub over_max_session_rate_per_address: u64,
    /// Connections closed because of `max_connections`.
    pub over_max_connections: u64,
    /// Connections closed because of `max_connections_per_address`.
    pub over_max_connections_per_address: u64,
    /// Requests and WebSocket messages beyond `max_payload`.
    pub too_large: u64,
    /// Sessions whose peer answered no ping in time.
    pub ping_timeouts: u64,
    /// Sessions whose peer read too slowly.
    pub slow_consumers: u64,
    /// Sessions whose peer broke a rule of WebSocket or Engine.IO.
    pub protocol_errors: u64,
    /// Sessions whose connection broke.
    pub transport_errors: u64,
    /// Sessions whose peer closed them.
    pub transport_closes: u64,
    /// Sessions that this side closed, for a shutdown included.
    pub forced_closes: u64,
    /// Sessions that did not keep all headers of their handshake, because of `handshake_bytes`.
    pub shortened_handshakes: u64,
    /// Connections whose TLS handshake failed.
    pub failed_tls_handshakes: u64,
    /// Packets received, heartbeats included.
    pub packets_in: u64,
    /// Bytes received in packets and in what carries them.
    pub bytes_in: u64,
    /// Packets sent, heartbeats included.
    pub packets_out: u64,
    /// Bytes sent in packets and in what carries them.
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

/// What one session has received and sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
}

/// What one session has received, counted by its task alone, so that no counting instruction needs the bus.
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

/// What happens rarely enough to be counted where all sessions can see it, and the traffic of those that have ended.
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
    over_max_session_rate: Counter,
    over_max_session_rate_per_address: Counter,
    pub(crate) over_max_connections: Counter,
    pub(crate) over_max_connections_per_address: Counter,
    ping_timeouts: Counter,
    slow_consumers: Counter,
    transport_errors: Counter,
    transport_closes: Counter,
    forced_closes: Counter,
    packets_in: Counter,
    bytes_in: Counter,
    packets_out: Counter,
    bytes_out: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
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

    /// Keeps what a session has counted that is about to be forgotten.
    pub(crate) fn keep(&self, traffic: Traffic) {
        self.packets_in.add(traffic.packets_in);
        self.bytes_in.add(traffic.bytes_in);
        self.packets_out.add(traffic.packets_out);
        self.bytes_out.add(traffic.bytes_out);
    }

    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            polling_sessions: 0,
            websocket_sessions: 0,
            opened: self.opened.value(),
            upgrades: self.upgrades.value(),
            failed_upgrades: self.failed_upgrades.value(),
            refused: self.refused.each_ref().map(Counter::value),
            over_max_sessions: self.over_max_sessions.value(),
            over_max_sessions_per_address: self.over_max_sessions_per_address.value(),
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
            packets_in: self.packets_in.value(),
            bytes_in: self.bytes_in.value(),
            packets_out: self.packets_out.value(),
            bytes_out: self.bytes_out.value(),
        }
    }
}
