//! How a command ends. Scripts rely on the numbers, so they don't change.
use std::{io, process::ExitCode};

use sockeye_client::{BuildError, ConnectError, ConnectErrorKind, EmitError};

use super::{
    target::TargetError,
    values::{Harmless, ValuesError},
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Everything was done.
    Done,
    /// It could not be done: no connection, a refusal, or a problem that was found.
    Failed,
    /// What was asked for cannot be understood.
    Usage,
    /// The server did not acknowledge an event in time.
    Unanswered,
    /// A signal ended it.
    Interrupted,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Failed => 1,
            // The number that the parser of the command line uses.
            Status::Usage => 2,
            Status::Unanswered => 3,
            // As a shell reports a process that was interrupted.
            Status::Interrupted => 130,
        })
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the certificates, the proxy or the TLS options cannot be used: {0}")]
    Http(reqwest::Error),
    #[error("the header `{0}` is not valid")]
    Header(String),
    #[error("argument {position} of the event: {source}")]
    Argument { position: usize, source: ValuesError },
    #[error(
        "cannot connect: {}{}\n`sockeye doctor {url}` looks for the reason",
        Harmless(&error.to_string()),
        cure(error)
    )]
    Connect { url: String, error: ConnectError },
    #[error("the event could not be sent: {0}")]
    Emit(#[from] EmitError),
    #[error("the connection ended ({0}) while the event was being sent, so the server may not have it; `--ack` tells")]
    Uncertain(String),
    #[error("interrupted before everything was done")]
    Interrupted,
    #[error("{0}")]
    Settings(#[from] crate::settings::SettingsError),
    #[error("cannot wait for signals, by which the program is stopped: {0}")]
    Signals(io::Error),
    #[error("cannot start the log: {0}")]
    Log(tracing_subscriber::util::TryInitError),
    #[error("cannot edit lines at this terminal: {0}; `sockeye connect … < file` reads them from a file")]
    Editor(#[from] rustyline::error::ReadlineError),
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// The exit status that says so.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Target(_)
            | Self::Build(_)
            | Self::Http(_)
            | Self::Header(_)
            | Self::Argument { .. }
            | Self::Settings(_) => Status::Usage,
            Self::Interrupted => Status::Interrupted,
            // Whoever read the output has enough of it.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::Done,
            Self::Emit(error) if matches!(error.kind(), sockeye_client::EmitErrorKind::ReservedName(_)) => {
                Status::Usage
            }
            _ => Status::Failed,
        }
    }
}

/// What to do about it at the command line, where the client library speaks of its own settings.
fn cure(error: &ConnectError) -> &'static str {
    match error.kind() {
        ConnectErrorKind::Tls { .. } => {
            "\nhttp:// is for ports without TLS; --ca FILE trusts the certificate of your own authority; for tests, \
             --insecure accepts any"
        }
        ConnectErrorKind::Refused(_) => "\n--auth and --header say who you are, --namespace what is joined",
        ConnectErrorKind::Lost { .. } => "\n--parser says how packets are written",
        ConnectErrorKind::NamespaceTimedOut { .. } | ConnectErrorKind::TimedOut { .. } => {
            "\n--timeout allows more time"
        }
        _ => "",
    }
}
