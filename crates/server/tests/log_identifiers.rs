//! What the log must not say: the identifier by which somebody could take over a session that polls. A test of its own
//! process, because who listens to the log is known to all threads.
mod support;

use std::time::Duration;

use sockeye::{Config, Data, EngineConfig, Revision, Server, Socket};
use support::{Log, Raw, settle};

#[tokio::test(start_paused = true)]
async fn the_log_shortens_every_identifier() {
    let (log, _guard) = Log::listen();
    let engine =
        EngineConfig { log_packets: true, allow_eio3: true, outbox_bytes: 10_000, ..Config::default().engine.clone() };
    let soon = Duration::from_secs(10);
    let config = Config { engine, log_events: true, max_event_rate: 1, ..Config::default() };
    let config = Config { connect_timeout: soon, attachments_timeout: soon, ..config };
    let server = Server::builder().config(config).build();
    for name in ["/", "/other"] {
        let namespace = server.of(name);
        namespace.on("typed", async |Data(_): Data<u8>| ());
        namespace.on("panic", async |socket: Socket| assert_eq!(socket.rooms().len(), 0, "as asked for"));
        namespace.on("much", async |socket: Socket| {
            // What is emitted from another task is limited.
            tokio::spawn(async move { while socket.emit("much", "x".repeat(100)).is_ok() {} });
        });
        namespace.on("answer", async |socket: Socket| {
            drop(socket.emit_with_ack::<()>("question", ()));
            Ok(socket.to(socket.id()).to("a room").emit("to itself", ())?)
        });
        namespace.on_disconnect(async |socket: Socket| assert_eq!(socket.rooms().len(), 0, "as asked for"));
    }
    let mut ids = Vec::new();
    for revision in [Revision::V3, Revision::V4] {
        for last in ["42[\"much\"]", "4nonsense", "nonsense", r#"451-["x",{"_placeholder":true,"num":0}]"#, ""] {
            let client = Raw::open(&server, revision).await;
            ids.push(client.sid().to_owned());
            if last.is_empty() {
                // One that never joins.
                tokio::time::sleep(2 * soon).await;
                continue;
            }
            // A client of revision 3 is in `/` without asking.
            let joining: &[&str] = if revision == Revision::V3 { &["40/other,"] } else { &["40", "40/other,"] };
            client.send(joining).await;
            client.until("0/other").await;
            for packet in [r#"420["typed","text"]"#, r#"421["panic"]"#, r#"42["answer"]"#, "4399[]", r#"42["nobody"]"#]
            {
                client.send(&[packet]).await;
            }
            client.send(&[r#"42/other,["answer"]"#]).await;
            let sockets = [server.of("/"), server.of("/other")].map(|of| of.local().sockets(&Default::default()));
            for socket in sockets.iter().flatten() {
                socket.namespace().to(socket.id()).emit("direct", ()).unwrap();
                ids.push(socket.id().to_string());
            }
            client.send(&[last]).await;
            tokio::time::sleep(2 * soon).await;
        }
    }
    settle().await;
    let text = log.text();
    for expected in [
        "sent",
        "received",
        "panicked",
        "did not run",
        "nobody waits",
        "slow",
        "invalid",
        "protocol",
        "did not join a namespace",
        "in time",
    ] {
        assert!(text.contains(expected), "nothing was logged of what is looked for ({expected}):\n{text}");
    }
    for id in &ids {
        let (shown, _) = id.split_at(id.len() - 14);
        assert!(text.contains(shown), "{shown} cannot be traced");
        let whole = id.rsplit('#').next().unwrap();
        let found: Vec<_> = text.lines().filter(|line| line.contains(whole)).collect();
        assert!(found.is_empty(), "the log gives {whole} away: {found:#?}");
    }
}
