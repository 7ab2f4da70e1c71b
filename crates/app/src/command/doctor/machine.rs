//! What this machine allows: open files, ports to listen on, ports to connect from.
use std::{fs, io, net::SocketAddr, ops::RangeInclusive};

use tokio::net::{TcpListener, lookup_host};

use super::report::Finding;
use crate::settings::{Address, Settings};

/// How many open files a process needs besides its connections.
const OWN_FILES: u64 = 64;

/// Judges how many files may be open, where `wanted` is how many connections there may be.
pub(super) fn open_files(wanted: u64) -> Finding {
    match file_limits() {
        Some((soft, hard)) => judge_files(soft, hard, wanted),
        None => Finding::ok("open files", "this system does not say how many it allows"),
    }
}

/// Judges whether the addresses of the settings can be listened on.
pub(super) async fn listen_ports(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ephemeral = ephemeral_range();
    for address in &settings.listen {
        findings.push(match lookup_host((address.host.as_str(), address.port)).await {
            Err(error) => Finding::problem(
                LISTEN,
                format!("`{address}` cannot be found: {error}"),
                "Change the setting `listen` (option --listen).",
            ),
            Ok(found) => {
                let mut worst = None;
                for found in found {
                    worst = worst.or(TcpListener::bind(found).await.err().map(|error| (found, error)));
                }
                judge_listen(address, worst.as_ref(), ephemeral.as_ref())
            }
        });
    }
    findings
}

/// Judges how many connections can be opened to one address, which matters to proxies and to load tests.
pub(super) fn ephemeral_ports() -> Finding {
    match ephemeral_range() {
        Some(range) => judge_ephemeral(&range),
        None => Finding::ok(EPHEMERAL, "this system does not say which ports it connects from"),
    }
}

const FILES: &str = "open files";
const LISTEN: &str = "listen";
const EPHEMERAL: &str = "local ports";

#[cfg(unix)]
fn file_limits() -> Option<(u64, u64)> {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // Where there is no limit, none is said.
    Some((limits.current.unwrap_or(u64::MAX), limits.maximum.unwrap_or(u64::MAX)))
}

#[cfg(not(unix))]
fn file_limits() -> Option<(u64, u64)> {
    None
}

fn judge_files(soft: u64, hard: u64, wanted: u64) -> Finding {
    let connections = soft.saturating_sub(OWN_FILES);
    if soft == u64::MAX {
        return Finding::ok(FILES, "without limit");
    }
    let what = format!("{soft} may be open, so that there can be {connections} connections at a time");
    if connections >= wanted {
        return Finding::ok(FILES, what);
    }
    let goal = wanted + OWN_FILES;
    let what = format!("{what}; {wanted} are wanted");
    let cure = if goal <= hard {
        format!(
            "Raise the limit before you start the program: `ulimit -n {goal}` in its shell, or `LimitNOFILE={goal}` in its\n\
             systemd unit. This system allows up to {hard}."
        )
    } else {
        format!(
            "Raise it to {goal}: `LimitNOFILE={goal}` in its systemd unit, or as root in /etc/security/limits.conf; without\n\
             that, this shell cannot go beyond {hard} (`ulimit -n {hard}`)."
        )
    };
    // Fewer than these, and a handful of tabs in a browser would do.
    if connections < 100 { Finding::problem(FILES, what, cure) } else { Finding::warning(FILES, what, cure) }
}

fn judge_listen(
    address: &Address,
    failure: Option<&(SocketAddr, io::Error)>,
    ephemeral: Option<&RangeInclusive<u16>>,
) -> Finding {
    match failure {
        Some((found, error)) if error.kind() == io::ErrorKind::AddrInUse => Finding::warning(
            LISTEN,
            format!("{found} is in use"),
            "If that is not this program, already at work: stop the other one, or choose another port by the setting\n\
             `listen` (option --listen).",
        ),
        Some((found, error)) if error.kind() == io::ErrorKind::PermissionDenied => Finding::problem(
            LISTEN,
            format!("listening on {found} is not allowed: {error}"),
            "Ports below 1024 are for privileged programs: choose a higher one and let a proxy listen there, or give the\n\
             program the right: `setcap cap_net_bind_service=+ep` on its file.",
        ),
        Some((found, error)) if found.is_ipv6() => Finding::warning(
            LISTEN,
            format!("{found} cannot be listened on: {error}"),
            "This machine seems to have no IPv6; clients that use IPv4 are not affected.",
        ),
        Some((found, error)) => Finding::problem(
            LISTEN,
            format!("{found} cannot be listened on: {error}"),
            "Is it an address of this machine? Change the setting `listen` (option --listen).",
        ),
        None if ephemeral.is_some_and(|range| range.contains(&address.port)) => Finding::warning(
            LISTEN,
            format!("{address} is free, but its port is among those that this machine connects from"),
            "Any program's outgoing connection may hold it just when the server starts again: choose a port below the range.",
        ),
        None => Finding::ok(LISTEN, format!("{address} is free")),
    }
}

fn ephemeral_range() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (numbers.next(), numbers.next()) else { return None };
    Some(first..=last)
}

fn judge_ephemeral(range: &RangeInclusive<u16>) -> Finding {
    let (first, last, count) = (range.start(), range.end(), range.len());
    let what = format!("{count}, from {first} to {last}: so many connections can be made from here to one address");
    // Linux's default has 28,232.
    if count >= 20_000 {
        return Finding::ok(EPHEMERAL, what);
    }
    let cure = "A proxy or a load test on this machine runs out of them: `sysctl net.ipv4.ip_local_port_range=\"10240 65535\"`.";
    Finding::warning(EPHEMERAL, what, cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::report::Verdict;

    #[test]
    fn open_files_are_compared_with_the_connections_wanted() {
        assert_eq!(judge_files(u64::MAX, u64::MAX, 100_000).verdict, Verdict::Ok);
        assert_eq!(judge_files(200_000, 200_000, 100_000).verdict, Verdict::Ok);
        let low = judge_files(1024, 1_048_576, 100_000);
        assert_eq!(low.verdict, Verdict::Warning);
        assert!(low.what.contains("960 connections") && low.cure.contains("ulimit -n 100064"), "{low:?}");
        let lower = judge_files(1024, 4096, 100_000);
        assert!(lower.cure.contains("LimitNOFILE=100064") && lower.cure.contains("4096"), "{lower:?}");
        assert_eq!(judge_files(128, 128, 256).verdict, Verdict::Problem);
    }

    #[test]
    fn the_ports_to_connect_from_are_counted() {
        let usual = judge_ephemeral(&(32768..=60999));
        assert_eq!(usual.verdict, Verdict::Ok);
        assert!(usual.what.starts_with("28232, from 32768 to 60999"), "{usual:?}");
        assert_eq!(judge_ephemeral(&(50_000..=50_999)).verdict, Verdict::Warning);
        let listens = judge_listen(&Address::new("127.0.0.1", 40_000), None, Some(&(32768..=60999)));
        assert_eq!(listens.verdict, Verdict::Warning);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let settings = Settings { listen: vec![Address::new("127.0.0.1", port)], ..Settings::default() };
        let findings = listen_ports(&settings).await;
        assert_eq!(findings[0].verdict, Verdict::Warning);
        assert!(findings[0].what.contains(&port.to_string()) && findings[0].cure.contains("--listen"), "{findings:?}");
        let settings = Settings { listen: vec![Address::new("192.0.2.1", 1)], ..settings };
        assert_eq!(listen_ports(&settings).await[0].verdict, Verdict::Problem);
    }
}
