//! The server as its operator sees it: start, pages, mistakes, stop.
mod harness;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
    time::{Duration, Instant},
};

use harness::{Program, run};

#[test]
fn the_banner_names_every_address_within_two_seconds() {
    // A machine that is busy with other tests may delay one start, but not all of them.
    let mut program = Program::start(&[]);
    for _ in 0..4 {
        if program.started_within >= Duration::from_secs(2) {
            program = Program::start(&[]);
        }
    }
    assert!(program.started_within < Duration::from_secs(2), "{:?}", program.started_within);
    let address = &program.address;
    let expected = [
        env!("CARGO_PKG_VERSION"),
        &format!("http://{address}/\n"),
        &format!("http://{address}/monitor\n"),
        &format!("ws://{address}/ws/"),
        "transports ",
        "bus ",
        "store ",
        "identity ",
    ];
    for part in expected {
        assert!(program.banner.contains(part), "{part:?} in {}", program.banner);
    }
}

#[test]
fn the_pages_the_client_library_and_the_health_check_are_served() {
    let program = Program::start(&[]);
    for (path, part) in [
        ("/", "socket.io.js"),
        ("/monitor", "monitor.js"),
        ("/chat.js", "import"),
        ("/socket.io/socket.io.js", "Socket.IO v4"),
        ("/socket.io/LICENSE", "MIT"),
        ("/healthz", "ok"),
    ] {
        let (head, body) = program.get(path);
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(String::from_utf8(body).unwrap().contains(part), "{path}");
    }
    let (head, _) = program.get("/");
    assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
    let (head, body) = program.http("HEAD", "/", &[]);
    assert!(head.starts_with("http/1.1 200 ") && body.is_empty(), "{head}");
    let etag = head.split_once("etag: ").unwrap().1.split_once("\r\n").unwrap().0.to_owned();
    let (head, body) = program.http("GET", "/", &[("If-None-Match", &etag)]);
    assert!(head.starts_with("http/1.1 304 ") && body.is_empty(), "{head}");
    let (head, _) = program.get("/no-such-page");
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    let (head, _) = program.get("/ws/");
    assert!(head.starts_with("http/1.1 426 "), "{head}");
}

#[test]
fn an_invalid_setting_is_explained_and_ends_the_program() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let config = std::env::temp_dir().join(format!("sockeye-test-{}.toml", std::process::id()));
    std::fs::write(&config, "lisen = [\"127.0.0.1:0\"]\n").unwrap();
    let config = config.to_str().unwrap();
    let mistakes: [(&[&str], &[&str]); 7] = [
        (&["--listen", &taken], &[&taken, "in use", "--listen"]),
        (&["serve", "--config", config], &[config, "`lisen`", "did you mean `listen`?"]),
        (&["--listen", "0.0.0.0:0"], &["0.0.0.0:0", "`listen`", "`identity`", "`development`"]),
        (&["--log", "loud"], &["option --log", "`loud`", "off, error, warn, info, debug, trace"]),
        (&["--log", "sockeye=loud"], &["option --log", "`loud`", "off, error, warn, info, debug, trace"]),
        (&["--ping-interval", "25"], &["--ping-interval", "25s"]),
        (&["--pin-interval", "25s"], &["--ping-interval"]),
    ];
    for (arguments, parts) in mistakes {
        let output = run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?} prints no banner");
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {part:?} in {text}");
        }
    }
    std::fs::remove_file(config).unwrap();
}

#[test]
fn an_unknown_environment_variable_is_refused() {
    let output = harness::sockeye(&[]).env("SOCKEYE_LISTN", "127.0.0.1:0").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("did you mean SOCKEYE_LISTEN?"), "{text}");
}

#[test]
fn a_page_of_another_site_cannot_connect() {
    let program = Program::start(&[]);
    let path = "/socket.io/?EIO=4&transport=polling";
    let (head, _) = program.http("GET", path, &[("Origin", "http://evil.example")]);
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    let (head, _) = program.http("GET", path, &[("Origin", "http://localhost:5173")]);
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(program.websocket("/ws/", &[("origin", "http://evil.example")]).is_err());
    assert!(program.websocket("/ws/", &[("origin", "http://localhost:5173")]).is_ok());
}

#[test]
fn a_page_whose_name_was_made_to_resolve_to_this_machine_is_refused() {
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let requests: [(&str, &[(&str, &str)]); 8] = [
        ("/socket.io/?EIO=3&transport=polling", &[("token", "alice")]),
        ("/socket.io/?EIO=4&transport=polling", &[("token", "alice")]),
        ("/socket.io/?EIO=3&transport=websocket", &upgrade),
        ("/socket.io/?EIO=4&transport=websocket", &upgrade),
        ("/socket.io/socket.io.js", &[]),
        ("/ws/", &upgrade),
        ("/ws/alice/", &upgrade),
        ("/", &[]),
    ];
    let program = Program::start(&["--allow-eio3", "--allowed-hosts", "chat.test"]);
    let port = program.address.rsplit_once(':').unwrap().1;
    for (path, headers) in requests {
        for (host, is_admitted) in [
            (format!("evil.example:{port}"), false),
            ("localhost.evil.example".into(), false),
            (format!("localhost:{port}"), true),
            (program.address.clone(), true),
            (format!("chat.test:{port}"), true),
        ] {
            let headers: Vec<_> = headers.iter().copied().chain([("Host", host.as_str())]).collect();
            let status = program.status(path, &headers);
            assert_eq!(status == 403, !is_admitted, "{path} of {host}: {status}");
            assert!(status == 403 || status == 200 || status == 101, "{path} of {host}: {status}");
        }
    }
    let every = Program::start(&["--allowed-hosts", "*"]);
    assert_eq!(every.status("/", &[("Host", "evil.example")]), 200);
}

#[test]
fn a_log_reader_that_is_paused_does_not_stop_the_server() {
    let program = Program::start_logging_to(Stdio::piped(), &["--log", "debug"]);
    let (mut socket, _) = program.join("/imchat", "{}");
    // About 2 MiB of log: more than the pipe and the program hold together.
    for number in 0..8_000 {
        socket.send(&format!("40/{}-{number},", "unknown".repeat(14)));
        while !socket.receive().starts_with("44/unknown") {}
    }
    let (head, _) = program.get("/healthz");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let (mut monitor, _) = program.join("/test", "{}");
    let sample = monitor.event("server_response");
    assert!(sample["log"]["dropped"].as_u64().unwrap() > 0, "{sample}");
}

#[cfg(unix)]
#[test]
fn messages_that_clients_repeat_are_left_out_of_the_log_and_counted() {
    let program = Program::start_logging_to(Stdio::piped(), &[]);
    let (mut socket, _) = program.join("/imchat", "{}");
    for number in 0..1_000 {
        socket.send(&format!("40/unknown-{number},"));
        while !socket.receive().starts_with("44/unknown") {}
        assert!(program.websocket("/ws/%00/", &[]).is_err());
        let (_, refusal) = program.join("/", r#"{"token":"\u0000"}"#);
        assert!(refusal["message"].is_string(), "{refusal}");
    }
    let (mut monitor, _) = program.join("/test", "{}");
    let sample = monitor.event("server_response");
    assert!(sample["log"]["left_out"].as_u64().unwrap() >= 3_000 - 3 * 16, "{sample}");
    let log = program.log();
    for part in ["its namespace does not exist", "refused a plain WebSocket", "refused a client error"] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
    assert!(log.lines().count() < 100, "{log}");
}

#[cfg(unix)]
#[test]
fn a_signal_closes_all_connections_and_ends_the_program() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&["--drain-limit", "5s"]);
        let (mut socket, _) = program.join("/imchat", "{}");
        let mut plain = program.websocket("/ws/alice/", &[]).unwrap();
        program.signal(signal);
        let (code, reason) = plain.closed();
        assert_eq!(code, 1001, "{reason}");
        // After a DISCONNECT packet the client would not reconnect, so only the transport may end.
        loop {
            match socket.socket.read() {
                Ok(tungstenite::Message::Text(text)) => assert!(!text.starts_with("41"), "{text}"),
                Ok(tungstenite::Message::Close(_)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        drop((socket, plain));
        assert_eq!(program.wait().code(), Some(0), "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn connections_that_have_said_goodbye_do_not_delay_the_end() {
    /// A Close frame of a client, with code 1000.
    const GOODBYE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    let mut program = Program::start(&["--drain-limit", "1h"]);
    let plain = ["/ws/", "/ws/alice/"].map(|path| program.websocket(path, &[]).unwrap());
    let mut sockets = Vec::from(plain);
    sockets.push(program.join("/imchat", "{}").0);
    // Each client keeps its side of the connection open.
    for socket in &mut sockets {
        let tungstenite::stream::MaybeTlsStream::Plain(stream) = socket.socket.get_mut() else { panic!("no TLS") };
        stream.write_all(&GOODBYE).unwrap();
    }
    let _without_a_request = TcpStream::connect(&program.address).unwrap();
    let begun = Instant::now();
    program.signal("TERM");
    assert_eq!(program.wait().code(), Some(0));
    // Connections that have not said goodbye are given `close_timeout`, which is two seconds.
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let mut program = Program::start(&["--drain-limit", "1h"]);
    // A request whose body never arrives delays the end of the program.
    let (_, open) = program.get("/socket.io/?EIO=4&transport=polling");
    let sid = serde_json::from_slice::<serde_json::Value>(&open[1..]).unwrap()["sid"].as_str().unwrap().to_owned();
    let mut lingering = TcpStream::connect(&program.address).unwrap();
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    write!(lingering, "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    let mut go_on = [0; 25];
    lingering.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    program.signal("INT");
    while TcpStream::connect(&program.address).is_ok() {
        std::thread::yield_now();
    }
    program.signal("INT");
    assert_eq!(program.wait().code(), Some(130));
}
