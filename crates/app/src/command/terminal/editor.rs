//! Reading lines: typed at a terminal, with editing and a history, or piped in.
use std::{
    io::{self, BufRead as _},
    thread,
};

use parking_lot::Mutex;
use rustyline::{Config, DefaultEditor, error::ReadlineError};
use tokio::sync::mpsc;

use super::console::Console;
use crate::command::outcome::CommandError;

/// A terminal with a line editor, which shows its prompt after [`start`](Self::start).
pub(crate) struct Terminal(DefaultEditor);

/// The lines of the input, each as soon as it is complete.
#[derive(Debug)]
pub(crate) enum Lines {
    /// Unbounded, because a user types slowly.
    Typed(mpsc::UnboundedReceiver<String>),
    Piped(mpsc::Receiver<io::Result<String>>),
    /// No input is read.
    None,
}

impl Terminal {
    /// Opens the terminal, and a console that prints above the edited line.
    ///
    /// # Errors
    /// If the terminal does not support that.
    pub(crate) fn open() -> Result<(Self, Console), CommandError> {
        // Without bracketed paste there is no terminal mode to reset when the program ends early.
        let config = Config::builder().bracketed_paste(false).build();
        let mut editor = DefaultEditor::with_config(config)?;
        let console = Console::Editor(Mutex::new(Box::new(editor.create_external_printer()?)));
        Ok((Self(editor), console))
    }

    /// Shows the prompt and reads lines from now on.
    pub(crate) fn start(self) -> Lines {
        let mut editor = self.0;
        let (sender, lines) = mpsc::unbounded_channel();
        // Not a thread of the runtime, which would wait for it when the program ends.
        thread::spawn(move || {
            loop {
                match editor.readline("> ") {
                    Ok(line) => {
                        if !line.trim().is_empty() {
                            // A line that is missing from the history is not worth an error.
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

/// How many piped lines may be read ahead.
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

    /// The next line; `None` at the end. It never completes if no input is read.
    pub(crate) async fn next(&mut self) -> Option<io::Result<String>> {
        match self {
            Self::Typed(lines) => lines.recv().await.map(Ok),
            Self::Piped(lines) => lines.recv().await,
            Self::None => std::future::pending().await,
        }
    }

    /// Whether a user types the lines.
    pub(crate) fn are_typed(&self) -> bool {
        matches!(self, Self::Typed(_))
    }
}

/// Restores the modes of the terminal when dropped, because the editor's thread may still wait for a key then.
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
            // This fails if the terminal is gone, and then nothing has to be restored.
            let _restored = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, modes);
        }
    }
}
