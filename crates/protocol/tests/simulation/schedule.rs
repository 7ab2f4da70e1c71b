use sockeye_protocol::engineio::{
    Revision,
    session::{CloseReason, Role, TransportKind},
};

use super::random::Random;

/// What a seed decides before the run: who speaks what, and which misfortunes may happen. What happens when is decided
/// on the way, by the same seed.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) revision: Revision,
    pub(crate) transport: TransportKind,
    /// Whether the client tries to upgrade, and when in milliseconds.
    pub(crate) upgrade_at: Option<u64>,
    /// How many of a hundred probing WebSockets are abandoned, by a cut or in silence.
    pub(crate) abandoned_upgrades: u64,
    /// How many of a thousand requests are cut.
    pub(crate) cut_requests: u64,
    /// When the WebSocket in use is cut; the end that does not learn of it, if one does not.
    pub(crate) cut_websocket_at: Option<(u64, Option<Role>)>,
    /// When a second GET comes to the server beside the one that waits.
    pub(crate) second_get_at: Option<u64>,
    /// How many of a hundred deliveries take up to `late` instead of up to `quick` milliseconds.
    pub(crate) late_deliveries: u64,
    /// When an end stands still, and for how long.
    pub(crate) freeze: Option<(Role, u64, u64)>,
    /// When an end stops reading because it is behind, and for how long.
    pub(crate) hold: Option<(Role, u64, u64)>,
    /// When an end closes the session.
    pub(crate) close: Option<(Role, u64, CloseReason)>,
    /// How many messages each end sends.
    pub(crate) messages: [u64; 2],
}

/// How long the messages and the misfortunes go on, in milliseconds.
pub(crate) const ACTIVE: u64 = 1_200;

impl Schedule {
    pub(crate) fn new(random: &mut Random) -> Self {
        let transport = if random.percent(75) { TransportKind::Polling } else { TransportKind::WebSocket };
        let polls = transport == TransportKind::Polling;
        Self {
            revision: if random.percent(60) { Revision::V4 } else { Revision::V3 },
            transport,
            upgrade_at: (polls && random.percent(80)).then(|| random.between(0, 600)),
            abandoned_upgrades: if random.percent(30) { 50 } else { 0 },
            cut_requests: if random.percent(10) { 40 } else { 0 },
            cut_websocket_at: random
                .percent(15)
                .then(|| (random.between(0, ACTIVE), random.percent(40).then(|| role(random)))),
            second_get_at: (polls && random.percent(5)).then(|| random.between(0, ACTIVE)),
            late_deliveries: if random.percent(30) { 15 } else { 0 },
            freeze: random.percent(15).then(|| (role(random), random.between(0, ACTIVE), random.between(20, 2_000))),
            hold: random.percent(15).then(|| (role(random), random.between(0, ACTIVE), random.between(20, 1_000))),
            close: random.percent(40).then(|| close(random)),
            messages: [random.between(0, 25), random.between(0, 25)],
        }
    }

    /// When the last misfortune is over, in milliseconds.
    pub(crate) fn last_misfortune(&self) -> u64 {
        let pauses = [self.freeze, self.hold].into_iter().flatten();
        pauses.map(|(_, at, length)| at + length).fold(ACTIVE, u64::max)
    }

    /// Whether the connection always works: then nothing may be lost, and nobody may be taken for dead.
    pub(crate) fn is_lossless(&self) -> bool {
        self.cut_requests == 0 && self.cut_websocket_at.is_none() && self.second_get_at.is_none()
    }
}

fn close(random: &mut Random) -> (Role, u64, CloseReason) {
    let role = role(random);
    let shuts_down = role == Role::Server && random.percent(50);
    let reason = if shuts_down { CloseReason::ServerShuttingDown } else { CloseReason::ForcedClose };
    (role, random.between(0, ACTIVE), reason)
}

fn role(random: &mut Random) -> Role {
    if random.percent(50) { Role::Server } else { Role::Client }
}
