//! Which other servers live, for formats whose servers send heartbeats.
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::message::Heartbeat;

/// How often a server says that it lives, and how long others believe it: Node's adapters have the same values.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most servers that are remembered in one namespace of a bus.
const MAX_SERVERS: usize = 10_000;

/// The servers that have been heard lately in one namespace of a bus.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    heard: Mutex<HashMap<Box<str>, Instant>>,
}

impl Servers {
    /// Notes that a server has sent something. Only a heartbeat makes a server known, because there may be others on the bus
    /// that send none and do not answer.
    pub(crate) fn heard(&self, name: &str, heartbeat: Option<Heartbeat>, now: Instant) {
        let mut heard = self.heard.lock();
        if heartbeat == Some(Heartbeat::Stopping) {
            heard.remove(name);
            return;
        }
        if heard.len() >= MAX_SERVERS {
            heard.retain(|_, at| is_alive(*at, now));
        }
        if let Some(at) = heard.get_mut(name) {
            *at = now;
        } else if heartbeat.is_some() && heard.len() < MAX_SERVERS {
            heard.insert(name.into(), now);
        }
    }

    /// How many other servers live.
    pub(crate) fn count(&self, now: Instant) -> usize {
        let mut heard = self.heard.lock();
        heard.retain(|_, at| is_alive(*at, now));
        heard.len()
    }
}

fn is_alive(heard_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(heard_at) < TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_lives_until_it_stops_or_is_silent() {
        let servers = Servers::default();
        let start = Instant::now();
        servers.heard("a", Some(Heartbeat::Started), start);
        servers.heard("b", Some(Heartbeat::Alive), start);
        servers.heard("b", None, start + TIMEOUT / 2);
        servers.heard("c", None, start + TIMEOUT / 2);
        assert_eq!(servers.count(start + TIMEOUT / 2), 2);
        assert_eq!(servers.count(start + TIMEOUT), 1, "a is silent");
        servers.heard("b", Some(Heartbeat::Stopping), start + TIMEOUT);
        assert_eq!(servers.count(start + TIMEOUT), 0);
    }
}
