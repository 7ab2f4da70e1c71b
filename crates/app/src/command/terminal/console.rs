//! Printing: to standard output, or above the line that the user edits.
use std::{
    fmt::Display,
    io::{self, Write as _},
};

use parking_lot::Mutex;
use rustyline::ExternalPrinter;

/// Prints whole lines.
pub(crate) enum Console {
    Plain,
    /// Prints above the line that the user edits.
    Editor(Mutex<Box<dyn ExternalPrinter + Send>>),
}

impl Console {
    /// Prints a line.
    ///
    /// # Errors
    /// If that fails, as when the reader of the output has closed it.
    pub(crate) fn say(&self, line: impl Display) -> io::Result<()> {
        match self {
            Self::Plain => writeln!(io::stdout().lock(), "{line}"),
            Self::Editor(printer) => print(printer, &line),
        }
    }

    /// Prints a line that is not the command's result: to standard error, unless the user edits a line.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn note(&self, line: impl Display) -> io::Result<()> {
        match self {
            Self::Plain => writeln!(io::stderr().lock(), "{line}"),
            Self::Editor(printer) => print(printer, &line),
        }
    }
}

/// The local time, for the beginning of a line.
pub(crate) fn clock() -> impl Display {
    jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string()
}

fn print(printer: &Mutex<Box<dyn ExternalPrinter + Send>>, line: &dyn Display) -> io::Result<()> {
    printer.lock().print(format!("{line}\n")).map_err(io::Error::other)
}
