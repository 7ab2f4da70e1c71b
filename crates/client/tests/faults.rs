//! The client through the faults of others: servers that are killed, paused and restarted, and connections that break in
//! the middle of a handshake, an upgrade or a frame. What a server has handled is read from what it printed.
//!
//! `SOCKEYE_FAULT_SEED` chooses other places to break connections at.
#[path = "support/process.rs"]
mod process;
mod support;

use std::time::Duration;

use process::{SERVERS, Start, fault_proxy};
use serde_json::{Value, json};
use sockeye_client::{
    DisconnectReason, Manager, ManagerBuilder, ManagerEvent, ManagerEvents, Reconnection, Retries, Transport,
};
use support::{Proxy, TRANSPORTS, disconnects, eventually, quick};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

fn retrying(builder: ManagerBuilder) -> ManagerBuilder {
    let ack_timeout = Duration::from_secs(2);
    quick(builder).retry_first(true).retries(Retries { retries: 20, ack_timeout, ids: true })
}

fn seed() -> u32 {
    std::env::var("SOCKEYE_FAULT_SEED").map_or(20_260, |text| text.parse().expect("the seed is a number"))
}

/// What was handled according to these lines, each event once: a repetition follows the first time at once and has the
/// same id.
fn once(said: &[String]) -> Vec<u32> {
    let mut events: Vec<(u32, String)> = said.iter().map(|args| serde_json::from_str(args).unwrap()).collect();
    events.dedup();
    let (tag, _) = events[0].1.split_once('-').unwrap();
    assert!(events.iter().all(|(number, id)| *id == format!("{tag}-{number}")), "an id tells each event: {events:?}");
    events.into_iter().map(|(number, _)| number).collect()
}

/// The settings that have a server notice silence after a second.
fn impatient(name: &str) -> Value {
    match name {
        "python-socketio" => json!({ "options": { "ping_interval": 0.5, "ping_timeout": 0.5 } }),
        _ => json!({ "options": { "pingInterval": 500, "pingTimeout": 500 } }),
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn events_for_a_killed_server_arrive_once_and_in_order() {
    for (name, start) in SERVERS {
        let mut server = start(json!({}));
        let port = server.address.port();
        for transports in TRANSPORTS {
            let socket = quick(Manager::builder(&server.url())).transports(transports).connect().await.unwrap();
            socket.emit_with_ack::<u32>("seq", 0).await.unwrap();
            drop(server);
            eventually("the loss is noticed", || !socket.is_connected()).await;
            for number in 1..=500 {
                socket.emit("seq", number).unwrap();
            }
            server = start(json!({ "port": port }));
            eventually("everything arrives", || server.handled().last() == Some(&500)).await;
            assert!(server.handled().into_iter().eq(1..=500), "{name} {transports:?}: {:?}", server.handled());
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn retries_lose_nothing_when_the_server_is_killed() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            let mut server = start(json!({}));
            let port = server.address.port();
            let socket = retrying(Manager::builder(&server.url())).transports(transports).connect().await.unwrap();
            let count = 300;
            let acks: Vec<_> = (0..count).map(|number| socket.emit_with_ack::<u32>("seq", number)).collect();
            eventually("some are handled", || server.handled().len() > 20).await;
            server.kill();
            let mut said = server.said("seq ");
            assert!(said.len() < count as usize, "{name} {transports:?}: it was killed too late");
            server = start(json!({ "port": port }));
            for (number, ack) in (0..count).zip(acks) {
                assert_eq!(timeout(LIMIT, ack).await.unwrap().unwrap(), number, "{name} {transports:?}");
            }
            server.kill();
            said.extend(server.said("seq "));
            assert!(once(&said).into_iter().eq(0..count), "{name} {transports:?}: {said:?}");
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn events_are_sent_again_until_a_paused_server_acknowledges_them() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            let server = start(impatient(name));
            let manager = retrying(Manager::builder(&server.url())).transports(transports).build().unwrap();
            let socket = manager.socket("/");
            let mut reasons = disconnects(&socket);
            socket.connect().await.unwrap();
            let mut acks: Vec<_> = (0..20).map(|number| socket.emit_with_ack::<u32>("seq", number)).collect();
            acks.remove(0).await.unwrap();
            server.signal("STOP");
            acks.extend((20..40).map(|number| socket.emit_with_ack::<u32>("seq", number)));
            let reason = timeout(LIMIT, reasons.recv()).await;
            acks.extend((40..60).map(|number| socket.emit_with_ack::<u32>("seq", number)));
            server.signal("CONT");
            assert_eq!(reason.unwrap(), Some(DisconnectReason::PingTimeout), "{name} {transports:?}");
            for ack in acks {
                timeout(LIMIT, ack).await.unwrap().unwrap();
            }
            eventually("the server has said everything", || server.handled().last() == Some(&59)).await;
            assert!(
                once(&server.said("seq ")).into_iter().eq(0..60),
                "{name} {transports:?}: {:?}",
                server.said("seq ")
            );
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn events_for_a_paused_server_arrive_once_and_in_order() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            let server = start(impatient(name));
            let manager = quick(Manager::builder(&server.url())).transports(transports).build().unwrap();
            let socket = manager.socket("/");
            let mut reasons = disconnects(&socket);
            socket.connect().await.unwrap();
            socket.emit_with_ack::<u32>("seq", 0).await.unwrap();
            server.signal("STOP");
            // They are sent, and lost if the server closes this connection before it reads them.
            (1..20).for_each(|number| socket.emit("seq", number).unwrap());
            let reason = timeout(LIMIT, reasons.recv()).await;
            (20..220).for_each(|number| socket.emit("seq", number).unwrap());
            server.signal("CONT");
            assert_eq!(reason.unwrap(), Some(DisconnectReason::PingTimeout), "{name} {transports:?}");
            eventually("everything arrives", || server.handled().last() == Some(&219)).await;
            let handled = server.handled();
            assert!(handled.is_sorted_by(|a, b| a < b), "{name} {transports:?}: {handled:?}");
            assert!(handled.ends_with(&(20..220).collect::<Vec<_>>()), "{name} {transports:?}: {handled:?}");
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn events_that_a_paused_server_did_not_read_are_sent_by_the_next_connection() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let proxy = Proxy::to(server.address).await;
        let builder = quick(Manager::builder(&proxy.url())).transports(Transport::WebSocket);
        let socket = builder.connect().await.unwrap();
        server.signal("STOP");
        // More than the kernel takes for a process that does not read.
        let (count, padding) = (400, "x".repeat(32 * 1024));
        (0..count).for_each(|number| socket.emit("seq", (number, &padding)).unwrap());
        let flushed = timeout(Duration::from_secs(1), socket.flushed()).await;
        proxy.cut();
        eventually("the loss is noticed", || !socket.is_connected()).await;
        let kept = socket.buffered() as u32;
        let last = count + 20;
        (count..last).for_each(|number| socket.emit("seq", (number, &padding)).unwrap());
        server.signal("CONT");
        assert!(flushed.is_err() && kept > 0, "{name}: the kernel has taken everything");
        assert_eq!(timeout(LIMIT, socket.emit_with_ack::<u32>("seq", last)).await.unwrap().unwrap(), last, "{name}");
        eventually("the server has said everything", || server.said("seq ").contains(&format!("[{last}]"))).await;
        // What was sent before may have been read, at last, while the next connection was at work.
        let unsent = server.handled().into_iter().filter(|number| (count - kept..last).contains(number));
        assert!(unsent.clone().eq(count - kept..last), "{name}: {:?}, {kept} were kept", unsent.collect::<Vec<_>>());
    }
}

/// Emits through a proxy that breaks connections, and checks that the server has handled everything.
async fn withstands(name: &str, start: Start, kind: &str, transports: &[Transport], seed: u32) {
    let (count, faults) = (300, 6);
    let server = start(json!({}));
    let proxy = fault_proxy(json!({ "target": server.address.port(), "kind": kind, "faults": faults, "seed": seed }));
    let socket = retrying(Manager::builder(&proxy.url())).transports(transports).connect().await.unwrap();
    let acks: Vec<_> = (0..count).map(|number| socket.emit_with_ack::<u32>("seq", number)).collect();
    for (number, ack) in (0..count).zip(acks) {
        let answer = timeout(LIMIT, ack).await.unwrap_or_else(|_| panic!("{name} {kind} {transports:?}: {number}"));
        assert_eq!(answer.unwrap(), number, "{name} {kind} {transports:?}");
    }
    eventually("the server has said everything", || server.handled().last() == Some(&(count - 1))).await;
    assert!(
        once(&server.said("seq ")).into_iter().eq(0..count),
        "{name} {kind} {transports:?}: {:?}",
        server.said("seq ")
    );
    let cuts = proxy.said("cut").len();
    assert!(cuts >= faults / 2, "{cuts} of {faults} connections broke");
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn retries_lose_nothing_when_frames_and_requests_are_cut() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            withstands(name, start, "frame", transports, seed()).await;
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn retries_lose_nothing_when_handshakes_are_cut() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            withstands(name, start, "handshake", transports, seed()).await;
        }
    }
}

/// The end of the move to WebSocket.
async fn upgrade_ends(stages: &mut ManagerEvents) -> ManagerEvent {
    loop {
        let stage = timeout(LIMIT, stages.next()).await.unwrap().unwrap();
        if matches!(stage, ManagerEvent::Upgraded | ManagerEvent::UpgradeFailed | ManagerEvent::Closed { .. }) {
            return stage;
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn nothing_is_lost_or_reordered_when_the_upgrade_is_cut() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let port = server.address.port();
        let proxy = fault_proxy(json!({ "target": port, "kind": "upgrade", "faults": 8, "seed": seed() }));
        let mut failed = 0;
        for round in 0..12 {
            let before = server.handled().len();
            let is_whole = !proxy.said("spent").is_empty();
            let socket = quick(Manager::builder(&proxy.url())).build().unwrap().socket("/");
            let mut stages = socket.manager().events();
            for number in 0..200 {
                socket.emit("seq", number).unwrap();
            }
            socket.connect().await.unwrap();
            let end = upgrade_ends(&mut stages).await;
            failed += usize::from(matches!(end, ManagerEvent::UpgradeFailed));
            for number in 200..400 {
                socket.emit("seq", number).unwrap();
            }
            if is_whole || matches!(end, ManagerEvent::UpgradeFailed) && name == "socket.io" {
                eventually("everything arrives", || server.handled().len() == before + 400).await;
                assert!(server.handled()[before..].iter().copied().eq(0..400), "{name}, round {round}");
                let transport = if is_whole { Transport::WebSocket } else { Transport::Polling };
                assert_eq!(socket.manager().transport(), Some(transport), "{name}, round {round}");
            } else {
                // A connection that broke after the WebSocket had taken over took with it what was on its way, and
                // python-socketio gives up a session whose upgrade broke before the probe.
                let mut last = 400;
                while timeout(LIMIT, socket.emit_with_ack::<u32>("seq", last)).await.unwrap().is_err() {
                    last += 1;
                }
                eventually("the server has said everything", || server.handled().last() == Some(&last)).await;
                assert!(server.handled()[before..].is_sorted_by(|a, b| a < b), "{name}, round {round}");
            }
            socket.manager().disconnect().await;
        }
        // Whether a cut is taken for a failed upgrade or for a lost connection is a matter of moments.
        let cuts = proxy.said("cut").len();
        assert!(cuts > 2, "{cuts} upgrades were cut");
        assert!(failed > 0 || name != "socket.io", "none of {cuts} cuts was taken for a failed upgrade");
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn retries_lose_nothing_when_the_upgrade_is_cut() {
    for (name, start) in SERVERS {
        let server = start(json!({}));
        let port = server.address.port();
        let proxy = fault_proxy(json!({ "target": port, "kind": "upgrade", "faults": 8, "seed": seed() }));
        for round in 0..12 {
            let before = server.handled().len();
            let socket = retrying(Manager::builder(&proxy.url())).build().unwrap().socket("/");
            let mut stages = socket.manager().events();
            let mut acks: Vec<_> = (0..50).map(|number| socket.emit_with_ack::<u32>("seq", number)).collect();
            socket.connect().await.unwrap();
            upgrade_ends(&mut stages).await;
            acks.extend((50..100).map(|number| socket.emit_with_ack::<u32>("seq", number)));
            for (number, ack) in (0..100).zip(acks) {
                let answer = timeout(LIMIT, ack).await.unwrap().unwrap();
                assert_eq!(answer, number, "{name}, round {round}");
            }
            eventually("the server has said everything", || server.handled().last() == Some(&99)).await;
            let said = &server.said("seq ")[before..];
            assert!(once(said).into_iter().eq(0..100), "{name}, round {round}: {said:?}");
            socket.manager().disconnect().await;
        }
        let cuts = proxy.said("cut").len();
        assert!(cuts > 2, "{cuts} upgrades were cut");
    }
}

/// Emits without retries through a proxy that breaks connections: what the server handles is in order and nothing of it
/// is doubled, and nothing of what waits for the last connection is lost.
async fn keeps_order(name: &str, start: Start, kind: &str, transports: &[Transport]) {
    let server = start(json!({}));
    let settings = json!({ "target": server.address.port(), "kind": kind, "faults": 5, "seed": seed() });
    let proxy = fault_proxy(settings);
    let delay = Duration::from_millis(10);
    let reconnection = Reconnection { delay, delay_max: delay, ..Reconnection::default() };
    let builder = Manager::builder(&proxy.url()).reconnection(reconnection).retry_first(true);
    let socket = builder.transports(transports).connect().await.unwrap();
    let mut first = 0;
    loop {
        // An answer to what was emitted after the last fault has come by the last connection: before that, a connection
        // may be broken already, and its client does not know yet.
        let is_whole = !proxy.said("spent").is_empty();
        // An answer, or the news that the connection broke before it came: then the event may be lost.
        let answer = timeout(LIMIT, socket.emit_with_ack::<u32>("seq", first)).await.unwrap();
        first += 1;
        if is_whole && answer.is_ok() {
            break;
        }
    }
    (first..first + 200).for_each(|number| socket.emit("seq", number).unwrap());
    let last = format!("{name} {kind} {transports:?}: everything arrives");
    eventually(&last, || server.handled().last() == Some(&(first + 199))).await;
    let handled = server.handled();
    assert!(handled.is_sorted_by(|a, b| a < b), "{name} {kind} {transports:?}: {handled:?}");
    assert!(handled.ends_with(&(first..first + 200).collect::<Vec<_>>()), "{name} {kind} {transports:?}: {handled:?}");
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn without_retries_nothing_is_doubled_or_reordered() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            keeps_order(name, start, "frame", transports).await;
        }
    }
}

#[tokio::test]
#[ignore = "takes long: `node e2e/run.mjs client` runs it"]
async fn without_retries_nothing_is_doubled_or_reordered_when_handshakes_are_cut() {
    for (name, start) in SERVERS {
        for transports in TRANSPORTS {
            keeps_order(name, start, "handshake", transports).await;
        }
    }
}
