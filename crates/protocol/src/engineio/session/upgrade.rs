use std::time::{Duration, Instant};

use super::{
    machine::Session,
    output::Transmit,
    role::Role,
    stage::{Stage, Transport, Upgrade},
    upgrade_error::UpgradeError,
};
use crate::engineio::Packet;

/// Names one WebSocket among those that try to take a session over, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe(u32);

/// What the driver does with the WebSocket that tries to take over, after a packet of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeStep {
    /// Read on.
    Read,
    /// Leave the rest unread until the session is upgraded.
    Wait,
    /// The WebSocket is the session's transport now; what was read behind this packet comes from it.
    Upgraded,
    /// The WebSocket has no business here and is closed.
    Close,
}

/// While a WebSocket is about to take over, a server ends polls this often so that the client can stop polling. The
/// first time is as long after the answer to the probe, as in the reference: its client's own tests send packets in
/// between and expect them by polling.
const NOOP_INTERVAL: Duration = Duration::from_millis(100);

impl Session {
    /// A client begins to open a WebSocket for its session. `false` if the session does not poll, or another one is
    /// being opened.
    pub fn begin_upgrade(&mut self, now: Instant) -> bool {
        let until = now + self.timing.upgrade();
        match &mut self.stage {
            Stage::Open(Transport::Polling(polling)) if matches!(polling.upgrade, Upgrade::Idle) => {
                polling.upgrade = Upgrade::Opening { until };
                true
            }
            _ => false,
        }
    }

    /// A WebSocket is open that is to take the session over: the client's own, or one that came to the server.
    ///
    /// # Errors
    /// If it is too late or one too many; the driver closes that WebSocket, and the session goes on as before.
    pub fn handle_probe_opened(&mut self, now: Instant) -> Result<Probe, UpgradeError> {
        let is_over = self.stage.close_reason().is_some_and(|reason| !reason.is_graceful());
        let until = now + self.timing.upgrade();
        let role = self.role;
        let Some(polling) = self.stage.polling() else {
            return Err(if self.is_open() { UpgradeError::Taken } else { UpgradeError::SessionClosed });
        };
        if is_over {
            return Err(UpgradeError::SessionClosed);
        }
        polling.upgrade = match (role, &polling.upgrade) {
            (Role::Server, Upgrade::Idle) => Upgrade::Probing { until },
            (Role::Client, Upgrade::Opening { until }) => Upgrade::Probing { until: *until },
            (Role::Client, Upgrade::Idle) => return Err(UpgradeError::TimedOut),
            _ => return Err(UpgradeError::Taken),
        };
        polling.probes += 1;
        let probe = Probe(polling.probes);
        if role == Role::Client {
            self.transmits.add(Transmit::Probe);
        }
        Ok(probe)
    }

    /// The WebSocket of a client could not be opened.
    pub fn handle_probe_refused(&mut self) {
        if let Some(polling) = self.stage.polling()
            && matches!(polling.upgrade, Upgrade::Opening { .. })
        {
            polling.upgrade = Upgrade::Idle;
            self.events.upgrade_failed = Some(UpgradeError::Broken);
        }
    }

    /// A packet has come by the WebSocket that tries to take over.
    pub fn handle_probe_packet(&mut self, probe: Probe, packet: &Packet<'_>, now: Instant) -> ProbeStep {
        let role = self.role;
        let Some(polling) = self.stage.polling().filter(|polling| polling.probes == probe.0) else {
            return ProbeStep::Close;
        };
        match (role, &polling.upgrade, packet) {
            (_, Upgrade::Idle, _) => ProbeStep::Close,
            (Role::Server, Upgrade::Probing { until } | Upgrade::Answered { until, .. }, Packet::Ping("probe")) => {
                polling.upgrade = Upgrade::Answered { until: *until, noop_at: now + NOOP_INTERVAL };
                self.transmits.add(Transmit::ProbeAnswer);
                ProbeStep::Read
            }
            // The reference does not ask whether the probe came first.
            (Role::Server, _, Packet::Upgrade) => {
                self.move_to_websocket(now);
                ProbeStep::Upgraded
            }
            (Role::Client, Upgrade::Probing { until }, Packet::Pong("probe")) => {
                polling.upgrade = Upgrade::Pausing { until: *until };
                self.finish_pause(now);
                ProbeStep::Wait
            }
            _ => {
                self.fail_upgrade(UpgradeError::Unexpected);
                ProbeStep::Close
            }
        }
    }

    /// The WebSocket that tries to take over is gone, for this reason. The session polls on.
    pub fn handle_probe_lost(&mut self, probe: Probe, error: UpgradeError) {
        if self.stage.polling().is_some_and(|polling| polling.probes == probe.0) {
            self.fail_upgrade(error);
        }
    }

    /// Whether this WebSocket may still take over. A driver that learns otherwise closes it.
    pub fn is_probing(&self, probe: Probe) -> bool {
        match &self.stage {
            Stage::Open(Transport::Polling(polling))
            | Stage::Farewell { transport: Transport::Polling(polling), .. } => {
                polling.probes == probe.0 && !matches!(polling.upgrade, Upgrade::Idle)
            }
            _ => false,
        }
    }

    /// Ends an upgrade that is under way, and has its WebSocket closed.
    pub(super) fn fail_upgrade(&mut self, error: UpgradeError) {
        let Some(polling) = self.stage.polling() else { return };
        let upgrade = std::mem::take(&mut polling.upgrade);
        polling.noop_due = false;
        match upgrade {
            Upgrade::Idle => return,
            Upgrade::Opening { .. } | Upgrade::Probing { .. } | Upgrade::Answered { .. } | Upgrade::Pausing { .. } => {
                self.transmits.add(Transmit::DropProbe);
            }
        }
        self.events.upgrade_failed = Some(error);
    }

    /// Moves a client that has paused its polling, once its requests are answered.
    pub(super) fn finish_pause(&mut self, now: Instant) {
        if let Stage::Open(Transport::Polling(polling)) = &self.stage
            && matches!(polling.upgrade, Upgrade::Pausing { .. })
            && !polling.get
            && !polling.post
        {
            self.transmits.add(Transmit::Upgrade);
            self.move_to_websocket(now);
        }
    }

    /// From here on everything that waits travels by the WebSocket, in order.
    fn move_to_websocket(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Open(transport) => *transport = Transport::WebSocket,
            Stage::Farewell { transport, until, .. } => {
                // The client has ended its polls: the last words are said here or nowhere.
                *transport = Transport::WebSocket;
                *until = now + self.timing.close();
                self.transmits.add(Transmit::CloseFrame(None));
            }
            Stage::HangingUp { .. } | Stage::Ended { .. } => return,
        }
        self.events.upgraded = true;
    }

    /// When an upgrade has something to do.
    pub(super) fn upgrade_deadline(&self) -> Option<Instant> {
        let (Stage::Open(Transport::Polling(polling)) | Stage::Farewell { transport: Transport::Polling(polling), .. }) =
            &self.stage
        else {
            return None;
        };
        match polling.upgrade {
            Upgrade::Idle => None,
            Upgrade::Opening { until } | Upgrade::Probing { until } | Upgrade::Pausing { until } => Some(until),
            Upgrade::Answered { until, noop_at } => Some(until.min(noop_at)),
        }
    }

    pub(super) fn handle_upgrade_timeout(&mut self, now: Instant) {
        let Some(polling) = self.stage.polling() else { return };
        match &mut polling.upgrade {
            Upgrade::Idle => {}
            Upgrade::Opening { until } | Upgrade::Probing { until } | Upgrade::Pausing { until } => {
                if now >= *until {
                    self.fail_upgrade(UpgradeError::TimedOut);
                }
            }
            Upgrade::Answered { until, .. } if now >= *until => self.fail_upgrade(UpgradeError::TimedOut),
            Upgrade::Answered { noop_at, .. } => {
                if now >= *noop_at {
                    *noop_at = now + NOOP_INTERVAL;
                    polling.noop_due = polling.get;
                }
            }
        }
    }
}
