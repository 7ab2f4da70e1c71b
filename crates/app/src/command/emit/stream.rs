//! `--stdin`: sends an event for each line.
use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use sockeye_client::ArgsBuf;
use tokio::task::JoinHandle;

use super::{Client, Unanswered};
use crate::command::{
    outcome::{CommandError, Status},
    terminal::editor::Lines,
    values::{Values, json_line, received},
};

/// How many events may be unacknowledged at a time.
const WINDOW: usize = 128;

/// Without acknowledgements, waits after this many events until everything is sent.
const BATCH: usize = 1024;

/// Sends an event for each line, in order, until one cannot be sent or is not acknowledged.
///
/// # Errors
/// If standard input cannot be read or the connection is lost.
pub(super) async fn send(client: &mut Client, event: &str, ack: bool) -> Result<Status, CommandError> {
    let mut stream = Stream {
        progress: Progress::new(),
        begun: Instant::now(),
        waiting: VecDeque::new(),
        emitted: 0,
        acknowledged: 0,
        printing: true,
    };
    let result = stream.run(client, event, ack).await;
    stream.progress.bar.finish_and_clear();
    let Stream { emitted, acknowledged, begun, .. } = stream;
    let counted = if ack { format!(", {acknowledged} acknowledged") } else { String::new() };
    eprintln!("{emitted} events emitted{counted} in {:.1} s", begun.elapsed().as_secs_f64());
    match result {
        Ok(()) => Ok(Status::Done),
        Err(Stop::Line { number, error }) => {
            eprintln!("sockeye: line {number}: {error}; nothing after it was sent");
            Ok(Status::Usage)
        }
        Err(Stop::Unsent { number, error }) => {
            eprintln!("sockeye: line {number}: {error}");
            Ok(error.status())
        }
        Err(Stop::Unanswered { number, error }) => {
            eprintln!(
                "sockeye: line {number}: {error}; all lines before it were acknowledged; up to {} after it may have arrived",
                emitted - acknowledged - 1
            );
            Ok(error.status())
        }
        Err(Stop::Command(error)) => Err(error),
    }
}

struct Stream {
    progress: Progress,
    begun: Instant,
    /// The lines that are not acknowledged yet, by number.
    waiting: VecDeque<(usize, JoinHandle<Result<ArgsBuf, Unanswered>>)>,
    emitted: usize,
    acknowledged: usize,
    /// Whether the reader of standard output has not closed it.
    printing: bool,
}

/// Why sending stopped.
enum Stop {
    Line { number: usize, error: Box<dyn std::error::Error> },
    Unsent { number: usize, error: CommandError },
    Unanswered { number: usize, error: Unanswered },
    Command(CommandError),
}

impl Stream {
    async fn run(&mut self, client: &mut Client, event: &str, ack: bool) -> Result<(), Stop> {
        let mut lines = Lines::piped();
        let mut number = 0;
        let mut broken = None;
        while let Some(line) = lines.next().await {
            number += 1;
            let parsed = line.map_err(Into::into).and_then(|line| {
                self.progress.read(line.len());
                if line.trim().is_empty() { Ok(None) } else { Values::parse_line(&line).map(Some).map_err(Into::into) }
            });
            let args = match parsed {
                Ok(Some(args)) => args,
                Ok(None) => continue,
                Err(error) => {
                    broken = Some(Stop::Line { number, error });
                    break;
                }
            };
            if ack {
                let answer = client.emit_with_ack(event, args).await.map_err(|error| Stop::Unsent { number, error })?;
                self.waiting.push_back((number, tokio::spawn(answer)));
                self.count();
                if self.waiting.len() >= WINDOW {
                    self.take_answer().await?;
                }
            } else {
                let unsent = |error| Stop::Unsent { number, error };
                client.emit(event, args).await.map_err(unsent)?;
                self.count();
                if self.emitted.is_multiple_of(BATCH) {
                    client.flush().await.map_err(unsent)?;
                }
            }
        }
        while !self.waiting.is_empty() {
            self.take_answer().await?;
        }
        broken.map_or(Ok(()), Err)
    }

    /// Counts an event that was emitted.
    fn count(&mut self) {
        self.emitted += 1;
        self.progress.emitted(self.emitted);
    }

    /// Waits for the oldest acknowledgement and prints it.
    async fn take_answer(&mut self) -> Result<(), Stop> {
        let Some((number, answer)) = self.waiting.pop_front() else { return Ok(()) };
        let answer = answer.await.map_err(|error| Stop::Command(io::Error::other(error).into()))?;
        let args = answer.map_err(|error| Stop::Unanswered { number, error })?;
        self.acknowledged += 1;
        if !self.printing {
            return Ok(());
        }
        let values = received(&args).map_err(|error| Stop::Command(io::Error::other(error).into()))?;
        let line = json_line(&values).map_err(|error| Stop::Command(io::Error::other(error).into()))?;
        match self.progress.around(|| writeln!(io::stdout().lock(), "{line}")) {
            // Nobody reads the answers any more, but the events are still sent.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.printing = false,
            printed => printed.map_err(|error| Stop::Command(error.into()))?,
        }
        Ok(())
    }
}

/// A progress bar, at a terminal only. It counts bytes if the size of the input is known.
struct Progress {
    bar: ProgressBar,
    by_bytes: bool,
}

impl Progress {
    fn new() -> Self {
        let size = input_size();
        if !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), by_bytes: size.is_some() };
        }
        let (bar, template) = match size {
            Some(size) => (ProgressBar::new(size), "{bar:40} {percent:>3}% {msg} ({eta} left)"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} ({elapsed})"),
        };
        // The default style stands in for a template that is not valid.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: bar.with_style(style), by_bytes: size.is_some() }
    }

    /// Prints above the bar if both are on the terminal.
    fn around<R>(&self, print: impl FnOnce() -> R) -> R {
        if io::stdout().is_terminal() { self.bar.suspend(print) } else { print() }
    }

    fn read(&self, bytes: usize) {
        if self.by_bytes {
            self.bar.inc(bytes as u64);
        }
    }

    fn emitted(&self, count: usize) {
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{count} events"));
        }
    }
}

/// The size of standard input, if it is a file.
fn input_size() -> Option<u64> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        let input = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        let metadata = input.metadata().ok()?;
        metadata.is_file().then_some(metadata.len())
    }
    #[cfg(not(unix))]
    None
}
