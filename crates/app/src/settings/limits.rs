//! Writes `docs/limits.md` from the limits' definitions. `WRITE_LIMITS=1 cargo test -p sockeye-app limits` writes the file.
use std::{fmt::Write as _, time::Duration};

use sockeye::{Config, EngineConfig, EngineMetrics, Metrics};
use sockeye_client::BufferLimits;

use super::{DEFINITIONS, Settings};

/// A limit of the library.
struct Limit {
    /// The field of `Config` or `EngineConfig`, which is also the name of the program's setting if there is one.
    name: &'static str,
    default: String,
    unit: &'static str,
    /// What happens at the limit.
    consequence: &'static str,
    /// The field of `Metrics` that counts it.
    metric: Option<&'static str>,
}

/// A default, as the table shows it.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for usize {
    fn shown(&self) -> String {
        match *self {
            Self::MAX => "none".into(),
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} Mi", bytes >> 20),
            bytes if bytes >= 1 << 12 && bytes.is_multiple_of(1 << 10) => format!("{} Ki", bytes >> 10),
            number => number.to_string(),
        }
    }
}

impl Shown for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        format!("{self:?}").trim_end_matches('s').into()
    }
}

macro_rules! limits {
    ($config:expr; $($name:ident [$unit:literal] $consequence:literal $($metric:ident)?;)+) => {
        vec![$(Limit {
            name: stringify!($name),
            default: $config.$name.shown(),
            unit: $unit,
            consequence: $consequence,
            metric: [$(stringify!($metric))?].first().copied(),
        },)+]
    };
}

fn engine_limits(config: &EngineConfig) -> Vec<Limit> {
    limits! { config;
        max_memory ["bytes"] "80 %: who holds more than an equal share is not read; 90 %: new sessions get 503; 100 %: the largest holder is closed" closed_for_memory;
        max_sessions ["sessions"] "refused with 503" over_max_sessions;
        max_sessions_per_address ["sessions"] "refused with 429" over_max_sessions_per_address;
        max_session_rate ["sessions a second"] "refused with 503" over_max_session_rate;
        max_session_rate_per_address ["sessions a second"] "refused with 429" over_max_session_rate_per_address;
        max_connections ["HTTP connections"] "answered with 503 and closed" over_max_connections;
        max_connections_per_address ["HTTP connections"] "answered with 429 and closed" over_max_connections_per_address;
        max_head_bytes ["bytes"] "refused with 431";
        handshake_bytes ["bytes"] "further headers are not kept; a longer target is refused" shortened_handshakes;
        max_payload ["bytes"] "a WebSocket is closed with 1009, a POST refused with 413" too_large;
        max_fragments ["frames"] "the WebSocket is closed with 1008" protocol_errors;
        outbox_bytes ["bytes"] "others' messages close a slow consumer; own answers hold up reading" slow_consumers;
        slow_consumer_timeout ["s"] "the session is closed" slow_consumers;
        ping_timeout ["s"] "the session is closed" ping_timeouts;
        upgrade_timeout ["s"] "the session goes on polling" failed_upgrades;
        tls_handshake_timeout ["s"] "the connection is closed" failed_tls_handshakes;
        head_timeout ["s"] "the connection is closed";
        write_timeout ["s"] "the connection is closed";
        close_timeout ["s"] "the connection is dropped with what still waits";
    }
}

fn server_limits(config: &Config) -> Vec<Limit> {
    limits! { config;
        connect_timeout ["s"] "the connection is closed" connect_timeouts;
        ack_timeout ["s"] "`emit_with_ack` fails";
        attachments_timeout ["s"] "the connection is closed" attachment_timeouts;
        max_namespaces ["namespaces of a connection"] "CONNECT is refused" namespaces_limited;
        max_child_namespaces ["namespaces"] "the longest empty one is removed, else CONNECT is refused" child_namespaces_limited;
        max_rooms ["rooms of a socket"] "`join` fails" rooms_limited;
        max_auth ["bytes"] "CONNECT is refused" auths_limited;
        max_pending_acks ["acknowledgements of a socket"] "`emit_with_ack` fails" acks_limited;
        max_event_rate ["events a second"] "the connection is read more slowly" rate_limited;
        max_attachments ["attachments of a packet"] "the connection is closed" protocol_violations;
        max_attachment_bytes ["bytes"] "the connection is closed" protocol_violations;
        max_depth ["levels"] "the connection is closed" protocol_violations;
        backlog_bytes ["bytes of a socket"] "the connection is not read";
    }
}

fn write_table(text: &mut String, title: &str, limits: &[Limit]) {
    let _infallible = writeln!(
        text,
        "\n## {title}\n\n| limit | default | unit | at the limit | metric | setting |\n|---|---|---|---|---|---|"
    );
    for Limit { name, default, unit, consequence, metric } in limits {
        let metric = metric.map_or("–".into(), |metric| format!("`{metric}`"));
        let setting = DEFINITIONS.iter().find(|definition| definition.name == *name);
        let setting = setting.map_or("–".into(), |setting| format!("`{name} = {}`", (setting.default)()));
        let _infallible = writeln!(text, "| `{name}` | {default} | {unit} | {consequence} | {metric} | {setting} |");
    }
}

/// What the limits of a Socket.IO session add up to.
fn session(config: &Config) -> Vec<(&'static str, usize)> {
    let engine = &config.engine;
    vec![
        ("a session and its handshake", 4 * 1024 + engine.handshake_bytes),
        ("an incomplete message or body, `max_payload`", engine.max_payload),
        (
            "a packet whose attachments are missing, `max_payload` and `max_attachment_bytes`",
            engine.max_payload + config.max_attachment_bytes,
        ),
        (
            "events that wait for handlers, `backlog_bytes` for each of `max_namespaces`",
            config.backlog_bytes * config.max_namespaces,
        ),
        ("what waits for the client, `outbox_bytes`, twice while it is about to take it", 2 * engine.outbox_bytes),
        ("payloads of CONNECT, `max_auth` for each of `max_namespaces`", config.max_auth * config.max_namespaces),
    ]
}

/// What the limits of an HTTP connection without a session add up to.
fn connection(config: &Config) -> Vec<(&'static str, usize)> {
    vec![
        ("an HTTP connection", 20 * 1024),
        ("an incomplete head, `max_head_bytes`, twice because buffers double", 2 * config.engine.max_head_bytes),
    ]
}

/// What the limits of a plain WebSocket of the program add up to.
fn plain(settings: &Settings) -> Vec<(&'static str, usize)> {
    vec![
        ("a plain WebSocket and its buffers", 4 * 1024 + 2 * 64 * 1024),
        ("an incomplete message, `max_payload`", settings.max_payload),
        ("what waits for the client, `outbox_bytes`", settings.outbox_bytes),
    ]
}

/// Writes what one connection and 1,000 of them can make a server hold.
fn write_sum(text: &mut String, title: &str, parts: &[(&'static str, usize)]) {
    let _infallible = writeln!(text, "\n### {title}\n\n| for | bytes at most |\n|---|---|");
    for (what, bytes) in parts {
        let _infallible = writeln!(text, "| {what} | {} |", bytes.shown());
    }
    let one: usize = parts.iter().map(|(_, bytes)| bytes).sum();
    let _infallible = writeln!(text, "| one in all | {} |\n| 1,000 of them | {} |", mib(one), mib(one * 1_000));
}

fn mib(bytes: usize) -> String {
    match bytes {
        0..0x10_0000 => format!("{} Ki", bytes.div_ceil(1 << 10)),
        _ => format!("{} Mi", bytes.div_ceil(1 << 20)),
    }
}

/// Writes what `bench/hostile --record` has measured.
fn write_measured(text: &mut String) {
    let measured: serde_json::Value =
        serde_json::from_str(include_str!("../../../../bench/hostile.json")).expect("bench/hostile.json is JSON");
    let _infallible = writeln!(
        text,
        "\n### Measured\n\n`bench/hostile --record` has measured the resident memory of the program over that of the idle \
         program, in MiB,\nwhile so many connections of one kind attack it, which are opened again if they are closed. The first \
         two columns have\nthe default limits, the last one `max_memory` of 64 MiB, a new server for each kind.\n\n\
         | connections | 1 | 1,000 | 5,000, 64 MiB |\n|---|---|---|---|"
    );
    for (kind, row) in measured.as_object().into_iter().flatten() {
        let cell = |trial: &str| row[trial].as_f64().map_or("–".into(), |mib| format!("{mib:.1}"));
        let _infallible =
            writeln!(text, "| {} | {} | {} | {} |", kind, cell("1"), cell("1000"), cell("5000 within 64"));
    }
}

fn document() -> String {
    let config = Config::default();
    let mut text = String::from(
        "# Limits\n\nThis file is written by a test from the definitions: `WRITE_LIMITS=1 cargo test -p sockeye-app limits`.\n\n\
         The default is the library's. The setting is the program's, with its default. Metrics are the fields of `Engine::metrics` and\n\
         `Server::metrics`.\n",
    );
    write_table(&mut text, "`EngineConfig`", &engine_limits(&config.engine));
    write_table(&mut text, "`Config`", &server_limits(&config));
    let buffer = BufferLimits::default();
    let _infallible = write!(
        text,
        "\n## `sockeye-client`\n\n| limit | default | unit | at the limit |\n|---|---|---|---|\n\
         | `BufferLimits::packets` | {} | events | `emit` fails, or the oldest is dropped (`policy`) |\n\
         | `BufferLimits::bytes` | {} | bytes | likewise |\n",
        buffer.packets.shown(),
        buffer.bytes.shown()
    );
    text.push_str("\n## The program alone\n\n| setting | default | limit |\n|---|---|---|\n");
    let of_library = |name: &str| {
        engine_limits(&config.engine).iter().chain(&server_limits(&config)).any(|limit| limit.name == name)
    };
    for definition in DEFINITIONS.iter().filter(|definition| is_limit(definition.name)) {
        if !of_library(definition.name) {
            let docs = definition.docs.concat();
            let _infallible =
                writeln!(text, "| `{}` | {} | {} |", definition.name, (definition.default)(), docs.trim());
        }
    }
    text.push_str(
        "\n## What outsiders can make the server hold\n\nComputed from the defaults of the library, for plain WebSockets of the \
         program. What is held in all is at most\n1.25 × `max_memory`: all of this is charged to it. The kernel's buffers of \
         connections are not.\n",
    );
    write_sum(&mut text, "A Socket.IO connection that the application lets join `max_namespaces`", &session(&config));
    write_sum(&mut text, "An HTTP connection without a session", &connection(&config));
    write_sum(&mut text, "A plain WebSocket", &plain(&Settings::default()));
    write_measured(&mut text);
    text
}

/// Whether a field or setting of this name is a limit.
fn is_limit(name: &str) -> bool {
    name.starts_with("max_") || name.ends_with("_bytes") || (name.ends_with("_timeout") && name != "ping_timeout")
}

#[test]
fn the_committed_limits_are_those_of_the_definitions() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
    if std::env::var_os("WRITE_LIMITS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == document(), "docs/limits.md is stale; run `WRITE_LIMITS=1 cargo test -p sockeye-app limits`");
}

#[test]
fn every_limit_of_the_library_is_in_the_table_and_every_metric_exists() {
    let config = Config::default();
    let limits: Vec<_> = engine_limits(&config.engine).into_iter().chain(server_limits(&config)).collect();
    // The names of the fields, at the outer level of either structure.
    let written = format!("{config:#?}");
    let outer = written.lines().filter(|line| !line.starts_with("         "));
    let fields = outer.filter_map(|line| line.trim().split_once(": ")).map(|(name, _)| name);
    for field in fields.filter(|name| is_limit(name)) {
        assert!(limits.iter().any(|limit| limit.name == field), "the limit `{field}` is not in the table");
    }
    let metrics = format!("{:?} {:?}", EngineMetrics::default(), Metrics::default());
    for metric in limits.iter().filter_map(|limit| limit.metric) {
        assert!(metrics.contains(&format!(" {metric}: ")), "there is no metric `{metric}`");
    }
    assert!(Settings::default().max_memory.bytes() < usize::MAX, "the program limits memory");
}
