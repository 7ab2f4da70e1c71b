//! How a command ends. The exit statuses must not change, because scripts rely on them.
use std::{fmt, io, process::ExitCode};

use sockeye_client::{BuildError, ConnectError, EmitError};

use super::{advice, target::TargetError, values::ValuesError};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The command has done everything.
    Done,
    /// It failed: no connection, a refusal, or a problem that `doctor` found.
    Failed,
    /// An option, argument or line is not valid.
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
            // The parser of the command line uses the same number.
            Status::Usage => 2,
            Status::Unanswered => 3,
            // The status that a shell reports for an interrupted process.
            Status::Interrupted => 130,
        })
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{}", advice::building(.0))]
    Build(#[from] BuildError),
    #[error("--ca, --proxy or the address cannot be used: {0}")]
    Http(reqwest::Error),
    #[error("the header `{0}` is not valid")]
    Header(String),
    #[error("argument {position} of the event: {}", in_shell(source))]
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
    #[error("cannot listen to the signals that stop the program: {0}")]
    Signals(io::Error),
    #[error("cannot start the log: {0}")]
    Log(tracing_subscriber::util::TryInitError),
    #[error("cannot edit lines at this terminal: {0}; `sockeye connect … < file` reads them from a file")]
    Editor(#[from] rustyline::error::ReadlineError),
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// The exit status of the error.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Target(_)
            | Self::Build(_)
            | Self::Http(_)
            | Self::Header(_)
            | Self::Argument { .. }
            | Self::Settings(_) => Status::Usage,
            Self::Interrupted => Status::Interrupted,
            // The reader of the output has closed it.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::Done,
            Self::Emit(error) if matches!(error.kind(), sockeye_client::EmitErrorKind::ReservedName(_)) => {
                Status::Usage
            }
            _ => Status::Failed,
        }
    }
}

/// The error of an argument on the command line, where a shell would remove the double quotes of JSON.
fn in_shell(error: &ValuesError) -> String {
    match error {
        ValuesError::BareWord { word, fix } => {
            format!("`{word}` is not JSON; text needs double quotes, in single quotes for the shell: {}", Quoted(fix))
        }
        error => error.to_string(),
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
