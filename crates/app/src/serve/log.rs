//! The log, on standard error.
use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("the setting `log` is `{filter}`, which is no filter: {source}; write a level such as `info` or `debug`")]
    Filter { filter: String, source: ParseError },
    #[error("cannot start the log: {0}")]
    Start(Box<dyn std::error::Error + Send + Sync>),
}

/// Starts the log with a filter such as `info` or `info,sockeye_engine=debug`.
///
/// # Errors
/// If the filter cannot be understood.
pub(crate) fn start(filter: &str) -> Result<(), LogError> {
    tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init()
        .map_err(LogError::Start)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(filter).map_err(|source| LogError::Filter { filter: filter.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(parse("debug").is_ok());
        assert!(parse("info,sockeye_engine=debug").is_ok());
        let error = parse("sockeye=loud").unwrap_err().to_string();
        assert!(error.contains("sockeye=loud") && error.contains("`info`"), "{error}");
    }
}
