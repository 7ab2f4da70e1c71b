//! Where Redis is: `redis://`, `rediss://`, and the forms for Sentinel and Cluster.
use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use url::Url;

use crate::transport::TransportError;

/// Where Redis is, and how to log in. Its text has no credentials.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) kind: Kind,
    /// The servers, of which one is enough.
    pub(super) servers: Vec<ConnectionInfo>,
    shown: String,
}

/// What kind of Redis it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One server, or several of which the first that answers is taken.
    Single,
    /// Sentinels, which tell the master of this name.
    Sentinel { master: String },
    /// The nodes of a Redis Cluster.
    Cluster,
}

/// How it is used.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Whether the channels are those of sharded publish and subscribe.
    pub(super) sharded: bool,
    /// About how many entries a stream keeps.
    pub(super) stream_length: usize,
}

const FORMS: &str = "redis://[user:password@]host[:port][,host[:port]]…[/db], rediss:// for TLS, redis+sentinel://host,…/master, \
                     redis+cluster://host,…";

impl Address {
    /// Reads an address. Without a host, it is 127.0.0.1; without a port, 6379, or 26379 for Sentinel.
    pub(super) fn parse(text: &str) -> Result<Self, TransportError> {
        let refuse = |why: &str| TransportError::Address(format!("{why}; the form is {FORMS}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let (kind, tls) = match scheme {
            "redis" | "valkey" => (Kind::Single, false),
            "rediss" | "valkeys" => (Kind::Single, true),
            "redis+sentinel" => (Kind::Sentinel { master: String::new() }, false),
            "rediss+sentinel" => (Kind::Sentinel { master: String::new() }, true),
            "redis+cluster" => (Kind::Cluster, false),
            "rediss+cluster" => (Kind::Cluster, true),
            _ => return Err(refuse("the scheme is unknown")),
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(position) => rest.split_at(position),
            None => (rest, ""),
        };
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let port = if matches!(kind, Kind::Sentinel { .. }) { 26_379 } else { 6_379 };
        let path = path.trim_start_matches('/').split(['?', '#']).next().unwrap_or_default();
        let (kind, db) = match kind {
            Kind::Sentinel { .. } if path.is_empty() => return Err(refuse("the name of the master is missing")),
            Kind::Sentinel { .. } => (Kind::Sentinel { master: path.to_owned() }, 0),
            kind if path.is_empty() => (kind, 0),
            kind => (kind, path.parse().map_err(|_| refuse("the database is not a number"))?),
        };
        let mut servers = Vec::new();
        let mut shown = Vec::new();
        for host in hosts.split(',') {
            // A parser of URLs knows the forms of hosts and decodes the credentials.
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            let credentials = credentials.map(|credentials| format!("{credentials}@")).unwrap_or_default();
            let url = Url::parse(&format!("redis://{credentials}{host}")).map_err(|_| refuse("a host is not valid"))?;
            let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = url.port().unwrap_or(port);
            shown.push(format!("{host}:{port}"));
            let address = match tls {
                true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
                false => ConnectionAddr::Tcp(host, port),
            };
            let settings = login(&url).map_err(|()| refuse("the credentials are not valid"))?.set_db(db);
            let info = address.into_connection_info().map_err(|_| refuse("a host is not valid"))?;
            servers.push(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3)));
        }
        Ok(Self { kind, servers, shown: format!("{scheme}://{}", shown.join(",")) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The user and the password of a URL.
fn login(url: &Url) -> Result<RedisConnectionInfo, ()> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(String::from).map_err(drop);
    let mut settings = RedisConnectionInfo::default();
    if !url.username().is_empty() {
        settings = settings.set_username(decoded(url.username())?);
    }
    if let Some(password) = url.password() {
        settings = settings.set_password(decoded(password)?);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_defaults_and_are_shown_without_credentials() {
        for (text, kind, shown) in [
            ("redis://", Kind::Single, "redis://127.0.0.1:6379"),
            ("redis://:secret@h:1/3", Kind::Single, "redis://h:1"),
            ("rediss://u:secret@h", Kind::Single, "rediss://h:6379"),
            ("redis://[::1]:7,b", Kind::Single, "redis://::1:7,b:6379"),
            ("redis+sentinel://u:p%40@a,b:5/m", Kind::Sentinel { master: "m".into() }, "redis+sentinel://a:26379,b:5"),
            ("redis+cluster://a:1,b:2", Kind::Cluster, "redis+cluster://a:1,b:2"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.kind.clone(), address.to_string().as_str()), (kind, shown), "{text}");
        }
        let address = Address::parse("redis://us%2Fer:pass%40word@h/3").unwrap();
        let settings = address.servers[0].redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("us/er"), Some("pass@word"), 3));
    }

    #[test]
    fn other_addresses_are_refused_without_their_credentials() {
        for text in [
            "",
            "h:1",
            "http://u:secret@h",
            "redis://u:secret@h/db",
            "redis+sentinel://u:secret@h",
            "redis://u:secret@h:x",
        ] {
            let Err(error) = Address::parse(text) else { panic!("{text} was accepted") };
            let error = error.to_string();
            assert!(error.contains("redis://[user:password@]host") && !error.contains("secret"), "{error}");
        }
    }
}
