//! `--verbose`: prints a line for every packet that is sent or received, and the log of the client library.
use std::{
    fmt::{self, Write as _},
    io,
    sync::Arc,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::console::{Console, clock};
use crate::command::{outcome::CommandError, values::Escaped};

/// Prints packets from now on, for managers with `log_packets`.
///
/// # Errors
/// If a log is active already.
pub(crate) fn show(console: &Arc<Console>) -> Result<(), CommandError> {
    let shown = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("sockeye_client", LevelFilter::DEBUG)
        .with_target("sockeye::packets", LevelFilter::INFO);
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .event_format(Line)
        .with_writer(Lines(console.clone()))
        .finish()
        .with(shown)
        .try_init()
        .map_err(CommandError::Log)
}

/// `12:34:56.789 sent     websocket message event 2["chat","hello"]`
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: format::Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields { of_packet: event.metadata().target() == "sockeye::packets", ..Fields::default() };
        event.record(&mut fields);
        let line = format!("{:<9}{}", fields.message, fields.others);
        writeln!(writer, "{} {}", clock(), Escaped(&line))
    }
}

#[derive(Default)]
struct Fields {
    of_packet: bool,
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "transport" if self.of_packet => write!(self.others, "{value:?}"),
            "kind" | "socketio" | "data" if self.of_packet => write!(self.others, " {value:?}"),
            "bytes" if self.of_packet => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_debug(field, &value);
        if self.of_packet && field.name() == "bytes" && self.others.ends_with("binary") {
            let _written = write!(self.others, " <{value} bytes>");
        }
    }
}

/// Writes each event of the log to the console.
struct Lines(Arc<Console>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter(self.0.clone())
    }
}

struct LineWriter(Arc<Console>);

impl io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.note(String::from_utf8_lossy(line).trim_end())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
