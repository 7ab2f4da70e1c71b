use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command as ClapCommand, FromArgMatches, Parser, Subcommand};

use crate::settings::{DEFINITIONS, Raw};

/// A realtime and chat server that speaks Socket.IO and plain WebSocket.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
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
}

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
            command.arg(arg)
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
