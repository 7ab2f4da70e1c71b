//! Checks the server's name, its port and its clock.
use std::{io, net::SocketAddr, time::Duration};

use jiff::{Timestamp, Unit};
use reqwest::header::DATE;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    probe::Answer,
    report::{Finding, Verdict},
};
use crate::command::target::Target;

/// Resolves the server's name and connects to each address.
pub(super) async fn reach(target: &Target, limit: Duration) -> Vec<Finding> {
    let host = target.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = target.url.port_or_known_default().unwrap_or(80);
    let addresses: Vec<SocketAddr> = match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return vec![unknown_name(host, &error.to_string())],
        Err(_) => return vec![unknown_name(host, "the name server does not answer")],
    };
    if addresses.is_empty() {
        return vec![unknown_name(host, "it has no address")];
    }
    let mut failures = Vec::new();
    for address in &addresses {
        let connected = timeout(limit, TcpStream::connect(address)).await;
        if let Err(error) = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            failures.push((*address, error));
        }
    }
    vec![judge(host, &addresses, &failures)]
}

/// Compares the server's clock with that of this machine.
pub(super) fn clock(answer: &Answer) -> Finding {
    let Some(theirs) = answer.header(DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
        return Finding::ok(CLOCK, "the server's answer has no Date header");
    };
    judge_clock((Timestamp::now() - theirs.timestamp()).total(Unit::Second).unwrap_or_default())
}

const CLOCK: &str = "clock";
const ADDRESS: &str = "address";

fn unknown_name(host: &str, why: &str) -> Finding {
    let cure = "Is the name spelled right? A name in /etc/hosts is known on that machine only, and a container's name only \
                inside its network.";
    Finding::problem(ADDRESS, format!("the name {host} cannot be resolved: {why}"), cure)
}

fn judge(host: &str, addresses: &[SocketAddr], failures: &[(SocketAddr, io::Error)]) -> Finding {
    let list = |addresses: &mut dyn Iterator<Item = String>| addresses.collect::<Vec<_>>().join(", ");
    let refused = list(&mut failures.iter().map(|(address, error)| format!("{address} ({})", why(error))));
    if failures.is_empty() {
        let all = list(&mut addresses.iter().map(ToString::to_string));
        return Finding::ok(ADDRESS, format!("{host} is {all}, which accepts connections"));
    }
    let name_is_local = addresses.iter().all(|address| address.ip().is_loopback());
    if failures.len() < addresses.len() {
        let what = format!("{host} does not accept connections at {refused}, but at its other addresses");
        let cure = "Clients that try this address first lose time, and some give up.";
        // Development servers often listen on one of the two addresses of `localhost`, and clients try both.
        let mut finding = Finding::warning(ADDRESS, what.clone(), cure);
        if name_is_local {
            finding = Finding { verdict: Verdict::Ok, cure: String::new(), ..finding };
        }
        return finding;
    }
    let cure = if failures.iter().any(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) {
        "No program listens there. Is the server running, and is the port right? Does it listen on this address, or only on\n\
         127.0.0.1 of its own machine or container?"
    } else {
        "Is the machine running, and does a firewall block the connection?"
    };
    Finding::problem(ADDRESS, format!("cannot connect to {refused}"), cure)
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".into(),
        io::ErrorKind::TimedOut => "no answer in time".into(),
        _ => error.to_string(),
    }
}

fn judge_clock(seconds_ahead: f64) -> Finding {
    let off = seconds_ahead.abs();
    if off < 60.0 {
        // The header has whole seconds.
        return Finding::ok(CLOCK, "the clocks of the server and this machine agree");
    }
    let which = if seconds_ahead > 0.0 { "ahead of" } else { "behind" };
    Finding::warning(
        CLOCK,
        format!("this machine's clock is {off:.0} s {which} the server's"),
        "One of them is wrong. Tokens and certificates may be taken for expired. Set both clocks by a time server (NTP).",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        assert_eq!(judge_clock(-3.0).verdict, Verdict::Ok);
        assert!(judge_clock(3600.0).what.contains("3600 s ahead of"));
        assert!(judge_clock(-90.0).what.contains("90 s behind"));
    }

    #[test]
    fn one_address_of_localhost_is_enough() {
        let addresses = ["127.0.0.1:1", "[::1]:1"].map(|address| address.parse().unwrap());
        let failures = |count: usize| -> Vec<_> {
            addresses[..count].iter().map(|address| (*address, io::ErrorKind::ConnectionRefused.into())).collect()
        };
        assert_eq!(judge("localhost", &addresses, &failures(0)).verdict, Verdict::Ok);
        assert_eq!(judge("localhost", &addresses, &failures(1)).verdict, Verdict::Ok);
        let nobody = judge("localhost", &addresses, &failures(2));
        assert_eq!(nobody.verdict, Verdict::Problem);
        assert!(nobody.cure.contains("port"), "{nobody:?}");
        let elsewhere = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| address.parse().unwrap());
        let failures = [(elsewhere[0], io::ErrorKind::ConnectionRefused.into())];
        assert_eq!(judge("example.org", &elsewhere, &failures).verdict, Verdict::Warning);
    }
}
