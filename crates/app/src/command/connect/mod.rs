//! `sockeye connect`: sends the events that the user types or pipes in, and shows those that arrive.
mod input;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use sockeye_client::{
    Ack, AckError, ArgsBuf, ConnectError, DisconnectReason, EmitErrorKind, EventName, ManagerEvent, RawArgs, Reason,
    Reconnection, Socket,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    advice::{self, Advice},
    outcome::{CommandError, Status},
    target::TargetOptions,
    terminal::{
        console::{Console, clock},
        editor::{Lines, Terminal, TerminalGuard},
        packets,
    },
    values::{Escaped, Json, Name, Shown, Values, escaped_json, received},
};
use crate::shutdown::Shutdown;
use input::{HELP, Input};

/// Which server to connect to, and how.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The server's address, such as localhost:3000 or https://example.org/namespace
    url: String,
    #[command(flatten)]
    target: TargetOptions,
    /// Print each event as a line of JSON and read no input; changes of the connection go to standard error
    #[arg(short, long)]
    listen: bool,
    /// Show every packet that is sent or received on standard error; packets may contain secrets
    #[arg(short, long)]
    verbose: bool,
}

/// What the socket's handlers report, in order.
enum SocketEvent {
    Connected { id: Option<Arc<str>>, recovered: bool },
    Disconnected(DisconnectReason),
    ConnectFailed(ConnectError),
    Event { name: String, args: ArgsBuf, wants_ack: bool },
}

/// How many socket events may wait to be printed. Further ones wait in the client library, and then at the server.
const WAITING: usize = 256;

/// How long the input may take to end after the connection has ended: a server may end it because of the last line.
const END_OF_INPUT: Duration = Duration::from_secs(1);

/// Runs the command until the user or the server ends it.
///
/// # Errors
/// If an option is not valid, the first connection fails, or printing fails.
pub(crate) async fn run(connect: Connect) -> Result<Status, CommandError> {
    let mut signals = Shutdown::new().map_err(CommandError::Signals)?;
    let _terminal = TerminalGuard::new();
    let target = connect.target.target(&connect.url)?;
    let builder = connect.target.builder(&target)?.log_packets(connect.verbose);
    let manager = builder.reconnection(Reconnection::default()).build()?;
    let is_terminal = !connect.listen && io::stdin().is_terminal() && io::stdout().is_terminal();
    let (terminal, console) = if is_terminal {
        let (terminal, console) = Terminal::open()?;
        (Some(terminal), Arc::new(console))
    } else {
        (None, Arc::new(Console::Plain))
    };
    if connect.verbose {
        packets::show(&console)?;
    }
    let socket = manager.socket(&target.namespace);
    let socket_events = attach(&socket);
    let mut session = Session {
        events: manager.events(),
        answers: JoinSet::new(),
        timeout: connect.target.timeout,
        status: Status::Done,
        is_connected: false,
        postponed: None,
        is_read: false,
        listen: connect.listen,
        console,
        socket_events,
        socket,
        lines: Lines::None,
    };
    tokio::select! {
        connected = session.socket.connect() => {
            connected.map_err(|error| CommandError::Connect { url: connect.url, error })?;
        }
        () = signals.signalled() => return Ok(Status::Done),
    }
    session.lines = match terminal {
        Some(terminal) => terminal.start(),
        None if connect.listen => Lines::None,
        None => Lines::piped(),
    };
    let ended = tokio::select! {
        ended = session.run() => ended,
        () = signals.signalled() => Ok(()),
    };
    manager.disconnect().await;
    ended?;
    Ok(session.status)
}

/// Registers handlers that report everything that happens to a socket. Events are acknowledged without arguments if the
/// server wants that.
fn attach(socket: &Socket) -> mpsc::Receiver<SocketEvent> {
    let (sender, socket_events) = mpsc::channel(WAITING);
    let connected = sender.clone();
    socket.on_connect(move |socket: Socket| {
        let sender = connected.clone();
        async move {
            let event = SocketEvent::Connected { id: socket.id(), recovered: socket.is_recovered() };
            report(&sender, event).await;
        }
    });
    let disconnected = sender.clone();
    socket.on_disconnect(move |Reason(reason): Reason| {
        let sender = disconnected.clone();
        async move { report(&sender, SocketEvent::Disconnected(reason)).await }
    });
    let failed = sender.clone();
    socket.on_connect_error(move |error: ConnectError| {
        let sender = failed.clone();
        async move { report(&sender, SocketEvent::ConnectFailed(error)).await }
    });
    socket.on_fallback(move |EventName(name): EventName, RawArgs(args): RawArgs, ack: Ack| {
        let sender = sender.clone();
        async move {
            let wants_ack = ack.is_wanted();
            if let Err(error) = ack.send(()) {
                tracing::debug!(%error, "cannot acknowledge an event");
            }
            report(&sender, SocketEvent::Event { name, args, wants_ack }).await;
        }
    });
    socket_events
}

async fn report(sender: &mpsc::Sender<SocketEvent>, event: SocketEvent) {
    // This fails only when the command is about to end.
    let _gone = sender.send(event).await;
}

struct Session {
    socket: Socket,
    socket_events: mpsc::Receiver<SocketEvent>,
    events: sockeye_client::ManagerEvents,
    lines: Lines,
    answers: JoinSet<Answer>,
    console: Arc<Console>,
    listen: bool,
    timeout: Duration,
    status: Status,
    /// Whether the socket was connected according to the last line that was printed.
    is_connected: bool,
    /// An event of the manager that is printed after the socket's disconnect.
    postponed: Option<ManagerEvent>,
    /// Whether the piped input has ended.
    is_read: bool,
}

/// The outcome of an event that was sent with a request for acknowledgement.
struct Answer {
    name: String,
    outcome: Result<ArgsBuf, AckError>,
    time: Duration,
}

/// An event as `--listen` prints it.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    namespace: &'a str,
    event: &'a str,
    args: Vec<Json<'a>>,
}

impl Session {
    /// Runs until the user quits or the connection ends for good; at the end of piped input, until everything is sent and
    /// acknowledged.
    async fn run(&mut self) -> Result<(), CommandError> {
        if self.lines.are_typed() {
            self.console.say("Type an event and its arguments, such as: chat \"hello\"   (or type help or quit)")?;
        }
        while !(self.is_read && self.answers.is_empty()) {
            tokio::select! {
                Some(event) = self.socket_events.recv() => {
                    if self.show(event)? {
                        return self.finish_disconnected().await;
                    }
                }
                Some(event) = self.events.next() => self.connection_changed(event)?,
                Some(answer) = self.answers.join_next() => {
                    if let Ok(answer) = answer {
                        self.show_answer(&answer)?;
                    }
                }
                line = self.lines.next(), if !self.is_read => match line.transpose()? {
                    Some(line) => {
                        if self.handle_line(&line).await? {
                            return Ok(());
                        }
                    }
                    None if self.lines.are_typed() => return Ok(()),
                    None => self.is_read = true,
                },
            }
        }
        self.finish().await
    }

    /// Waits until everything is sent.
    async fn finish(&mut self) -> Result<(), CommandError> {
        // Events that arrived before the last answer are shown first, and so is the end of the connection, if that is
        // why answers are missing.
        while let Some(event) = self.next_socket_event().await {
            if self.show(event)? {
                return self.finish_disconnected().await;
            }
        }
        if tokio::time::timeout(self.timeout, self.socket.flushed()).await.is_err() || self.socket.buffered() > 0 {
            self.lifecycle("not everything could be sent")?;
            self.status = Status::Failed;
        }
        Ok(())
    }

    /// The next socket event that has happened already, or will certainly happen.
    async fn next_socket_event(&mut self) -> Option<SocketEvent> {
        if self.socket.is_active() {
            return self.socket_events.try_recv().ok();
        }
        tokio::time::timeout(self.timeout, self.socket_events.recv()).await.ok().flatten()
    }

    /// Shows a socket event; returns whether the connection has ended for good.
    fn show(&mut self, event: SocketEvent) -> Result<bool, CommandError> {
        match event {
            SocketEvent::Connected { id, recovered } => {
                self.is_connected = true;
                let id = id.as_deref().unwrap_or("unknown");
                let transport = self.socket.manager().transport().map_or("", |transport| transport.as_str());
                let recovered = if recovered { " with all missed events" } else { "" };
                let namespace = Escaped(self.socket.namespace());
                self.lifecycle(format_args!("connected to {namespace} as {} by {transport}{recovered}", Escaped(id)))?;
            }
            SocketEvent::Disconnected(reason) => {
                self.is_connected = false;
                self.lifecycle(format_args!("disconnected: {reason}"))?;
                if let Some(event) = self.postponed.take() {
                    self.connection_changed(event)?;
                }
                if !reason.is_temporary() {
                    return self.ends();
                }
            }
            SocketEvent::ConnectFailed(error) => {
                let Advice { problem, cure } = advice::connecting(&error);
                self.lifecycle(format_args!("cannot connect: {problem}"))?;
                if !self.socket.is_active() {
                    self.console.note(cure)?;
                    return self.ends();
                }
            }
            SocketEvent::Event { name, args, wants_ack } => match received(&args) {
                Ok(values) if self.listen => {
                    let line = Line {
                        time: format!("{:.3}", jiff::Timestamp::now()),
                        namespace: self.socket.namespace(),
                        event: &name,
                        args: values.iter().map(Json).collect(),
                    };
                    self.console.say(escaped_json(&line).map_err(io::Error::other)?)?;
                }
                Ok(values) => {
                    let asked = if wants_ack { " (acknowledged)" } else { "" };
                    let namespace = self.namespace_prefix();
                    let blank = if values.is_empty() { "" } else { " " };
                    let (name, values) = (Name(&name), Shown(&values));
                    self.console.say(format_args!("{} < {namespace}{name}{blank}{values}{asked}", clock()))?;
                }
                Err(error) => {
                    self.lifecycle(format_args!("cannot decode the arguments of {}: {error}", Name(&name)))?;
                }
            },
        }
        Ok(false)
    }

    /// Whether the command ends because the connection does not come back by itself. At the prompt, the user may connect
    /// again instead.
    fn ends(&self) -> Result<bool, CommandError> {
        if self.lines.are_typed() {
            self.console.say("Type connect to connect again, or quit.")?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Sets the status when the connection has ended for good: success if all piped lines were sent and acknowledged
    /// before.
    async fn finish_disconnected(&mut self) -> Result<(), CommandError> {
        while let Some(answer) = self.answers.join_next().await {
            if let Ok(answer) = answer {
                self.show_answer(&answer)?;
            }
        }
        if let Lines::Piped(_) = self.lines
            && !self.is_read
            && let Ok(None) = tokio::time::timeout(END_OF_INPUT, self.lines.next()).await
        {
            self.is_read = true;
        }
        let is_complete = self.status == Status::Done && self.is_read && self.socket.buffered() == 0;
        self.status = if is_complete { Status::Done } else { Status::Failed };
        Ok(())
    }

    fn connection_changed(&mut self, event: ManagerEvent) -> Result<(), CommandError> {
        match event {
            // The manager reconnects before the socket reports the disconnect, which must be printed first.
            ManagerEvent::Reconnecting { .. } if self.is_connected => self.postponed = Some(event),
            ManagerEvent::Upgraded => self.lifecycle("upgraded to websocket")?,
            ManagerEvent::UpgradeFailed => {
                self.lifecycle(
                    "the upgrade to websocket failed, so polling goes on; `sockeye doctor` looks for the reason",
                )?;
            }
            ManagerEvent::Reconnecting { attempt, delay } => {
                self.lifecycle(format_args!("reconnecting, attempt {attempt} in {:.1} s", delay.as_secs_f64()))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn show_answer(&mut self, answer: &Answer) -> Result<(), CommandError> {
        let Answer { name, outcome, time } = answer;
        let (name, place) = (Name(name), self.namespace_prefix());
        match outcome.as_ref().map(received) {
            Ok(Ok(values)) => {
                let milliseconds = time.as_secs_f64() * 1000.0;
                let values = if values.is_empty() { "nothing".into() } else { Shown(&values).to_string() };
                self.console
                    .say(format_args!("{} < {place}ack of {name}: {values} ({milliseconds:.1} ms)", clock()))?;
            }
            Ok(Err(error)) => self.lifecycle(format_args!("cannot decode the ack of {name}: {error}"))?,
            Err(error) => {
                let error = advice::acknowledging(error);
                self.console.note(format_args!("{} no ack of {place}{name}: {error}", clock()))?;
                self.status = Status::Unanswered;
            }
        }
        Ok(())
    }

    /// Does what a line asks for; returns whether to quit.
    async fn handle_line(&mut self, line: &str) -> Result<bool, CommandError> {
        match Input::parse(line) {
            Ok(Input::Event { name, args, ack }) => self.send(name, args, ack).await?,
            Ok(Input::Connect) => {
                let socket = self.socket.clone();
                // The handlers report the outcome.
                tokio::spawn(async move { drop(socket.connect().await) });
            }
            Ok(Input::Help) => self.console.say(HELP)?,
            Ok(Input::Quit) if self.lines.are_typed() => return Ok(true),
            Ok(Input::Quit) => self.is_read = true,
            Ok(Input::Nothing) => {}
            Err(error) => self.refuse(error)?,
        }
        Ok(false)
    }

    async fn send(&mut self, name: String, args: Values, ack: bool) -> Result<(), CommandError> {
        if ack {
            let answer = self.socket.emit_with_ack::<()>(&name, args);
            let begun = Instant::now();
            self.answers.spawn(async move {
                let outcome = answer.raw().await;
                Answer { name, outcome, time: begun.elapsed() }
            });
            return Ok(());
        }
        let sent = match self.socket.emit(&name, args.clone()) {
            Err(error) if matches!(error.kind(), EmitErrorKind::BufferFull { .. }) => {
                self.socket.flushed().await;
                self.socket.emit(&name, args)
            }
            sent => sent,
        };
        sent.or_else(|error| self.refuse(format_args!("the event could not be sent: {}", advice::emitting(&error))))
    }

    /// Prints why a line cannot be sent.
    fn refuse(&mut self, error: impl std::fmt::Display) -> Result<(), CommandError> {
        if !self.lines.are_typed() {
            self.status = Status::Usage;
        }
        Ok(self.console.note(Escaped(&error.to_string()))?)
    }

    /// Prints a change of the connection.
    fn lifecycle(&self, what: impl std::fmt::Display) -> Result<(), CommandError> {
        let line = format_args!("{} {what}", clock()).to_string();
        let told = if self.listen { self.console.note(line) } else { self.console.say(line) };
        Ok(told?)
    }

    /// The namespace as a prefix of a line; empty for `/`.
    fn namespace_prefix(&self) -> String {
        match self.socket.namespace() {
            "/" => String::new(),
            namespace => format!("{} ", Escaped(namespace)),
        }
    }
}
