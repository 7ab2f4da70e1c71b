//! Runs one operation of the codecs or of a server a given number of times, so that `bench/instructions` can count what
//! one costs.
//!
//! ```text
//! sockeye-bench codecs                       lists the operations of the codecs
//! sockeye-bench codec NAME COUNT             runs one of them COUNT times
//! sockeye-bench serve PORT                   serves on 127.0.0.1 until standard input ends
//! sockeye-bench load OPERATION PORT COUNT    asks that server for COUNT operations: connect, echo or broadcast
//! ```

use std::{env, error::Error, process::ExitCode};

mod codecs;
mod load;
mod server;

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codecs"] => {
            for name in codecs::names() {
                println!("{name}");
            }
            Ok(())
        }
        ["codec", name, count] => codecs::run(name, count.parse()?),
        ["serve", port] => server::serve(port.parse()?),
        ["load", operation, port, count] => load::run(operation, port.parse()?, count.parse()?),
        _ => Err("name an operation: codecs, codec NAME COUNT, serve PORT, or load OPERATION PORT COUNT".into()),
    }
}
