//! The log, which goes to standard error.
mod filter;
mod writer;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use sockeye::LogThrottle;
use tracing_subscriber::{
    filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _, util::TryInitError,
};

pub(crate) use filter::LogFilter;
pub(crate) use writer::{LogWriter, dropped};

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[source] io::Error),
    #[error("cannot start the log: {0}")]
    Start(#[from] TryInitError),
}

/// How often the log says how many messages it leaves out.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the log. Its last lines are written when the writer is dropped.
///
/// # Errors
/// If there is a log already, or the system starts no thread.
pub(crate) fn start(filter: &LogFilter) -> Result<LogWriter, LogError> {
    let writer = LogWriter::start(io::stderr()).map_err(LogError::Thread)?;
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(writer.lines())
        .with_ansi(io::stderr().is_terminal())
        .finish()
        .with(filter.targets().clone())
        .try_init()?;
    // The standard hook writes to standard error itself, and would wait for a reader that is paused.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(writer)
}

/// Says once a minute how many messages that clients caused were left out, if there were any.
pub(crate) async fn report_left_out() {
    let mut reported = 0;
    loop {
        tokio::time::sleep(REPORT_INTERVAL).await;
        let left_out = LogThrottle::left_out();
        if left_out > reported {
            let messages = left_out - reported;
            tracing::info!(messages, "left out messages that clients caused; the level debug shows them");
            reported = left_out;
        }
    }
}
