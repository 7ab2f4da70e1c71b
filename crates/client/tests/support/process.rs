//! Servers of other makers, as processes.
// Each test file uses its part of this.
#![allow(dead_code)]
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A process that prints the port it listens on; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the server prints its port");
        Self { child, address: ([127, 0, 0, 1], port).into() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops or continues it without its noticing.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The reference server in Node.js, if it is installed: in `e2e/`, or where `SOCKEYE_NODE_MODULES` says.
pub(crate) fn node(settings: serde_json::Value) -> Option<Process> {
    let e2e = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/node_modules");
    let modules = std::env::var_os("SOCKEYE_NODE_MODULES").map_or_else(|| PathBuf::from(e2e), PathBuf::from);
    if !modules.join("socket.io").exists() || !modules.join("socket.io-2").exists() {
        eprintln!("skipped: socket.io is not installed in {}", modules.display());
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/server.mjs");
    Some(Process::start(Command::new("node").arg(script).arg(modules).arg(settings.to_string())))
}

/// The server of python-socketio, if it is installed: in `e2e/.venv`, or for the interpreter `SOCKEYE_PYTHON`.
pub(crate) fn python() -> Option<Process> {
    let venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/.venv/bin/python");
    let python = std::env::var_os("SOCKEYE_PYTHON").map_or_else(|| PathBuf::from(venv), PathBuf::from);
    if !python.exists() {
        eprintln!("skipped: {} does not exist", python.display());
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/server.py");
    Some(Process::start(Command::new(python).arg(script)))
}
