//! Servers of other makers, and the proxy that breaks connections, as processes.
// Each test file uses its part of this.
#![allow(dead_code)]
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use serde_json::Value;

/// A process that prints the port it listens on; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
    /// Reads what it prints, until the end.
    reader: Option<JoinHandle<()>>,
}

/// A server to be started with settings in JSON.
pub(crate) type Start = fn(Value) -> Process;

/// The servers that the client is tested against.
pub(crate) const SERVERS: [(&str, Start); 2] = [("socket.io", node), ("python-socketio", python)];

/// Starts a server with each of these settings, none of which waits for another.
pub(crate) fn side_by_side<const COUNT: usize>(start: Start, settings: [Value; COUNT]) -> [Process; COUNT] {
    thread::scope(|scope| {
        settings.map(|settings| scope.spawn(move || start(settings))).map(|started| started.join().unwrap())
    })
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port: u16 = match lines.next() {
            Some(Ok(line)) => line.trim().parse().expect("its first line is its port"),
            end => panic!("{command:?} ended before it listened, or closed its output: {end:?}"),
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = said.clone();
        let reader = thread::spawn(move || lines.map_while(Result::ok).for_each(|line| log.lock().push(line)));
        Self { child, address: ([127, 0, 0, 1], port).into(), said, reader: Some(reader) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What follows this word in the lines that it has printed so far.
    pub(crate) fn said(&self, word: &str) -> Vec<String> {
        let said = self.said.lock();
        said.iter().filter_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned()).collect()
    }

    /// The numbers of the `seq` events that the server has handled, in order.
    pub(crate) fn handled(&self) -> Vec<u32> {
        let number = |args: &String| serde_json::from_str::<Vec<Value>>(args).ok()?.first()?.as_u64()?.try_into().ok();
        self.said("seq ").iter().map(|args| number(args).expect("a number comes first")).collect()
    }

    /// Stops or continues it without its noticing.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Kills it. What it had printed by then can all be read afterwards.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().into_iter().for_each(|reader| reader.join().unwrap());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The reference server in Node.js.
pub(crate) fn node(settings: Value) -> Process {
    Process::start(Command::new(nodejs()).arg(e2e("servers/reference.mjs")).arg(settings.to_string()))
}

/// The server of python-socketio, with version 2 its last one of Engine.IO 3; `E2E_PYTHON` and `E2E_PYTHON_EIO3` name
/// interpreters that have it.
pub(crate) fn python(settings: Value) -> Process {
    let (variable, venv, lock) = if settings["version"] == 2 {
        ("E2E_PYTHON_EIO3", ".venv-eio3", "requirements-eio3.txt")
    } else {
        ("E2E_PYTHON", ".venv", "requirements.txt")
    };
    let python = std::env::var_os(variable).map_or_else(|| e2e(venv).join("bin/python"), PathBuf::from);
    assert!(
        python.exists(),
        "{} does not exist; `./test` installs it, or by hand: python3 -m venv e2e/{venv} && \
         e2e/{venv}/bin/pip install --require-hashes -r e2e/{lock}",
        python.display()
    );
    Process::start(Command::new(python).arg(e2e("servers/python_socketio.py")).arg(settings.to_string()))
}

/// The proxy in `e2e/fault_proxy.mjs`, which says what its settings are.
pub(crate) fn fault_proxy(settings: Value) -> Process {
    Process::start(Command::new(nodejs()).arg(e2e("fault_proxy.mjs")).arg(settings.to_string()))
}

fn nodejs() -> &'static str {
    let modules = e2e("node_modules");
    assert!(
        modules.join("socket.io").exists() && modules.join("socket.io-2").exists(),
        "socket.io is not installed in {}: run `npm ci --prefix e2e`, or `./test`",
        modules.display()
    );
    "node"
}

fn e2e(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e")).join(path)
}
