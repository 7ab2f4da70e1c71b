//! The program `sockeye`: a real-time and chat server for Socket.IO and plain WebSocket clients, and a client for the
//! command line.
mod chat;
mod cli;
mod command;
mod gateway;
mod identity;
mod log;
mod names;
mod pages;
mod serve;
mod settings;
mod shutdown;

use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use clap::Parser as _;
use sockeye_cluster::{Cluster, JoinError};

use cli::{Cli, Command, Serve};
use command::{CommandError, Status};
use serve::{App, Banner, listen};
use settings::Settings;
use shutdown::Shutdown;

fn main() -> ExitCode {
    let command = Cli::parse().into_command();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sockeye: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(run(command));
    // Threads that still block, as in a DNS request that nobody answers, must not delay the exit.
    runtime.shutdown_background();
    status
}

async fn run(command: Command) -> ExitCode {
    let result = match command {
        Command::Serve(options) => serve(options).await,
        Command::Config => print(settings::sample()),
        Command::Connect(connect) => return exit_code(command::connect::run(*connect).await),
        Command::Emit(emit) => return exit_code(command::emit::run(*emit).await),
        Command::Doctor(doctor) => return exit_code(command::doctor::run(*doctor).await),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints why a command failed, and returns its exit status.
fn exit_code(result: Result<Status, CommandError>) -> ExitCode {
    let status = result.unwrap_or_else(|error| {
        let status = error.status();
        if status != Status::Done {
            eprintln!("sockeye: {error}");
        }
        status
    });
    status.into()
}

/// Runs the server until a signal stops it.
async fn serve(Serve { config, options }: Serve) -> Result<(), Error> {
    let settings = Settings::load(config, env::vars_os(), &options.0)?;
    let _log = log::start(&settings.log)?;
    tokio::spawn(log::report_left_out());
    let shutdown = Shutdown::new().map_err(Error::Signals)?;
    let listeners = listen::listen(&settings).await?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(|listener| listener.local_addr()).collect::<Result<_, _>>().map_err(Error::Address)?;
    let cluster = join(&settings)?;
    print(format!("{}\n", Banner { addresses: &addresses, settings: &settings, cluster: cluster.as_ref() }))?;
    let app = App::new(&settings, &addresses, cluster);
    app.serve(listeners, shutdown.requested()).await;
    Ok(())
}

/// Joins the buses of the settings, if there are any. It does not wait until they are up.
fn join(settings: &Settings) -> Result<Option<Cluster>, Error> {
    let buses = settings.buses().map_err(Error::Bus)?;
    if buses.is_empty() {
        return Ok(None);
    }
    let builder = Cluster::builder().bridge(settings.bus_bridge);
    Ok(Some(buses.into_iter().fold(builder, |builder, bus| builder.bus(bus)).join()?))
}

/// Prints to standard output. It is not an error if the reader has closed it.
fn print(text: String) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Log(#[from] log::LogError),
    #[error(transparent)]
    Listen(#[from] listen::ListenError),
    #[error("the settings are not valid: {0}")]
    Bus(String),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("cannot listen to the signals that stop the program: {0}")]
    Signals(io::Error),
    #[error("cannot find out the addresses of the listeners: {0}")]
    Address(io::Error),
    #[error("cannot print: {0}")]
    Output(io::Error),
}
