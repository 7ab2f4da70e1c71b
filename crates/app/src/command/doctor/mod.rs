//! `sockeye doctor`: checks, step by step, whether clients can connect, and says what is wrong.
mod browser;
mod certificate;
mod handshake;
mod join;
mod machine;
mod network;
mod probe;
mod report;
mod sessions;

use std::{env, path::PathBuf};

use clap::Args;

use super::{
    outcome::{CommandError, Status},
    target::{Target, TargetOptions, TransportName},
};
use crate::settings::Settings;
use handshake::Polling;
use probe::{Ask, Probe, tls_error};
use report::{Report, Verdict};

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The address of the server to check; without it, the command checks whether this machine is ready to run one
    url: Option<String>,
    #[command(flatten)]
    target: TargetOptions,
    /// Also check whether a browser lets pages of this origin connect, such as https://www.example.org
    #[arg(long, requires = "url")]
    origin: Option<String>,
    /// The TOML file with the settings of the server to run here; the variable SOCKEYE_CONFIG names it as well
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
}

/// Runs the checks and prints the findings.
///
/// # Errors
/// If an option is not valid or printing fails. Problems that are found are not errors; the status reports them.
pub(crate) async fn run(doctor: Doctor) -> Result<Status, CommandError> {
    let mut report = Report::default();
    match &doctor.url {
        None => {
            let settings = Settings::load(doctor.config, env::vars_os(), &[])?;
            report.add(&machine::open_files(settings.max_sessions as u64))?;
            for finding in machine::listen_ports(&settings).await {
                report.add(&finding)?;
            }
            report.add(&machine::ephemeral_ports())?;
        }
        Some(url) => {
            let target = doctor.target.target(url)?;
            let origin = doctor.origin.as_deref().map(browser::origin).transpose()?;
            report.add(&machine::open_files(CLIENT_FILES))?;
            report.add(&machine::ephemeral_ports())?;
            examine(&doctor.target, &target, origin.as_deref(), &mut report).await?;
        }
    }
    Ok(report.finish()?)
}

/// How many connections a client should be able to open at least.
const CLIENT_FILES: u64 = 100;

/// Checks a server, from the network upwards, until a problem makes further checks impossible.
async fn examine(
    options: &TargetOptions,
    target: &Target,
    origin: Option<&str>,
    report: &mut Report,
) -> Result<(), CommandError> {
    if options.proxy.is_none() {
        for finding in network::reach(target, options.timeout).await {
            report.add(&finding)?;
            if finding.verdict == Verdict::Problem {
                return Ok(());
            }
        }
    }
    let (mut options, mut target) = (options.clone(), target.clone());
    let mut probe = Probe::new(&options, &target, false)?;
    let mut opened = probe.ask(Ask::OPEN).await;
    if let Err(error) = &opened
        && let Some(error) = tls_error(error)
    {
        let withheld = if options.insecure { Vec::new() } else { remove_secrets(&mut options, &mut target) };
        probe = Probe::new(&options, &target, true)?;
        let again = probe.ask(Ask::OPEN).await;
        let certificate = again.as_ref().ok().and_then(|answer| answer.certificate.as_deref());
        let host = target.url.host_str().unwrap_or_default();
        let mut finding = certificate::explain(error, certificate, host);
        if options.insecure {
            finding.verdict = Verdict::Warning;
        }
        if again.is_ok() && !withheld.is_empty() {
            let withheld = withheld.join(", ");
            let cure = format!(
                "\nThe checks below were made without {withheld}, because an attacker could be answering; --insecure sends them."
            );
            finding.cure.push_str(&cure);
        }
        report.add(&finding)?;
        // The checks go on although the certificate is not trusted.
        options.insecure = true;
        opened = again;
    } else if target.url.scheme() == "https" && opened.is_ok() {
        report.add(&certificate::trusted())?;
    }
    let opened = match opened {
        Ok(answer) => answer,
        Err(error) if tls_error(&error).is_some() => return Ok(()),
        Err(error) => {
            report.add(&handshake::no_answer(&error, &target))?;
            return Ok(());
        }
    };
    report.add(&network::clock(&opened))?;
    let (polling, finding) = handshake::polling(&opened, &probe, &target, &options).await;
    report.add(&finding)?;
    if let Polling::Open(session) = &polling {
        for finding in sessions::examine(&probe, session).await {
            report.add(&finding)?;
        }
        probe.close(session).await;
    }
    let may_work = !matches!(polling, Polling::Failed);
    if may_work && options.transport != [TransportName::Polling] {
        let works = matches!(polling, Polling::Open(_));
        report.add(&handshake::websocket(&probe, works).await)?;
    }
    if let Some(origin) = origin {
        for finding in browser::examine(&probe, origin).await {
            report.add(&finding)?;
        }
    }
    if may_work {
        for finding in join::examine(&options, &target, &polling).await? {
            report.add(&finding)?;
        }
    }
    Ok(())
}

/// Removes secrets, which only the real server may get, from the options; returns the names of those that were there.
fn remove_secrets(options: &mut TargetOptions, target: &mut Target) -> Vec<&'static str> {
    let url = &mut target.url;
    let has_user = !url.username().is_empty() || url.password().is_some();
    // This fails only for addresses without a host.
    let _removed = url.set_username("").and_then(|()| url.set_password(None));
    let has_query = url.query().is_some();
    url.set_query(None);
    let withheld = [
        (options.auth.take().is_some(), "--auth"),
        (!std::mem::take(&mut options.header).is_empty(), "--header"),
        (has_user, "the user in the address"),
        (has_query, "the address's query"),
    ];
    withheld.into_iter().filter_map(|(was_given, name)| was_given.then_some(name)).collect()
}
