//! Starts the program and talks to it.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses what it needs")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _, stream::MaybeTlsStream};

/// How long anything may take before the test fails.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The program, running. It is killed when dropped.
pub struct Program {
    child: Child,
    pub banner: String,
    pub address: String,
    pub started_within: Duration,
}

/// The program as a command whose environment has no settings in it.
pub fn sockeye(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOCKEYE_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    let mut child =
        sockeye(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let status = wait(&mut child);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status, stdout, stderr }
}

impl Program {
    /// Starts the program on a port of the system's choice.
    pub fn start(options: &[&str]) -> Self {
        Self::start_logging_to(Stdio::null(), options)
    }

    /// Starts the program with this standard error. Nobody reads a pipe before [`Program::log`].
    pub fn start_logging_to(stderr: Stdio, options: &[&str]) -> Self {
        let start = Instant::now();
        let mut child = sockeye(&["--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            let Ok(line) = lines.recv_timeout(LIMIT) else {
                panic!("the program ended or said no more than: {banner}")
            };
            banner.push_str(&line);
            banner.push('\n');
        }
        let started_within = start.elapsed();
        let address = banner.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_owned();
        Self { child, banner, address, started_within }
    }

    /// The answer to a request: head and body.
    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let address = &self.address;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the head is complete");
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
    }

    /// The status of the answer to a GET whose headers include `Host`.
    pub fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.http("GET", path, &[])
    }

    /// Opens a plain WebSocket.
    pub fn websocket(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        match tungstenite::client(request, MaybeTlsStream::Plain(stream)) {
            Ok((socket, _)) => Ok(Socket { socket, next_ack: 0, namespace: String::new(), kept: Vec::new() }),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    /// Joins a namespace of Socket.IO; the answer is CONNECT or CONNECT_ERROR.
    pub fn join(&self, namespace: &str, auth: &str) -> (Socket, Value) {
        let mut socket = self.websocket("/socket.io/?EIO=4&transport=websocket", &[]).unwrap();
        assert!(socket.receive().starts_with('0'));
        socket.namespace = if namespace == "/" { String::new() } else { format!("{namespace},") };
        socket.send(&format!("40{}{auth}", socket.namespace));
        let answer = socket.receive();
        let json = answer[2..].trim_start_matches(&socket.namespace);
        (socket, serde_json::from_str(json).unwrap())
    }

    /// Joins the chat as a user, and forgets the welcome.
    pub fn user(&self, name: &str) -> Socket {
        let (mut socket, answer) = self.join("/imchat", &serde_json::json!({ "token": name }).to_string());
        assert!(answer["sid"].is_string(), "{answer}");
        assert_eq!(socket.event("message")["user"], name);
        while socket.event("presence").get("online").is_none() {}
        socket
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Ends the program and reads what it has logged into its pipe.
    #[cfg(unix)]
    pub fn log(mut self) -> String {
        let mut stderr = self.child.stderr.take().expect("a program that logs to a pipe");
        self.signal("TERM");
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    }

    /// Waits for the program to end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A WebSocket, plain or with Socket.IO on it.
pub struct Socket {
    pub socket: WebSocket<MaybeTlsStream<TcpStream>>,
    namespace: String,
    next_ack: u64,
    /// Events that came while something else was waited for.
    kept: Vec<(String, Value)>,
}

impl Socket {
    pub fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next text.
    pub fn receive(&mut self) -> String {
        loop {
            match self.socket.read().expect("a message in time") {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The next text as JSON.
    pub fn json(&mut self) -> Value {
        serde_json::from_str(&self.receive()).unwrap()
    }

    /// The code and the reason with which the other side closes.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.socket.read().expect("a close in time") {
                Message::Close(Some(close)) => return (close.code.into(), close.reason.to_string()),
                Message::Close(None) => panic!("the close has no code"),
                _ => {}
            }
        }
    }

    /// The first argument of the next event of this name.
    pub fn event(&mut self, name: &str) -> Value {
        if let Some(index) = self.kept.iter().position(|(kept, _)| kept == name) {
            return self.kept.remove(index).1;
        }
        loop {
            let text = self.receive();
            let Some((event, data)) = self.parse_event(&text) else { continue };
            if event == name {
                return data;
            }
            self.kept.push((event, data));
        }
    }

    /// Emits an event and gives the acknowledgement.
    pub fn ask(&mut self, event: &str, data: &Value) -> Value {
        let id = self.next_ack;
        self.next_ack += 1;
        self.send(&format!("42{}{id}[{},{data}]", self.namespace, Value::from(event)));
        let head = format!("43{}{id}", self.namespace);
        loop {
            let text = self.receive();
            if let Some(arguments) = text.strip_prefix(&head) {
                return serde_json::from_str::<Vec<Value>>(arguments).unwrap().remove(0);
            }
            self.kept.extend(self.parse_event(&text));
        }
    }

    fn parse_event(&self, text: &str) -> Option<(String, Value)> {
        let arguments = text.strip_prefix(&format!("42{}", self.namespace))?;
        let mut arguments: Vec<Value> = serde_json::from_str(arguments).unwrap();
        let data = if arguments.len() > 1 { arguments.swap_remove(1) } else { Value::Null };
        Some((arguments[0].as_str().unwrap().to_owned(), data))
    }
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LIMIT {
            let _ended = child.kill();
            panic!("the program did not end in time");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
