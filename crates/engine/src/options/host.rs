use std::net::IpAddr;

use http::{header::HOST, request::Parts, uri::Authority};

use crate::{Refusal, log_throttle::excerpt, log_throttled};

/// Which hosts a request may name in its `Host` header. The name is compared without its port, and letters in upper and
/// lower case are equal.
///
/// A list stops DNS rebinding: a page of `evil.example` whose name is made to resolve to this server's address counts as
/// this server's own page, but its requests name `evil.example`.
///
/// ```
/// use sockeye_engine::{Config, Hosts};
///
/// let config = Config { allowed_hosts: Hosts::list(["chat.example.com", "192.0.2.1"]), ..Config::default() };
/// let for_this_machine_only = Config { allowed_hosts: Hosts::LOOPBACK, ..Config::default() };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hosts {
    /// Every host.
    #[default]
    Any,
    /// These names, and those of the client's own machine: `localhost`, the names below it, and loopback addresses.
    List(Vec<String>),
}

impl Hosts {
    /// `localhost`, the names below it, and loopback addresses.
    pub const LOOPBACK: Self = Self::List(Vec::new());

    /// These names and addresses, without ports, and [`LOOPBACK`](Self::LOOPBACK).
    pub fn list<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::List(names.into_iter().map(Into::into).collect())
    }

    /// Checks the host of a request, as the engine does itself; for other services of the same server. A request that
    /// names no host does not come from a browser and is admitted.
    ///
    /// # Errors
    /// If the request has several `Host` headers, which HTTP forbids (RFC 9112 section 3.2), or if the host is not
    /// allowed. The latter is logged as a warning once an hour for each host.
    pub fn check(&self, request: &Parts) -> Result<(), Refusal> {
        let Some(authority) = authority(request)? else { return Ok(()) };
        let Self::List(names) = self else { return Ok(()) };
        let host = split_port(authority).map_or(authority, |(host, _)| host);
        if is_loopback(host)
            || names.iter().any(|name| without_brackets(name).eq_ignore_ascii_case(without_brackets(host)))
        {
            return Ok(());
        }
        let host = excerpt(host);
        log_throttled!(
            warn,
            host,
            host,
            "refused a request for a host that is not allowed; to admit it, add it to `allowed_hosts`"
        );
        Err(Refusal::Forbidden("the setting `allowed_hosts` does not list the host of this request".to_owned()))
    }
}

/// The host and port that a request names: in its target if it is in the absolute form or of HTTP/2, else in `Host`.
fn authority(request: &Parts) -> Result<Option<&str>, Refusal> {
    let mut lines = request.headers.get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Refusal::BadRequest("the request has several Host headers"));
    }
    let line = line.map(|line| line.to_str()).transpose();
    let line = line.map_err(|_| Refusal::BadRequest("the Host header is not text"))?;
    Ok(request.uri.authority().map(Authority::as_str).or(line.map(str::trim)))
}

/// The host of an authority, in brackets if it is an IPv6 address, and its port; `None` if the port is no number.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host, Some(port.parse().ok()?))),
        _ => Some((authority, None)),
    }
}

/// Whether a host is the client's own machine: `localhost`, a name below it, or a loopback address.
pub(super) fn is_loopback(host: &str) -> bool {
    let is_localhost = host.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case("localhost"));
    is_localhost || without_brackets(host).parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, uri: &str, lines: &[&str]) -> Result<(), Refusal> {
        let mut request = http::Request::builder().uri(uri);
        for line in lines {
            request = request.header(HOST, *line);
        }
        hosts.check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_names_at_most_one_host() {
        for hosts in [Hosts::Any, Hosts::LOOPBACK] {
            assert_eq!(check(&hosts, "/", &[]), Ok(()));
            assert_eq!(check(&hosts, "/", &["localhost"]), Ok(()));
            assert!(matches!(check(&hosts, "/", &["localhost", "localhost"]), Err(Refusal::BadRequest(_))));
        }
    }

    #[test]
    fn a_list_admits_its_names_and_loopback_with_any_port_and_in_any_case() {
        let hosts = Hosts::list(["Chat.example", "192.0.2.1", "2001:db8::1"]);
        for host in [
            "chat.EXAMPLE",
            "chat.example:8443",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "localhost",
            "LocalHost:3000",
            "app.localhost:3000",
            "127.0.0.1:3000",
            "127.1.2.3",
            "[::1]:3000",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(check(&hosts, "/", &[host]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "x.chat.example",
            "chat.example.evil",
            "chat.example:80:evil",
            "evil.example:localhost",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "user@localhost:80@evil.example",
            "",
        ] {
            let Err(Refusal::Forbidden(text)) = check(&hosts, "/", &[host]) else { panic!("{host}") };
            assert!(text.contains("`allowed_hosts`"), "{text}");
            assert_eq!(check(&Hosts::Any, "/", &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn the_host_in_the_target_counts_before_the_header() {
        for (uri, line, is_admitted) in
            [("http://evil.example/", "localhost", false), ("http://localhost:3000/", "evil.example", true)]
        {
            assert_eq!(check(&Hosts::LOOPBACK, uri, &[line]).is_ok(), is_admitted, "{uri} {line}");
        }
    }
}
