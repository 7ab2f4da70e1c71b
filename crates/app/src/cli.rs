use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command as ClapCommand, FromArgMatches, Parser, Subcommand};

use crate::{
    command::{connect::Connect, doctor::Doctor, emit::Emit},
    settings::{DEFINITIONS, Raw},
};

/// A real-time and chat server for Socket.IO and plain WebSocket, and a Socket.IO client for the command line.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, args_conflicts_with_subcommands = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server. This is the default without a command
    Serve(Serve),
    /// Print a settings file with every setting, its description and its default
    Config,
    /// Connect to a Socket.IO server, send the events that you type and show those that arrive
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect(Box<Connect>),
    /// Send one event to a Socket.IO server, or one for each line of standard input
    #[command(after_help = EMIT_EXAMPLES)]
    Emit(Box<Emit>),
    /// Find out why clients cannot connect to a server, or whether this machine is ready to run one
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Box<Doctor>),
}

const EXAMPLES: &str = r#"Examples:
  sockeye                                            serve the chat on http://127.0.0.1:8000
  sockeye --listen 127.0.0.1:9000                    ... on another port
  sockeye config > sockeye.toml                      write a settings file to edit
  sockeye --config sockeye.toml                      serve with these settings
  sockeye connect localhost:8000 --auth '{"token": "alice"}'
  sockeye emit localhost:8000 chat '{"to": "bob", "message": "hi"}' --ack
  sockeye doctor https://example.org                 find out why clients cannot connect

`sockeye <command> --help` shows more."#;

const CONNECT_EXAMPLES: &str = r#"Examples:
  sockeye connect localhost:3000                     then type: chat "hello" {"room": 1}
  sockeye connect https://example.org/imchat --auth '{"token": "secret"}'
  sockeye connect localhost:3000 --transport websocket --header 'Authorization: Bearer secret'
  sockeye connect localhost:3000 --listen | jq .args
  echo 'ack sum 1 2' | sockeye connect localhost:3000

At the prompt, type the name of an event and its arguments as JSON. With `?` after the name, or
`ack ` before it, the command shows the server's acknowledgement. `help` lists everything you can
type. Events for which the server wants an acknowledgement are acknowledged without arguments.

If standard input is not a terminal, the command reads the same lines from it, waits for the
acknowledgements and ends.

--listen prints an object for each event, such as
{"time":"2026-01-31T12:00:00.000Z","namespace":"/","event":"chat","args":["hello"]}. Binary data,
received or sent, is {"$binary": "<base64>"}.

Exit status: 0 ended by `quit`, the end of the input, Ctrl-C or SIGTERM; 1 could not connect, or
the server ended the connection; 2 an option or a piped line is not valid; 3 an acknowledgement
that a piped line asked for did not arrive."#;

const EMIT_EXAMPLES: &str = r#"Examples:
  sockeye emit localhost:3000 chat '"hello"'
  sockeye emit localhost:3000 order '{"id": 7}' 2.5 --ack --timeout 3
  sockeye emit https://example.org/imchat chat '"hello"' --auth '{"token": "secret"}'
  sockeye emit localhost:3000 import --stdin --ack < orders.jsonl

Without --ack, success means that the event was sent and the connection was closed in order. Only
--ack shows that the server has handled the event.

With --stdin, the lines are sent in order; empty lines are skipped. With --ack, the answers are
printed in the same order, and sending stops at the first line without an acknowledgement. Binary
data is {"$binary": "<base64>"}.

Exit status: 0 sent, and acknowledged if --ack is given; 1 could not connect or send, or the
connection was lost; 2 an option, argument or line is not valid; 3 an acknowledgement did not
arrive in time; 130 interrupted."#;

const DOCTOR_EXAMPLES: &str = r#"Examples:
  sockeye doctor                                     is this machine ready to run a server?
  sockeye doctor https://example.org                 can clients connect?
  sockeye doctor https://example.org/imchat --auth '{"token": "secret"}'
  sockeye doctor https://api.example.org --origin https://www.example.org
                                                     can pages of that site connect?

Exit status: 0 no problem, though there may be warnings; 1 a problem; 2 an option is not valid."#;

/// Options of the server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The TOML file with the settings; the variable SOCKEYE_CONFIG names it as well
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The settings that are given as options, by name.
#[derive(Debug, Default)]
pub(crate) struct Options(pub(crate) Vec<(&'static str, Raw)>);

impl Cli {
    /// The command; `serve` if none is given.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl Args for Options {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        DEFINITIONS.iter().fold(command, |command, definition| {
            let help: Vec<_> = definition.docs.iter().map(|line| line.trim()).collect();
            let arg = Arg::new(definition.name)
                .long(definition.name.replace('_', "-"))
                .value_name(definition.form)
                .action(ArgAction::Append)
                .help(format!("{} [default: {}]", help.join(" "), (definition.default)()));
            command.arg(match definition.bare {
                Some(bare) => arg.num_args(0..=1).default_missing_value(bare),
                None => arg,
            })
        })
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = DEFINITIONS
            .iter()
            .filter_map(|definition| {
                let values = matches.get_many::<String>(definition.name)?;
                Some((definition.name, Raw::Many(values.cloned().collect())))
            })
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Command {
        Cli::try_parse_from(std::iter::once(&"sockeye").chain(arguments)).unwrap().into_command()
    }

    #[test]
    fn the_definition_is_valid_and_lists_every_setting() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for definition in DEFINITIONS {
            assert!(help.contains(&format!("--{} ", definition.name.replace('_', "-"))), "{}", definition.name);
        }
    }

    #[test]
    fn the_examples_of_every_command_are_valid() {
        let mut seen = 0;
        for examples in [EXAMPLES, CONNECT_EXAMPLES, EMIT_EXAMPLES, DOCTOR_EXAMPLES] {
            for line in examples.lines().filter_map(|line| line.trim_start().strip_prefix("sockeye")) {
                let line = line.split("   ").next().unwrap().split(['>', '<', '|']).next().unwrap();
                let words = words(line);
                let parsed = Cli::try_parse_from(std::iter::once("sockeye").chain(words.iter().map(String::as_str)));
                assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
                seen += 1;
            }
        }
        assert!(seen > 15, "only {seen} examples were found");
    }

    /// Splits a line into words as a shell does.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn a_switch_needs_no_value() {
        let Command::Serve(serve) = parse(&["--allow-eio3", "--log-events", "false"]) else { panic!("it serves") };
        let values = |text: &str| Raw::Many(vec![text.into()]);
        assert_eq!(serve.options.0, [("log_events", values("false")), ("allow_eio3", values("true"))]);
    }

    #[test]
    fn serving_needs_no_command() {
        for arguments in [
            &["--listen", "a:1", "--listen", "b:2", "--config", "x.toml"][..],
            &["serve", "--listen", "a:1", "--listen", "b:2", "--config", "x.toml"],
        ] {
            let Command::Serve(serve) = parse(arguments) else { panic!("{arguments:?} serves") };
            assert_eq!(serve.config, Some(PathBuf::from("x.toml")));
            assert_eq!(serve.options.0, [("listen", Raw::Many(vec!["a:1".into(), "b:2".into()]))]);
        }
        assert!(matches!(parse(&["config"]), Command::Config));
    }
}
