use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command as ClapCommand, FromArgMatches, Parser, Subcommand};

use crate::{
    command::{connect::Connect, doctor::Doctor, emit::Emit},
    settings::{DEFINITIONS, Raw},
};

/// A realtime and chat server that speaks Socket.IO and plain WebSocket, and a client for the command line.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, args_conflicts_with_subcommands = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server; this is also what happens without a command.
    Serve(Serve),
    /// Print a sample configuration file with every setting and its default.
    Config,
    /// Talk to a Socket.IO server: type events, see what comes.
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect(Box<Connect>),
    /// Send an event to a Socket.IO server, or one for each line of standard input.
    #[command(after_help = EMIT_EXAMPLES)]
    Emit(Box<Emit>),
    /// Find out why clients cannot connect, or whether this machine can carry a server.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Box<Doctor>),
}

const EXAMPLES: &str = r#"Examples:
  sockeye                                            serve the chat on this machine, port 8000
  sockeye --listen 127.0.0.1:9000                    ... on another port
  sockeye config > sockeye.toml                      write down every setting, to be changed
  sockeye connect localhost:8000 --auth '{"token": "alice"}'
  sockeye emit localhost:8000 chat '{"to": "bob", "message": "hi"}' --ack
  sockeye doctor https://example.org                 find out why clients cannot connect

`sockeye <command> --help` has more of them."#;

const CONNECT_EXAMPLES: &str = r#"Examples:
  sockeye connect localhost:3000                     then type: chat "hello" {"room": 1}
  sockeye connect https://example.org/imchat --auth '{"token": "secret"}'
  sockeye connect localhost:3000 --transport websocket --header 'Authorization: Bearer secret'
  sockeye connect localhost:3000 --listen | jq .args
  echo 'ack sum 1 2' | sockeye connect localhost:3000

At the prompt, `help` says what can be typed. An event is its name and then its arguments as
JSON; with `?` behind the name, or `ack ` before it, the server's answer is shown. What the
server wants acknowledged is, without arguments. Where standard input is no terminal, lines are
read from it in the same way; at its end, answers are waited for.

--listen prints objects such as
{"time":"2026-01-31T12:00:00.000Z","namespace":"/","event":"chat","args":["hello"]}. Binary data,
there and in what is sent, is {"$binary": "<base64>"}.

Exit status: 0 left as asked, by `quit`, the end of the input, Ctrl-C or SIGTERM; 1 no
connection, or it ended for good; 2 an option or a piped line that cannot be understood; 3 an
acknowledgement asked for by a piped line that did not come."#;

const EMIT_EXAMPLES: &str = r#"Examples:
  sockeye emit localhost:3000 chat '"hello"'
  sockeye emit localhost:3000 order '{"id": 7}' 2.5 --ack --timeout 3
  sockeye emit https://example.org/imchat chat '"hello"' --auth '{"token": "secret"}'
  sockeye emit localhost:3000 import --stdin --ack < orders.jsonl

Without --ack, success means that everything was handed to the network and the connection closed
in order; that the server has handled it, only --ack tells.

With --stdin, lines are sent in order; empty ones are skipped. With --ack, the answers are
printed in the same order, and sending stops at the first line that is not acknowledged. Binary
data is {"$binary": "<base64>"}.

Exit status: 0 done; 1 could not connect or send, or the connection was lost; 2 an option,
argument or line that cannot be understood; 3 an acknowledgement did not come in time; 130
interrupted."#;

const DOCTOR_EXAMPLES: &str = r#"Examples:
  sockeye doctor                                     can this machine carry a server?
  sockeye doctor https://example.org                 would a client be let in?
  sockeye doctor https://example.org/imchat --auth '{"token": "secret"}'
  sockeye doctor https://api.example.org --origin https://www.example.org
                                                     would a page of that site be let in?

Exit status: 0 no problem found, though there may be warnings; 1 a problem found; 2 an option
that cannot be understood."#;

/// How to run the server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The TOML file with the settings; `SOCKEYE_CONFIG` names it, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The settings that were given as options, each by its name.
#[derive(Debug, Default)]
pub(crate) struct Options(pub(crate) Vec<(&'static str, Raw)>);

impl Cli {
    /// The command, given or implied.
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
    fn the_definition_is_sound_and_lists_every_setting() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for definition in DEFINITIONS {
            assert!(help.contains(&format!("--{} ", definition.name.replace('_', "-"))), "{}", definition.name);
        }
    }

    #[test]
    fn every_command_has_examples_that_it_understands() {
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

    /// Cuts a line as a shell does.
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
