//! `sockeye emit`: sends one event, or one for each line of standard input. The exit status says whether that succeeded.
//! The module [`client`] sends events as a client of the server; other ways to send them belong beside it.
mod client;
mod stream;

use std::io;

use clap::Args;
use sockeye_client::{EmitError, EmitErrorKind};
use sockeye_protocol::socketio::is_reserved;

use super::{
    outcome::{CommandError, Status},
    target::TargetOptions,
    terminal::{console::Console, packets},
    values::{Values, json_line, received},
};
use crate::shutdown::Shutdown;
use client::{Client, Unanswered};

/// Which event to send, and to which server.
#[derive(Debug, Args)]
pub(crate) struct Emit {
    /// The server's address, such as localhost:3000 or https://example.org/namespace
    url: String,
    /// The event's name
    event: String,
    /// The event's arguments, each as JSON: '"hello"' '{"a": 1}' 3
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    args: Vec<String>,
    #[command(flatten)]
    target: TargetOptions,
    /// Wait for the server's acknowledgement and print its arguments as a line of JSON
    #[arg(long)]
    ack: bool,
    /// Send an event for each line of standard input; an array holds its arguments, any other JSON is the only one
    #[arg(long, conflicts_with = "args")]
    stdin: bool,
    /// Show every packet that is sent or received on standard error; packets may contain secrets
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the command.
///
/// # Errors
/// If an option is not valid, the connection fails, or an event cannot be sent.
pub(crate) async fn run(emit: Emit) -> Result<Status, CommandError> {
    let mut signals = Shutdown::new().map_err(CommandError::Signals)?;
    let args = arguments(&emit.args)?;
    if is_reserved(&emit.event) {
        return Err(EmitError::from(EmitErrorKind::ReservedName(emit.event)).into());
    }
    if emit.verbose {
        packets::show(&Console::Plain.into())?;
    }
    let sending = async {
        let mut client = Client::connect(&emit.url, &emit.target, emit.verbose).await?;
        let status = if emit.stdin {
            stream::send(&mut client, &emit.event, emit.ack).await
        } else if emit.ack {
            send_with_ack(&mut client, &emit.event, args).await
        } else {
            client.emit(&emit.event, args).await.map(|()| Status::Done)
        };
        // Events sent before a failure still arrive.
        let finished = client.finish().await;
        let status = status?;
        // Once every event is acknowledged, it does not matter how the connection ends.
        if emit.ack { Ok(status) } else { finished.map(|()| status) }
    };
    tokio::select! {
        status = sending => status,
        () = signals.signalled() => Err(CommandError::Interrupted),
    }
}

fn arguments(texts: &[String]) -> Result<Values, CommandError> {
    let parse = |(index, text): (usize, &String)| {
        Values::parse_one(text).map_err(|source| CommandError::Argument { position: index + 1, source })
    };
    texts.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Values)
}

async fn send_with_ack(client: &mut Client, event: &str, args: Values) -> Result<Status, CommandError> {
    match client.emit_with_ack(event, args).await?.await {
        Ok(answer) => {
            let values = received(&answer).map_err(io::Error::other)?;
            Console::Plain.say(json_line(&values).map_err(io::Error::other)?)?;
            Ok(Status::Done)
        }
        Err(error) => {
            Console::Plain.note(format_args!("sockeye: {error}"))?;
            Ok(error.status())
        }
    }
}

impl Unanswered {
    fn status(&self) -> Status {
        match self {
            Self::TimedOut(_) => Status::Unanswered,
            Self::Lost(_) => Status::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_argument_names_its_position() {
        let error = arguments(&["1".into(), "hello".into()]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("argument 2") && text.contains("\"hello\""), "{text}");
        assert_eq!(error.status(), Status::Usage);
    }
}
