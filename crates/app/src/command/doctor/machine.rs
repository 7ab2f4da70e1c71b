//! Checks this machine: open files, ports to listen on, ports for outgoing connections.
use std::{fs, io, net::SocketAddr, ops::RangeInclusive};

use tokio::net::{TcpListener, lookup_host};

use super::report::Finding;
use crate::settings::{Address, Settings};

/// How many open files a process needs in addition to its connections.
const OWN_FILES: u64 = 64;

/// Checks how many files a process may open; `wanted` is the number of connections.
pub(super) fn open_files(wanted: u64) -> Finding {
    match file_limits() {
        Some((soft, hard)) => judge_files(soft, hard, wanted),
        None => Finding::ok("open files", "this system does not report its limit"),
    }
}

/// Checks whether the addresses of the settings are free.
pub(super) async fn listen_ports(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ephemeral = ephemeral_range();
    for address in &settings.listen {
        findings.push(match lookup_host((address.host.as_str(), address.port)).await {
            Err(error) => Finding::problem(
                LISTEN,
                format!("the name in `{address}` cannot be resolved: {error}"),
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

/// Checks how many connections can be opened to one address, which limits proxies and load tests.
pub(super) fn ephemeral_ports() -> Finding {
    match ephemeral_range() {
        Some(range) => judge_ephemeral(&range),
        None => Finding::ok(EPHEMERAL, "this system does not report its range of local ports"),
    }
}

const FILES: &str = "open files";
const LISTEN: &str = "listen";
const EPHEMERAL: &str = "local ports";

#[cfg(unix)]
fn file_limits() -> Option<(u64, u64)> {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // No value means no limit.
    Some((limits.current.unwrap_or(u64::MAX), limits.maximum.unwrap_or(u64::MAX)))
}

#[cfg(not(unix))]
fn file_limits() -> Option<(u64, u64)> {
    None
}

fn judge_files(soft: u64, hard: u64, wanted: u64) -> Finding {
    let connections = soft.saturating_sub(OWN_FILES);
    if soft == u64::MAX {
        return Finding::ok(FILES, "no limit");
    }
    let what = format!("the limit is {soft}, enough for {connections} connections at a time");
    if connections >= wanted {
        return Finding::ok(FILES, what);
    }
    let goal = wanted + OWN_FILES;
    let what = format!("{what}, but the settings allow {wanted}");
    let cure = if goal <= hard {
        format!(
            "Raise the limit before you start the program: `ulimit -n {goal}` in its shell, or `LimitNOFILE={goal}` in its\n\
             systemd unit. This system allows up to {hard}."
        )
    } else {
        format!(
            "Raise it to {goal}: `LimitNOFILE={goal}` in its systemd unit, or as root in /etc/security/limits.conf. Without\n\
             that, this shell allows up to {hard} (`ulimit -n {hard}`)."
        )
    };
    // With fewer, a few browser tabs would use all of them.
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
            "If this server is not running already, another program uses the port: stop it, or choose another port with the\n\
             setting `listen` (option --listen).",
        ),
        Some((found, error)) if error.kind() == io::ErrorKind::PermissionDenied => Finding::problem(
            LISTEN,
            format!("listening on {found} is not allowed: {error}"),
            "Ports below 1024 are for privileged programs. Choose a higher port and let a proxy listen on this one, or give\n\
             the program the right: `setcap cap_net_bind_service=+ep` on its file.",
        ),
        Some((found, error)) if found.is_ipv6() => Finding::warning(
            LISTEN,
            format!("cannot listen on {found}: {error}"),
            "This machine seems to have no IPv6. Clients that use IPv4 are not affected.",
        ),
        Some((found, error)) => Finding::problem(
            LISTEN,
            format!("cannot listen on {found}: {error}"),
            "Is it an address of this machine? Change the setting `listen` (option --listen).",
        ),
        None if ephemeral.is_some_and(|range| range.contains(&address.port)) => Finding::warning(
            LISTEN,
            format!("{address} is free, but its port is in the range for outgoing connections"),
            "When the server restarts, an outgoing connection may have taken the port: choose a port below the range.",
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
    let what = format!("{count}, from {first} to {last}, for outgoing connections to one address");
    // Linux's default has 28,232.
    if count >= 20_000 {
        return Finding::ok(EPHEMERAL, what);
    }
    let cure =
        "A proxy or a load test on this machine may need more: `sysctl net.ipv4.ip_local_port_range=\"10240 65535\"`.";
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
    fn local_ports_are_counted() {
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
