//! Lines to read: typed at a terminal, with editing and a history, or piped in.
use std::{
    io::{self, BufRead as _},
    thread,
};

use parking_lot::Mutex;
use rustyline::{Config, DefaultEditor, error::ReadlineError};
use tokio::sync::mpsc;

use super::console::Console;
use crate::command::outcome::CommandError;

/// The terminal as a place to type at, with a prompt once it is [started](Self::start).
pub(crate) struct Terminal(DefaultEditor);

/// Lines as they come, each as soon as it is complete.
#[derive(Debug)]
pub(crate) enum Lines {
    /// Nobody types so much that it must be bounded.
    Typed(mpsc::UnboundedReceiver<String>),
    Piped(mpsc::Receiver<io::Result<String>>),
    /// There are none.
    None,
}

impl Terminal {
    /// Takes the terminal, and gives the console that prints around the line that is being edited.
    ///
    /// # Errors
    /// If the terminal cannot do that.
    pub(crate) fn open() -> Result<(Self, Console), CommandError> {
        // What is pasted counts as typed, so that nothing has to be undone when the program ends early.
        let config = Config::builder().bracketed_paste(false).build();
        let mut editor = DefaultEditor::with_config(config)?;
        let console = Console::Editor(Mutex::new(Box::new(editor.create_external_printer()?)));
        Ok((Self(editor), console))
    }

    /// Lets lines be edited from now on.
    pub(crate) fn start(self) -> Lines {
        let mut editor = self.0;
        let (sender, lines) = mpsc::unbounded_channel();
        // A thread of its own, not the runtime's: nothing waits for its end when the program ends.
        thread::spawn(move || {
            loop {
                match editor.readline("> ") {
                    Ok(line) => {
                        if !line.trim().is_empty() {
                            // A history without this line is no reason to stop.
                            let _added = editor.add_history_entry(line.as_str());
                        }
                        let is_last = matches!(line.trim(), "quit" | "exit");
                        if sender.send(line).is_err() || is_last {
                            return;
                        }
                    }
                    Err(ReadlineError::Interrupted | ReadlineError::Eof) => return,
                    Err(ReadlineError::Signal(_)) => {}
                    Err(error) => {
                        eprintln!("sockeye: {}", CommandError::Editor(error));
                        return;
                    }
                }
            }
        });
        Lines::Typed(lines)
    }
}

/// How many piped lines are read ahead.
const AHEAD: usize = 256;

impl Lines {
    /// Reads standard input.
    pub(crate) fn piped() -> Self {
        let (sender, lines) = mpsc::channel(AHEAD);
        thread::spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let mut line = Vec::new();
                let read = match input.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => String::from_utf8(line)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the line is not UTF-8")),
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        });
        Self::Piped(lines)
    }

    /// The next line; `None` at the end, never where there are no lines to read.
    pub(crate) async fn next(&mut self) -> Option<io::Result<String>> {
        match self {
            Self::Typed(lines) => lines.recv().await.map(Ok),
            Self::Piped(lines) => lines.recv().await,
            Self::None => std::future::pending().await,
        }
    }

    /// Whether somebody types them.
    pub(crate) fn are_typed(&self) -> bool {
        matches!(self, Self::Typed(_))
    }
}

/// Gives the terminal back as it was, although the editor's thread may still be waiting for a key.
#[derive(Debug)]
pub(crate) struct TerminalGuard {
    #[cfg(unix)]
    modes: Option<rustix::termios::Termios>,
}

impl TerminalGuard {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(unix)]
            modes: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(modes) = &self.modes {
            // A terminal that is gone needs nothing back.
            let _restored = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, modes);
        }
    }
}
