//! `sockeye connect`: a conversation with a server, typed, piped, or only listened to.
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
    values::{Harmless, Json, Name, Shown, Values, harmless_json, received},
};
use crate::shutdown::Shutdown;
use input::{HELP, Input};

/// Which server to talk to, and how.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The server's address, such as localhost:3000 or https://example.org/namespace
    url: String,
    #[command(flatten)]
    target: TargetOptions,
    /// Print each event as a JSON object on a line of its own and read no input; what happens to the connection goes to
    /// standard error
    #[arg(short, long)]
    listen: bool,
    /// Show the packets of Engine.IO and Socket.IO, both ways, on standard error; they may hold secrets
    #[arg(short, long)]
    verbose: bool,
}

/// What comes from the server, in order.
enum Happening {
    Connected { id: Option<Arc<str>>, recovered: bool },
    Disconnected(DisconnectReason),
    ConnectFailed(ConnectError),
    Event { name: String, args: ArgsBuf, wants_ack: bool },
}

/// How many happenings wait to be printed; more wait in the client library, and then at the server.
const WAITING: usize = 256;

/// How long the input may take to end after the connection has ended: a server may end it because of the last line.
const END_OF_INPUT: Duration = Duration::from_secs(1);

/// Talks to the server until one side has enough.
///
/// # Errors
/// If the options are wrong, no connection comes about at first, or nothing can be printed.
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
    let happenings = attach(&socket);
    let mut conversation = Conversation {
        events: manager.events(),
        answers: JoinSet::new(),
        timeout: connect.target.timeout,
        status: Status::Done,
        is_connected: false,
        early: None,
        is_read: false,
        listen: connect.listen,
        console,
        happenings,
        socket,
        lines: Lines::None,
    };
    tokio::select! {
        connected = conversation.socket.connect() => {
            connected.map_err(|error| CommandError::Connect { url: connect.url, error })?;
        }
        () = signals.signalled() => return Ok(Status::Done),
    }
    conversation.lines = match terminal {
        Some(terminal) => terminal.start(),
        None if connect.listen => Lines::None,
        None => Lines::piped(),
    };
    let ended = tokio::select! {
        ended = conversation.go_on() => ended,
        () = signals.signalled() => Ok(()),
    };
    manager.disconnect().await;
    ended?;
    Ok(conversation.status)
}

/// Collects what comes to a socket; what the server wants acknowledged is, without arguments.
fn attach(socket: &Socket) -> mpsc::Receiver<Happening> {
    let (sender, happenings) = mpsc::channel(WAITING);
    let connected = sender.clone();
    socket.on_connect(move |socket: Socket| {
        let sender = connected.clone();
        async move {
            let happening = Happening::Connected { id: socket.id(), recovered: socket.is_recovered() };
            tell(&sender, happening).await;
        }
    });
    let disconnected = sender.clone();
    socket.on_disconnect(move |Reason(reason): Reason| {
        let sender = disconnected.clone();
        async move { tell(&sender, Happening::Disconnected(reason)).await }
    });
    let failed = sender.clone();
    socket.on_connect_error(move |error: ConnectError| {
        let sender = failed.clone();
        async move { tell(&sender, Happening::ConnectFailed(error)).await }
    });
    socket.on_fallback(move |EventName(name): EventName, RawArgs(args): RawArgs, ack: Ack| {
        let sender = sender.clone();
        async move {
            let wants_ack = ack.is_wanted();
            if let Err(error) = ack.send(()) {
                tracing::debug!(%error, "an event could not be acknowledged");
            }
            tell(&sender, Happening::Event { name, args, wants_ack }).await;
        }
    });
    happenings
}

async fn tell(sender: &mpsc::Sender<Happening>, happening: Happening) {
    // It fails only if the command is about to end.
    let _gone = sender.send(happening).await;
}

struct Conversation {
    socket: Socket,
    happenings: mpsc::Receiver<Happening>,
    events: sockeye_client::ManagerEvents,
    lines: Lines,
    answers: JoinSet<Answer>,
    console: Arc<Console>,
    listen: bool,
    timeout: Duration,
    status: Status,
    /// Whether the last that was told of the socket is that it is connected.
    is_connected: bool,
    /// What is told as soon as it is no more.
    early: Option<ManagerEvent>,
    /// Whether everything piped in was read.
    is_read: bool,
}

/// What became of a wish for an acknowledgement.
struct Answer {
    name: String,
    outcome: Result<ArgsBuf, AckError>,
    time: Duration,
}

/// An event as a script reads it.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    namespace: &'a str,
    event: &'a str,
    args: Vec<Json<'a>>,
}

impl Conversation {
    /// Goes on until there is nothing more to say: at the end of what was piped in, until it is answered and sent.
    async fn go_on(&mut self) -> Result<(), CommandError> {
        if self.lines.are_typed() {
            self.console.say("Type an event and its arguments, such as: chat \"hello\" (or help, or quit)")?;
        }
        while !(self.is_read && self.answers.is_empty()) {
            tokio::select! {
                Some(happening) = self.happenings.recv() => {
                    if self.happened(happening)? {
                        return self.cut_off().await;
                    }
                }
                Some(event) = self.events.next() => self.connection_changed(event)?,
                Some(answer) = self.answers.join_next() => {
                    if let Ok(answer) = answer {
                        self.answered(&answer)?;
                    }
                }
                line = self.lines.next(), if !self.is_read => match line.transpose()? {
                    Some(line) => {
                        if self.typed(&line).await? {
                            return Ok(());
                        }
                    }
                    None if self.lines.are_typed() => return Ok(()),
                    None => self.is_read = true,
                },
            }
        }
        self.leave().await
    }

    /// Waits for what is still to be sent.
    async fn leave(&mut self) -> Result<(), CommandError> {
        // What came before the last answer is shown before leaving, and so is the end of the connection, if that is why
        // there are no answers.
        while let Some(happening) = self.next_happening().await {
            if self.happened(happening)? {
                return self.cut_off().await;
            }
        }
        if tokio::time::timeout(self.timeout, self.socket.flushed()).await.is_err() || self.socket.buffered() > 0 {
            self.lifecycle("leaving although not everything could be sent")?;
            self.status = Status::Failed;
        }
        Ok(())
    }

    /// What has come already, or is certain to come.
    async fn next_happening(&mut self) -> Option<Happening> {
        if self.socket.is_active() {
            return self.happenings.try_recv().ok();
        }
        tokio::time::timeout(self.timeout, self.happenings.recv()).await.ok().flatten()
    }

    /// Shows what came; says whether that was the end.
    fn happened(&mut self, happening: Happening) -> Result<bool, CommandError> {
        match happening {
            Happening::Connected { id, recovered } => {
                self.is_connected = true;
                let id = id.as_deref().unwrap_or("unknown");
                let transport = self.socket.manager().transport().map_or("", |transport| transport.as_str());
                let recovered = if recovered { ", and what was missed was sent again" } else { "" };
                let namespace = Harmless(self.socket.namespace());
                self.lifecycle(format_args!("connected to {namespace} as {} by {transport}{recovered}", Harmless(id)))?;
            }
            Happening::Disconnected(reason) => {
                self.is_connected = false;
                self.lifecycle(format_args!("disconnected: {reason}"))?;
                if let Some(event) = self.early.take() {
                    self.connection_changed(event)?;
                }
                if !reason.is_temporary() {
                    return self.given_up();
                }
            }
            Happening::ConnectFailed(error) => {
                let Advice { problem, cure } = advice::connecting(&error);
                self.lifecycle(format_args!("cannot connect: {problem}"))?;
                if !self.socket.is_active() {
                    self.console.note(cure)?;
                    return self.given_up();
                }
            }
            Happening::Event { name, args, wants_ack } => match received(&args) {
                Ok(values) if self.listen => {
                    let line = Line {
                        time: format!("{:.3}", jiff::Timestamp::now()),
                        namespace: self.socket.namespace(),
                        event: &name,
                        args: values.iter().map(Json).collect(),
                    };
                    self.console.say(harmless_json(&line).map_err(io::Error::other)?)?;
                }
                Ok(values) => {
                    let asked = if wants_ack { " (acknowledged)" } else { "" };
                    let namespace = self.place();
                    let blank = if values.is_empty() { "" } else { " " };
                    let (name, values) = (Name(&name), Shown(&values));
                    self.console.say(format_args!("{} < {namespace}{name}{blank}{values}{asked}", clock()))?;
                }
                Err(error) => self.lifecycle(format_args!("{} came with wrong arguments: {error}", Name(&name)))?,
            },
        }
        Ok(false)
    }

    /// The connection does not come back by itself: a user at the prompt may connect again, otherwise the command ends.
    fn given_up(&mut self) -> Result<bool, CommandError> {
        if self.lines.are_typed() {
            self.console.say("Type connect to connect again, or quit.")?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Sets the status when the connection has ended for good: it is a success if everything piped in was sent and
    /// answered before.
    async fn cut_off(&mut self) -> Result<(), CommandError> {
        while let Some(answer) = self.answers.join_next().await {
            if let Ok(answer) = answer {
                self.answered(&answer)?;
            }
        }
        if let Lines::Piped(_) = self.lines
            && !self.is_read
            && let Ok(None) = tokio::time::timeout(END_OF_INPUT, self.lines.next()).await
        {
            self.is_read = true;
        }
        if self.status == Status::Done && !(self.is_read && self.socket.buffered() == 0) {
            self.status = Status::Failed;
        }
        Ok(())
    }

    fn connection_changed(&mut self, event: ManagerEvent) -> Result<(), CommandError> {
        match event {
            // The manager tries again before the socket has told that it is cut off, which is to be read first.
            ManagerEvent::Reconnecting { .. } if self.is_connected => self.early = Some(event),
            ManagerEvent::Upgraded => self.lifecycle("moved on to websocket")?,
            ManagerEvent::UpgradeFailed => {
                self.lifecycle(
                    "the move to websocket failed; polling goes on (`sockeye doctor` looks for the reason)",
                )?;
            }
            ManagerEvent::Reconnecting { attempt, delay } => {
                self.lifecycle(format_args!("reconnecting, attempt {attempt} in {:.1} s", delay.as_secs_f64()))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, answer: &Answer) -> Result<(), CommandError> {
        let Answer { name, outcome, time } = answer;
        let (name, place) = (Name(name), self.place());
        match outcome.as_ref().map(received) {
            Ok(Ok(values)) => {
                let milliseconds = time.as_secs_f64() * 1000.0;
                let values = if values.is_empty() { "nothing".into() } else { Shown(&values).to_string() };
                self.console
                    .say(format_args!("{} < {place}ack of {name}: {values} ({milliseconds:.1} ms)", clock()))?;
            }
            Ok(Err(error)) => self.lifecycle(format_args!("the ack of {name} cannot be read: {error}"))?,
            Err(error) => {
                let error = advice::acknowledging(error);
                self.console.note(format_args!("{} no ack of {place}{name}: {error}", clock()))?;
                self.status = Status::Unanswered;
            }
        }
        Ok(())
    }

    /// Does what a line asks for; says whether to leave.
    async fn typed(&mut self, line: &str) -> Result<bool, CommandError> {
        match Input::parse(line) {
            Ok(Input::Event { name, args, ack }) => self.send(name, args, ack).await?,
            Ok(Input::Connect) => {
                let socket = self.socket.clone();
                // What comes of it is told as everything else that happens to the connection.
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

    /// Explains what cannot be done with a line.
    fn refuse(&mut self, error: impl std::fmt::Display) -> Result<(), CommandError> {
        if !self.lines.are_typed() {
            self.status = Status::Usage;
        }
        Ok(self.console.note(Harmless(&error.to_string()))?)
    }

    /// Tells what happens to the connection.
    fn lifecycle(&self, what: impl std::fmt::Display) -> Result<(), CommandError> {
        let line = format_args!("{} {what}", clock()).to_string();
        let told = if self.listen { self.console.note(line) } else { self.console.say(line) };
        Ok(told?)
    }

    /// The namespace, where it has to be said.
    fn place(&self) -> String {
        match self.socket.namespace() {
            "/" => String::new(),
            namespace => format!("{} ", Harmless(namespace)),
        }
    }
}
