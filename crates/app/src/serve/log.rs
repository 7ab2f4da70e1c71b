//! The log, which goes to standard error.
use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    filter::{LevelFilter, ParseError, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(
        "the setting `log` is `{filter}`, which is not a filter: {source}; write a level such as `info` or `debug`"
    )]
    Filter { filter: String, source: ParseError },
    #[error("cannot start the log: {0}")]
    Start(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the log with a filter such as `info` or `info,sockeye_engine=debug`.
///
/// # Errors
/// If the filter is not valid.
pub(crate) fn start(filter: &str) -> Result<(), LogError> {
    let filter = parse(filter)?;
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .finish()
        .with(filter)
        .try_init()?;
    Ok(())
}

fn parse(filter: &str) -> Result<Targets, LogError> {
    filter.parse().map_err(|source| LogError::Filter { filter: filter.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_filter_is_refused() {
        assert!(parse("debug").is_ok());
        assert!(parse("info,sockeye_engine=debug").is_ok());
        let error = parse("sockeye=loud").unwrap_err().to_string();
        assert!(error.contains("sockeye=loud") && error.contains("`info`"), "{error}");
    }
}
