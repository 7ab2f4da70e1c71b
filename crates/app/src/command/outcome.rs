//! How a command ends. Scripts rely on the numbers, so they don't change.
use std::{fmt, io, process::ExitCode};

use sockeye_client::{BuildError, ConnectError, EmitError};

use super::{advice, target::TargetError, values::ValuesError};

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
    #[error("{}", advice::building(.0))]
    Build(#[from] BuildError),
    #[error("the certificates, the proxy or the TLS options cannot be used: {0}")]
    Http(reqwest::Error),
    #[error("the header `{0}` is not valid")]
    Header(String),
    #[error("argument {position} of the event: {source}")]
    Argument { position: usize, source: ValuesError },
    #[error(
        "cannot connect: {}\n`sockeye doctor {}`, with the same options, looks for the reason",
        advice::connecting(error),
        Quoted(url)
    )]
    Connect { url: String, error: ConnectError },
    #[error("the event could not be sent: {}", advice::emitting(.0))]
    Emit(#[from] EmitError),
    #[error("the connection ended ({0}) while the event was sent, so the server may not have received it; --ack tells")]
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

/// Writes a word of a shell's command line, in quotes if it needs them.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |character: char| character.is_alphanumeric() || "-_./:@%+=,[]".contains(character);
        if self.0.chars().all(is_plain) {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0.replace('\'', r"'\''"))
        }
    }
}
