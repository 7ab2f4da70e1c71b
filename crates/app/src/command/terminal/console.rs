//! Where a command prints: standard output, or around the line that is being edited.
use std::{
    fmt::Display,
    io::{self, Write as _},
};

use parking_lot::Mutex;
use rustyline::ExternalPrinter;

/// Prints whole lines.
pub(crate) enum Console {
    Plain,
    /// The editor draws its line again after each line that is printed.
    Editor(Mutex<Box<dyn ExternalPrinter + Send>>),
}

impl Console {
    /// Prints a line.
    ///
    /// # Errors
    /// If that fails, as it does when whoever read the output is gone.
    pub(crate) fn say(&self, line: impl Display) -> io::Result<()> {
        match self {
            Self::Plain => writeln!(io::stdout().lock(), "{line}"),
            Self::Editor(printer) => print(printer, &line),
        }
    }

    /// Prints a line that is not what the command was asked for: on standard error, unless a line is being edited.
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

/// The time of the day, as it stands before lines for people.
pub(crate) fn clock() -> impl Display {
    jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string()
}

fn print(printer: &Mutex<Box<dyn ExternalPrinter + Send>>, line: &dyn Display) -> io::Result<()> {
    printer.lock().print(format!("{line}\n")).map_err(io::Error::other)
}
