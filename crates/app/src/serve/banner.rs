//! The lines that the program prints when it is ready.
use std::{fmt, net::SocketAddr};

use sockeye_cluster::Cluster;

use crate::settings::Settings;

/// The addresses of everything that is served, and what the server runs on.
pub(crate) struct Banner<'a> {
    pub(crate) addresses: &'a [SocketAddr],
    pub(crate) settings: &'a Settings,
    pub(crate) cluster: Option<&'a Cluster>,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transports = sockeye::Config::default().engine.transports;
        let transports = match (transports.polling, transports.websocket) {
            (true, true) => "polling, WebSocket",
            (true, false) => "polling",
            (false, _) => "WebSocket",
        };
        writeln!(f, "Sockeye {}", env!("CARGO_PKG_VERSION"))?;
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "  {name:<17}{value}");
        if let Some((first, others)) = self.addresses.split_first() {
            line("chat", &format_args!("http://{first}/"))?;
            line("monitor", &format_args!("http://{first}/monitor"))?;
            line("plain WebSocket", &format_args!("ws://{first}/ws/ and ws://{first}/ws/<user>/"))?;
            for other in others {
                line("also listening", &format_args!("http://{other}/"))?;
            }
        }
        line("transports", &transports)?;
        match self.cluster.map(Cluster::status) {
            None => line("bus", &"none (one process)")?,
            Some(buses) => buses.iter().try_for_each(|bus| line("bus", &bus.name))?,
        }
        line("store", &"none (messages reach only users who are online)")?;
        match self.settings.identity {
            crate::identity::IdentityKind::Development => {
                line("identity", &"development (a client's token is its user name, without proof)")?;
            }
        }
        f.write_str("Press Ctrl-C to stop.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_page_and_what_it_runs_on() {
        let addresses = ["127.0.0.1:8000".parse().unwrap(), "[::1]:8000".parse().unwrap()];
        let banner = Banner { addresses: &addresses, settings: &Settings::default(), cluster: None }.to_string();
        let expected = [
            env!("CARGO_PKG_VERSION"),
            "http://127.0.0.1:8000/\n",
            "http://127.0.0.1:8000/monitor\n",
            "ws://127.0.0.1:8000/ws/",
            "http://[::1]:8000/\n",
            "polling, WebSocket",
            "bus ",
            "store ",
            "development",
        ];
        for part in expected {
            assert!(banner.contains(part), "{part:?} in {banner}");
        }
    }
}
