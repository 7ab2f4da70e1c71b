//! `sockeye connect`, `emit` and `doctor` as somebody at a shell meets them: errors, advice and exit statuses.
mod harness;

use std::{
    io::Write as _,
    net::TcpListener,
    process::{Output, Stdio},
    time::Duration,
};

use harness::{run, sockeye};
use sockeye::{Ack, Graceful, Server, Socket, listen};
use tokio::runtime::Runtime;

/// A server whose events end connections in ways of their own.
struct Peer {
    _runtime: Runtime,
    url: String,
}

impl Peer {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let url = runtime.block_on(async {
            let server = Server::new();
            for name in ["/", "/über/房间"] {
                let namespace = server.of(name);
                namespace.on("add", async |sockeye::Args((a, b)): sockeye::Args<(i64, i64)>| a + b);
                namespace.on("answer and leave", async |socket: Socket, ack: Ack| {
                    ack.send("answered").unwrap();
                    socket.close();
                });
                namespace.on("leave", async |socket: Socket, _ack: Ack| socket.close());
            }
            let listeners = listen("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listeners[0].local_addr().unwrap());
            let forever = Graceful { stop: std::future::pending(), limit: Duration::ZERO };
            tokio::spawn(async move { server.serve_with(listeners, axum::Router::new(), forever).await });
            url
        });
        Self { _runtime: runtime, url }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs the program with lines on its standard input.
fn run_with(arguments: &[&str], lines: &str) -> Output {
    let mut child = sockeye(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_version_names_the_program() {
    let output = run(&["--version"]);
    assert_eq!(stdout(&output), format!("sockeye {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_namespace_of_an_address_is_its_path_as_it_is_written() {
    let peer = Peer::start();
    let output = run(&["emit", &format!("{}/über/房间", peer.url), "add", "1", "2", "--ack"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "[3]\n"), "{}", stderr(&output));
}

#[test]
fn an_address_copied_from_a_browsers_network_log_opens_a_session_of_its_own() {
    let peer = Peer::start();
    for query in ["EIO=4&transport=polling&t=abc&sid=AAAA", "sid=AAAA", "EIO=4&transport=websocket&sid=AAAA"] {
        let url = format!("{}/socket.io/?{query}", peer.url);
        let output = run(&["emit", &url, "add", "1", "2", "--ack"]);
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(0), "[3]\n"),
            "{query}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn several_transports_may_be_named() {
    let peer = Peer::start();
    for transports in ["polling,websocket", "websocket,polling", "websocket", "polling"] {
        let output = run(&["emit", &peer.url, "add", "1", "2", "--ack", "--transport", transports]);
        assert_eq!(output.status.code(), Some(0), "{transports}: {}", stderr(&output));
    }
}

#[test]
fn an_answer_counts_even_if_the_server_then_disconnects() {
    let peer = Peer::start();
    for _ in 0..5 {
        let output = run(&["emit", &peer.url, "answer and leave", "--ack"]);
        let (status, text) = (output.status.code(), stdout(&output));
        assert_eq!((status, text.as_str()), (Some(0), "[\"answered\"]\n"), "{}", stderr(&output));
        let output = run_with(&["emit", &peer.url, "answer and leave", "--ack", "--stdin"], "[]\n");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let output = run_with(&["connect", &peer.url], "\"answer and leave\"?\n");
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    }
    let output = run(&["emit", &peer.url, "leave", "--ack"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let output = run_with(&["connect", &peer.url], "leave?\n");
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
}

/// Settings of the client library, for which the program has options.
const LIBRARY: [&str; 12] = [
    "root_certificate",
    "engine_version",
    "EngineVersion",
    "transports(",
    "`timeout`",
    "`path`",
    "`header`",
    "`parser`",
    "`proxy`",
    "auth_with",
    "send_buffer",
    "max_payload",
];

#[test]
fn errors_name_options_of_the_program_and_give_each_hint_once() {
    let peer = Peer::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let certificate = std::env::temp_dir().join(format!("sockeye-commands-{}.pem", std::process::id()));
    std::fs::write(&certificate, "no certificate").unwrap();
    let secure = peer.url.replace("http://", "https://");
    let nowhere = format!("{}/nowhere", peer.url);
    let large = format!("\"{}\"", "x".repeat(20 << 20));
    let lines = run_with(&["emit", &peer.url, "add", "--stdin"], &large);
    assert_eq!(lines.status.code(), Some(1), "{}", stderr(&lines));
    let cases: [(Output, &[&str]); 9] = [
        (lines, &["larger than"]),
        (run(&["emit", &secure, "add"]), &["http://", "--ca", "--insecure"]),
        (run(&["emit", &peer.url, "add", "--path", "/x"]), &["--path", "/socket.io/"]),
        (run(&["emit", &peer.url, "add", "--eio", "3"]), &["--eio"]),
        (run(&["emit", &peer.url, "add", "--parser", "msgpack"]), &["--parser"]),
        (run(&["emit", &nowhere, "add"]), &["/nowhere", "--namespace"]),
        (run(&["emit", &silent, "add", "--timeout", "0.3"]), &["300ms", "--timeout"]),
        (run(&["emit", &peer.url, "add", "--ca", certificate.to_str().unwrap()]), &["--ca", "PEM"]),
        (run(&["connect", "127.0.0.1:1"]), &["refused", "port", "--proxy"]),
    ];
    std::fs::remove_file(certificate).unwrap();
    for (output, parts) in cases {
        let text = stderr(&output);
        assert!(!output.status.success(), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        for name in LIBRARY {
            assert!(!text.contains(name), "{name:?} is of the library: {text}");
        }
        for option in ["--ca", "--insecure", "--path", "--eio", "--parser", "--namespace", "--timeout", "--proxy"] {
            assert!(text.matches(option).count() <= 1, "{option} more than once: {text}");
        }
    }
}

#[test]
fn advice_can_be_pasted_into_a_shell() {
    let output = run(&["emit", "http://127.0.0.1:1/a?b=1&c='d'", "x"]);
    let text = stderr(&output);
    assert!(text.contains(r"`sockeye doctor 'http://127.0.0.1:1/a?b=1&c='\''d'\'''`"), "{text}");
    let text = stderr(&run(&["emit", "127.0.0.1:1", "x", "hello"]));
    assert!(text.contains(r#": '"hello"'"#), "{text}");
    let text = stderr(&run(&["emit", "127.0.0.1:1", "x"]));
    assert!(text.contains("`sockeye doctor 127.0.0.1:1`"), "{text}");
}
