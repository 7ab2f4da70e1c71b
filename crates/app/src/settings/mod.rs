//! The settings: each is defined once, below, and from that come its key in the TOML file, its environment variable,
//! its option on the command line, its place in the sample, and its default.
mod load;
mod origin;
mod sample;
mod value;

use std::{net::SocketAddr, time::Duration};

use sockeye::{Config, EngineConfig, OriginPolicy};

pub(crate) use load::SettingsError;
pub(crate) use sample::sample;
pub(crate) use value::{Address, Raw};

use crate::identity::IdentityKind;
use value::Value;

/// What is known of a setting without its value.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The key in the TOML file. The environment has it as `SOCKEYE_NAME`, the command line with dashes.
    pub(crate) name: &'static str,
    /// What it is for, a line each; the first is a whole sentence.
    pub(crate) docs: &'static [&'static str],
    /// What a value looks like.
    pub(crate) form: &'static str,
    /// What its option means without a value, if it may stand so.
    pub(crate) bare: Option<&'static str>,
    /// Writes the default as TOML does.
    pub(crate) default: fn() -> String,
}

macro_rules! settings {
    ($($(#[doc = $docs:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// How the program runs.
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
            /// Sets one setting from what somebody wrote; `None` if there is no setting of this name.
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
    /// The addresses to listen on, each a host and a port. With the default, a machine without IPv6 goes on without it.
    listen: Vec<Address> = vec![Address::new("127.0.0.1", 8000), Address::new("::1", 8000)];
    /// How a token becomes a user. `development` takes the token for the user's name and asks for no proof,
    /// so it is only allowed on addresses of this machine itself (loopback).
    identity: IdentityKind = IdentityKind::Development;
    /// The web origins whose pages may connect besides this server's own, such as `https://example.com`; `*` means all.
    /// Empty, while the server listens on this machine alone, it admits every page served from this machine.
    allowed_origins: Vec<String> = Vec::new();
    /// What is logged: error, warn, info, debug or trace, or a filter such as `info,sockeye_engine=debug`.
    log: String = "info".into();
    /// Whether every event, in and out, is logged: its name and namespace, not what it says.
    log_events: bool = false;
    /// Whether every packet of the connections is logged: its kind and size, not what it says.
    log_packets: bool = false;
    /// How long connections may take to end when the program stops.
    drain_limit: Duration = Duration::from_secs(10);

    /// How long after a client's last answer the next ping is sent.
    ping_interval: Duration = engine().ping_interval;
    /// How long a ping may stay unanswered before the client counts as gone.
    ping_timeout: Duration = engine().ping_timeout;
    /// How long an upgrade from polling to WebSocket may take.
    upgrade_timeout: Duration = engine().upgrade_timeout;
    /// How long a connection may stay without joining a namespace.
    connect_timeout: Duration = Config::default().connect_timeout;

    /// How long the attachments of a packet may take to arrive.
    attachments_timeout: Duration = Config::default().attachments_timeout;
    /// How long a connection may take to send the head of a request.
    head_timeout: Duration = engine().head_timeout;
    /// The most bytes of a request's head.
    max_head_bytes: usize = engine().max_head_bytes;
    /// Whether clients of Socket.IO 2 (Engine.IO 3) are served too.
    allow_eio3: bool = false;

    /// The most connections at a time.
    max_sessions: usize = engine().max_sessions;
    /// The most connections at a time from one address.
    max_sessions_per_address: usize = engine().max_sessions_per_address;
    /// Whether a client's address is taken from `X-Forwarded-For`; only for a server that is reached through a proxy alone.
    trust_forwarded: bool = engine().trust_forwarded;
    /// The most namespaces one connection may join.
    max_namespaces: usize = Config::default().max_namespaces;
    /// The most acknowledgements that may be waited for from one client.
    max_pending_acks: usize = Config::default().max_pending_acks;
    /// The most events a second one client may send for long; beyond it, the client is read more slowly.
    max_event_rate: usize = Config::default().max_event_rate as usize;
    /// The largest message a client may send, in bytes.
    max_payload: usize = engine().max_payload;
    /// The most bytes that may wait for one client; beyond it, a client that reads too slowly is disconnected.
    outbox_bytes: usize = engine().outbox_bytes;
    /// The most bytes that may wait for the handlers of one client; beyond it, nothing more is read from the client meanwhile.
    backlog_bytes: usize = Config::default().backlog_bytes;
    /// The most fragments one WebSocket message may be cut into.
    max_fragments: usize = engine().max_fragments;
    /// The most binary attachments one packet may have.
    max_attachments: usize = Config::default().max_attachments;
    /// The most bytes the attachments of one packet may have together.
    max_attachment_bytes: usize = Config::default().max_attachment_bytes;
    /// How deep the arrays and objects of a packet may nest.
    max_depth: usize = Config::default().max_depth;

    /// The largest chat message, in bytes.
    max_message_bytes: usize = 64 * 1024;
    /// The most rooms one connection may be in.
    max_rooms: usize = 100;
    /// The longest name of a room, in characters.
    max_room_name: usize = 64;
    /// The most names a list of who is online holds.
    max_online_names: usize = 1000;
    /// The most plain WebSocket connections at a time.
    max_plain_connections: usize = 10_000;

    /// How often the monitor samples, while somebody watches.
    monitor_interval: Duration = Duration::from_secs(5);
}

impl Settings {
    /// The settings of the Socket.IO server that listens on these addresses.
    pub(crate) fn server(&self, addresses: &[SocketAddr]) -> Config {
        Config {
            engine: EngineConfig {
                ping_interval: self.ping_interval,
                ping_timeout: self.ping_timeout,
                upgrade_timeout: self.upgrade_timeout,
                max_payload: self.max_payload,
                outbox_bytes: self.outbox_bytes,
                max_fragments: self.max_fragments,
                origins: self.origins(addresses),
                allow_eio3: self.allow_eio3,
                head_timeout: self.head_timeout,
                max_head_bytes: self.max_head_bytes,
                max_sessions: self.max_sessions,
                max_sessions_per_address: self.max_sessions_per_address,
                trust_forwarded: self.trust_forwarded,
                log_packets: self.log_packets,
                ..engine()
            },
            connect_timeout: self.connect_timeout,
            backlog_bytes: self.backlog_bytes,
            max_attachments: self.max_attachments,
            max_attachment_bytes: self.max_attachment_bytes,
            max_depth: self.max_depth,
            attachments_timeout: self.attachments_timeout,
            max_namespaces: self.max_namespaces,
            max_pending_acks: self.max_pending_acks,
            max_event_rate: self.max_event_rate.try_into().unwrap_or(u32::MAX),
            log_events: self.log_events,
            ..Config::default()
        }
    }

    /// Which web origins may connect. On loopback addresses the default names them all instead of comparing with the
    /// `Host` header: that admits a page under development, which has a port of its own, and it refuses a foreign page
    /// whose host name was made to resolve to this machine (DNS rebinding).
    fn origins(&self, addresses: &[SocketAddr]) -> OriginPolicy {
        if self.allowed_origins.iter().any(|origin| origin == "*") {
            OriginPolicy::Any
        } else if !self.allowed_origins.is_empty() {
            OriginPolicy::List(self.allowed_origins.clone())
        } else if addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
            OriginPolicy::Check(std::sync::Arc::new(origin::is_loopback))
        } else {
            OriginPolicy::SameOrigin
        }
    }

    /// Checks what concerns more than the form of one value.
    fn check(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err("`listen` is empty, so nobody could connect; name at least one address".into());
        }
        let intervals = [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("monitor_interval", self.monitor_interval),
        ];
        match intervals.iter().find(|(_, interval)| interval.is_zero()) {
            Some((name, _)) => Err(format!("`{name}` is 0, which would mean without pause; give it a time")),
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
        let OriginPolicy::Check(admits) = policy(&["127.0.0.1:8000", "[::1]:8000"], &settings) else {
            panic!("loopback addresses admit pages by their host");
        };
        assert!(admits("http://localhost:5173"));
        assert!(!admits("http://evil.example:8000"));
        assert!(matches!(policy(&["127.0.0.1:8000", "192.0.2.1:8000"], &settings), OriginPolicy::SameOrigin));
        settings.allowed_origins = vec!["https://example.com".into()];
        assert!(matches!(policy(&["127.0.0.1:8000"], &settings), OriginPolicy::List(_)));
        settings.allowed_origins.push("*".into());
        assert!(matches!(policy(&["127.0.0.1:8000"], &settings), OriginPolicy::Any));
    }
}
