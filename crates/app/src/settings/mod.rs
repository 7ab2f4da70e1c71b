//! The settings. Each is defined once, below; its key in the TOML file, its environment variable, its option on the
//! command line, its entry in the sample and its default follow from the definition.
mod bus;
#[cfg(test)]
mod limits;
mod load;
mod memory_limit;
mod sample;
mod value;

use std::{net::SocketAddr, time::Duration};

use sockeye::{Config, EngineConfig, Hosts, OriginPolicy};
use sockeye_cluster::Bus;

use bus::{BusAddress, OptionalChannel, OptionalFormat};
pub(crate) use load::SettingsError;
use memory_limit::MemoryLimit;
pub(crate) use sample::sample;
pub(crate) use value::{Address, Raw};

use crate::{identity::IdentityKind, log::LogFilter};
use value::{AllowedHosts, AllowedOrigins, Value};

/// The definition of a setting.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The key in the TOML file. The environment variable is `SOCKEYE_` and the name in capitals, the option has dashes.
    pub(crate) name: &'static str,
    /// The description, line by line.
    pub(crate) docs: &'static [&'static str],
    /// The form of a value, as `--help` shows it.
    pub(crate) form: &'static str,
    /// The value that the option has if none is written, for options that allow that.
    pub(crate) bare: Option<&'static str>,
    /// The default, as TOML.
    pub(crate) default: fn() -> String,
}

macro_rules! settings {
    ($($(#[doc = $docs:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// The value of every setting.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Settings {
            $($(#[doc = $docs])+ pub(crate) $name: $type,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// Every setting, in the order of the sample.
        pub(crate) const DEFINITIONS: &[Definition] = &[
            $(Definition {
                name: stringify!($name),
                docs: &[$($docs),+],
                form: <$type as Value>::FORM,
                bare: <$type as Value>::BARE,
                default: || <$type as Value>::to_toml(&$default),
            },)+
        ];

        impl Settings {
            /// Sets one setting from what was written for it; `None` if there is no setting of this name.
            fn set(&mut self, name: &str, raw: &Raw) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($name) => Some(Value::parse(raw).map(|value| self.$name = value)),)+
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// The addresses to listen on, each a host and a port. The default needs no IPv6: without it, the server listens on
    /// the IPv4 address alone.
    listen: Vec<Address> = vec![Address::new("127.0.0.1", 8000), Address::new("::1", 8000)];
    /// How the server finds out who a client is. `development` takes the client's token as the user's name, without
    /// proof, so it works only on loopback addresses, which other machines cannot reach.
    identity: IdentityKind = IdentityKind::Development;
    /// The origins of web pages that may connect in addition to this server's own pages, such as `https://example.com`;
    /// `*.example.com` means all subdomains, `*` all origins. If empty, a server that listens on loopback addresses only
    /// admits every page of this machine.
    allowed_origins: AllowedOrigins = AllowedOrigins::Default;
    /// The host names and addresses, without ports, under which this server may be asked, such as `chat.test`, besides
    /// `localhost`, the names below it and loopback addresses. `*` means every host, which is safe only if the identity
    /// kind has a proof. If empty, an identity kind without proof admits no other host, one with proof every host. Without
    /// this check, a page of another site whose name is made to resolve to this machine could pass for a local one.
    allowed_hosts: AllowedHosts = AllowedHosts::Default;
    /// The level of the log: off, error, warn, info, debug or trace, or a filter such as `info,sockeye_engine=debug`. The
    /// log leaves out most of the messages that clients repeat, and says how many; the level debug shows them.
    log: LogFilter = LogFilter::default();
    /// Whether to log every event that is received or sent: its name and namespace, but not its data.
    log_events: bool = false;
    /// Whether to log every Engine.IO packet: its kind and size, but not its data.
    log_packets: bool = false;
    /// How long the program waits for connections to close when it stops.
    drain_limit: Duration = Duration::from_secs(10);

    /// The brokers over which this server works together with others, Sockeye, Node.js or Python, such as
    /// `redis://user:password@host`. In the file, tables `[[bus]]` with `url`, `format` and `channel` say the same as the
    /// three lists.
    bus: Vec<BusAddress> = Vec::new();
    /// For each bus, the format in which its servers write: `node`, `node-sharded`, `node-streams`, `python` or `sockeye`;
    /// `-` is the usual one of the kind of broker.
    bus_format: Vec<OptionalFormat> = Vec::new();
    /// For each bus, the channel, exchange, stream or prefix that its servers use; `-` is the default of the format.
    bus_channel: Vec<OptionalChannel> = Vec::new();
    /// Whether this server passes on from each bus to the others what comes by it, so that clients of different kinds of
    /// servers reach each other. Exactly one server that is on the same buses may do so.
    bus_bridge: bool = false;

    /// How long after a client's last answer the server sends the next ping.
    ping_interval: Duration = engine().ping_interval;
    /// How long a client may take to answer a ping before its connection is closed.
    ping_timeout: Duration = engine().ping_timeout;
    /// How long an upgrade from polling to WebSocket may take.
    upgrade_timeout: Duration = engine().upgrade_timeout;
    /// How long a connection may stay open without joining a namespace.
    connect_timeout: Duration = Config::default().connect_timeout;

    /// How long the binary attachments of a packet may take to arrive.
    attachments_timeout: Duration = Config::default().attachments_timeout;
    /// How long a connection may take to send the head of a request.
    head_timeout: Duration = engine().head_timeout;
    /// The most bytes of a request's head.
    max_head_bytes: usize = engine().max_head_bytes;
    /// The most bytes that a session keeps of the request that opened it: of its path, query and headers.
    handshake_bytes: usize = engine().handshake_bytes;
    /// The most bytes of a client's `auth`.
    max_auth: usize = Config::default().max_auth;
    /// How long a client may take no byte of an answer that waits for it before its connection is dropped.
    write_timeout: Duration = engine().write_timeout;
    /// Whether to accept clients of Socket.IO 2 (Engine.IO 3) as well.
    allow_eio3: bool = false;

    /// The most connections that may be open at a time.
    max_sessions: usize = engine().max_sessions;
    /// The most connections that one client address may have open at a time.
    max_sessions_per_address: usize = engine().max_sessions_per_address;
    /// The most connections, Socket.IO and plain WebSocket each, that open per second over a longer time; as many as in
    /// ten seconds may open at once.
    max_session_rate: u32 = engine().max_session_rate;
    /// The same for one client address. Connections from this machine are exempt.
    max_session_rate_per_address: u32 = engine().max_session_rate_per_address;
    /// The most connections that serve HTTP at a time. One that has become a WebSocket counts no longer.
    max_connections: usize = engine().max_connections;
    /// The most connections that serve HTTP for one client address at a time, unless `trust_forwarded` is set.
    max_connections_per_address: usize = engine().max_connections_per_address;
    /// About how many bytes clients may make the server hold in all; `auto` is a quarter of the memory of the machine or of
    /// this program's control group. From 80 % on, clients are not read for which much is held; from 90 % on, new
    /// connections are refused; beyond it, the connections are closed for which most is held.
    max_memory: MemoryLimit = MemoryLimit::Auto;
    /// Whether to take a client's address from the header `X-Forwarded-For`. Only for a server behind a proxy: otherwise
    /// any client could claim any address.
    trust_forwarded: bool = engine().trust_forwarded;
    /// The most namespaces one connection may join.
    max_namespaces: usize = Config::default().max_namespaces;
    /// The most unanswered acknowledgements of one client. At this limit, asking it for another one fails.
    max_pending_acks: usize = Config::default().max_pending_acks;
    /// The most events a second that one client may send over a longer time. A faster client is slowed down.
    max_event_rate: u32 = Config::default().max_event_rate;
    /// The most bytes of one message from a client.
    max_payload: usize = engine().max_payload;
    /// The most memory that packets may take which wait to be sent to one client. A client that reads nothing and exceeds
    /// this is disconnected.
    outbox_bytes: usize = engine().outbox_bytes;
    /// How long a client may read nothing of what waits for it before it is disconnected.
    slow_consumer_timeout: Duration = engine().slow_consumer_timeout;
    /// The most bytes of received events that may wait for the handlers of one client. At this limit the server stops
    /// reading from the client until the handlers catch up.
    backlog_bytes: usize = Config::default().backlog_bytes;
    /// The most fragments of one Socket.IO message over WebSocket.
    max_fragments: usize = engine().max_fragments;
    /// The most binary attachments of one packet.
    max_attachments: usize = Config::default().max_attachments;
    /// The most bytes of all attachments of one packet together.
    max_attachment_bytes: usize = Config::default().max_attachment_bytes;
    /// How deeply the arrays and objects of a packet may nest.
    max_depth: usize = Config::default().max_depth;

    /// The most bytes of one chat message.
    max_message_bytes: usize = 64 * 1024;
    /// The most rooms that one connection may be in.
    max_rooms: usize = 100;
    /// The most characters of a room's name.
    max_room_name: usize = 64;
    /// The most names in a list of the users who are online.
    max_online_names: usize = 1000;
    /// The most plain WebSocket connections that may be open at a time.
    max_plain_connections: usize = 10_000;
    /// The most plain WebSocket connections that one client address may have open at a time.
    max_plain_connections_per_address: usize = 2_000;

    /// How often the monitor measures the machine while its page is open somewhere.
    monitor_interval: Duration = Duration::from_secs(5);
}

impl Settings {
    /// The configuration of the Socket.IO server that listens on these addresses.
    pub(crate) fn server(&self, addresses: &[SocketAddr]) -> Config {
        Config {
            engine: EngineConfig {
                ping_interval: self.ping_interval,
                ping_timeout: self.ping_timeout,
                upgrade_timeout: self.upgrade_timeout,
                max_payload: self.max_payload,
                outbox_bytes: self.outbox_bytes,
                slow_consumer_timeout: self.slow_consumer_timeout,
                max_fragments: self.max_fragments,
                origins: self.origins(addresses),
                allowed_hosts: self.hosts(),
                allow_eio3: self.allow_eio3,
                head_timeout: self.head_timeout,
                max_head_bytes: self.max_head_bytes,
                handshake_bytes: self.handshake_bytes,
                write_timeout: self.write_timeout,
                max_sessions: self.max_sessions,
                max_sessions_per_address: self.max_sessions_per_address,
                max_memory: self.max_memory.bytes(),
                max_session_rate: self.max_session_rate,
                max_session_rate_per_address: self.max_session_rate_per_address,
                max_connections: self.max_connections,
                max_connections_per_address: self.max_connections_per_address,
                trust_forwarded: self.trust_forwarded,
                log_packets: self.log_packets,
                ..engine()
            },
            connect_timeout: self.connect_timeout,
            max_auth: self.max_auth,
            backlog_bytes: self.backlog_bytes,
            max_attachments: self.max_attachments,
            max_attachment_bytes: self.max_attachment_bytes,
            max_depth: self.max_depth,
            attachments_timeout: self.attachments_timeout,
            max_namespaces: self.max_namespaces,
            max_pending_acks: self.max_pending_acks,
            max_event_rate: self.max_event_rate,
            log_events: self.log_events,
            ..Config::default()
        }
    }

    /// The origins of web pages that may connect. On loopback addresses the default checks that the origin is a loopback
    /// one, and not that it equals the `Host` header. That admits a page under development, which has another port, and
    /// refuses a foreign page whose host name resolves to this machine (DNS rebinding).
    fn origins(&self, addresses: &[SocketAddr]) -> OriginPolicy {
        match &self.allowed_origins {
            AllowedOrigins::Every => OriginPolicy::Any,
            AllowedOrigins::These(patterns) => OriginPolicy::List(patterns.clone()),
            AllowedOrigins::Default if addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) => {
                OriginPolicy::Loopback
            }
            AllowedOrigins::Default => OriginPolicy::SameOrigin,
        }
    }

    /// The hosts under which clients may ask this server.
    fn hosts(&self) -> Hosts {
        match &self.allowed_hosts {
            AllowedHosts::Every => Hosts::Any,
            AllowedHosts::These(names) => Hosts::list(names),
            AllowedHosts::Default if self.identity.has_proof() => Hosts::Any,
            AllowedHosts::Default => Hosts::LOOPBACK,
        }
    }

    /// The buses to join.
    ///
    /// # Errors
    /// If an address is not valid, or does not go with its format.
    pub(crate) fn buses(&self) -> Result<Vec<Bus>, String> {
        bus::buses(&self.bus, &self.bus_format, &self.bus_channel)
    }

    /// Checks what the form of a single value does not tell.
    fn check(&self) -> Result<(), String> {
        self.buses()?;
        if self.listen.is_empty() {
            return Err("`listen` is empty, so no client could connect; give at least one address".into());
        }
        let intervals = [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("monitor_interval", self.monitor_interval),
        ];
        match intervals.iter().find(|(_, interval)| interval.is_zero()) {
            Some((name, _)) => Err(format!("`{name}` must be longer than 0, such as `5s`")),
            None => Ok(()),
        }
    }
}

fn engine() -> EngineConfig {
    Config::default().engine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_alone_pages_of_this_machine_are_admitted() {
        let policy = |addresses: &[&str], settings: &Settings| {
            let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            settings.origins(&addresses)
        };
        let mut settings = Settings::default();
        assert!(matches!(policy(&["127.0.0.1:8000", "[::1]:8000"], &settings), OriginPolicy::Loopback));
        assert!(matches!(policy(&["127.0.0.1:8000", "192.0.2.1:8000"], &settings), OriginPolicy::SameOrigin));
        settings.set("allowed_origins", &Raw::One("https://example.com".into())).unwrap().unwrap();
        assert!(matches!(policy(&["127.0.0.1:8000"], &settings), OriginPolicy::List(_)));
        settings.set("allowed_origins", &Raw::Many(vec!["https://example.com".into(), "*".into()])).unwrap().unwrap();
        assert!(matches!(policy(&["127.0.0.1:8000"], &settings), OriginPolicy::Any));
        let unmatchable = settings.set("allowed_origins", &Raw::One("example.com".into())).unwrap();
        assert!(unmatchable.unwrap_err().contains("`https://example.com`"), "the right form is named");
    }
}
