//! A Redis server that a test starts on a free port in a folder of its own, and that ends with the test.
#![allow(dead_code, reason = "no test needs all of it")]
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--save", "", "--appendonly", "no"];
        all.extend(arguments);
        Self::start_in(tempfile::tempdir().unwrap(), &all)
    }

    /// Starts a sentinel with these lines of configuration.
    pub(crate) fn sentinel(lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, lines.join("\n")).unwrap();
        Self::start_in(folder, &[file.to_str().unwrap(), "--sentinel"])
    }

    fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { port: 0, folder, arguments, process: None };
        while server.port == 0 || !server.try_to_start() {
            server.port = free_port();
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn restart(&mut self) {
        assert!(self.try_to_start(), "redis-server does not start again");
    }

    /// Waits until it listens. False if it ends instead, as when another process has taken the port.
    fn try_to_start(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(&self.arguments).args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"]);
        command.arg(self.folder.path()).stdout(Stdio::null());
        let mut process = command.spawn().expect("redis-server is installed");
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
        true
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops the process without ending it, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) {
        let id = self.process.as_ref().unwrap().id().to_string();
        let signal = if paused { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// What it answers to a command.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output();
        String::from_utf8(output.expect("redis-cli is installed").stdout).unwrap()
    }

    /// Waits until its answer to a command contains a text.
    pub(crate) fn until(&self, command: &[&str], expected: &str) {
        let start = Instant::now();
        while !self.ask(command).contains(expected) {
            assert!(start.elapsed() < Duration::from_secs(30), "{expected}: {}", self.ask(command));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
