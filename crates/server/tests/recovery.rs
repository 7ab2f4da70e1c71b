//! Connection state recovery: who is not recovered, and that nobody who is loses or hears twice.
mod support;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockeye::{Config, EngineConfig, RecoveryConfig, Revision, Server, Socket, TestClient};
use support::{Raw, in_time, settle};
use tokio::{sync::Notify, time::Instant};

fn server(recovery: RecoveryConfig) -> Server {
    let defaults = Config::default();
    let engine = EngineConfig { allow_eio3: true, ..defaults.engine.clone() };
    Server::builder().config(Config { recovery: Some(recovery), engine, ..defaults }).build()
}

fn server_with_outbox(outbox_bytes: usize) -> Server {
    let engine = EngineConfig { outbox_bytes, ..EngineConfig::default() };
    Server::builder().config(Config { recovery: Some(RecoveryConfig::default()), engine, ..Config::default() }).build()
}

/// Connects, hears one event, loses the connection, and returns what it would come back with.
async fn cut_off(server: &Server) -> (String, serde_json::Value) {
    let mut client = server.test_client().connect().await.unwrap();
    server.emit("seen", ()).unwrap();
    let offset = offset(&client.receive().await.unwrap());
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    drop(client);
    gone(server, &sid).await;
    (sid, serde_json::json!({ "pid": pid, "offset": offset }))
}

async fn gone(server: &Server, sid: &str) {
    while server.of("/").socket(sid).is_some() {
        tokio::task::yield_now().await;
    }
}

fn offset(event: &sockeye::ReceivedEvent) -> String {
    let args = event.args.as_args();
    args.get(args.len() - 1).unwrap()
}

async fn back(server: &Server, auth: &serde_json::Value) -> TestClient {
    server.test_client().auth(auth.clone()).connect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_away_too_long_gets_a_new_socket() {
    let server = server(RecoveryConfig { max_disconnection: Duration::from_secs(60), ..RecoveryConfig::default() });
    for (away, recovers) in [(59, true), (61, false)] {
        let (sid, auth) = cut_off(&server).await;
        tokio::time::sleep(Duration::from_secs(away)).await;
        let client = back(&server, &auth).await;
        assert_eq!(client.sid() == sid, recovers, "after {away} s");
        assert_eq!(server.of("/").socket(client.sid()).unwrap().is_recovered(), recovers);
    }
}

#[tokio::test]
async fn beyond_max_absent_the_client_that_left_first_is_forgotten() {
    let server = server(RecoveryConfig { max_absent: 2, ..RecoveryConfig::default() });
    let mut absent = Vec::new();
    for _ in 0..3 {
        absent.push(cut_off(&server).await);
    }
    // They stay, because one that left again would count anew.
    let mut returned = Vec::new();
    for (index, (sid, auth)) in absent.iter().enumerate().rev() {
        returned.push(back(&server, auth).await);
        let is_itself = returned.last().is_some_and(|client| client.sid() == sid);
        assert_eq!(is_itself, index > 0, "client {index}");
    }
}

#[tokio::test]
async fn a_client_that_missed_a_dropped_packet_gets_a_new_socket() {
    for (packets, recovers) in [(3, true), (30, false)] {
        let server = server(RecoveryConfig { max_bytes: 100_000, ..RecoveryConfig::default() });
        let (sid, auth) = cut_off(&server).await;
        for _ in 0..packets {
            server.emit("missed", "x".repeat(10_000)).unwrap();
        }
        let mut client = back(&server, &auth).await;
        assert_eq!(client.sid() == sid, recovers, "after {packets} packets");
        assert_eq!(client.received().len(), if recovers { packets } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_disconnection_starts_when_the_connection_breaks() {
    for (away, recovers) in [(110, true), (130, false)] {
        let server = server(RecoveryConfig::default());
        server.of("/").on("slow", async || tokio::time::sleep(Duration::from_secs(100)).await);
        let mut client = server.test_client().connect().await.unwrap();
        let (sid, auth) = (client.sid().to_owned(), serde_json::json!({ "pid": client.pid().unwrap() }));
        client.emit("slow", ()).await.unwrap();
        drop(client);
        while server.of("/").socket(&sid).unwrap().is_connected() {
            tokio::task::yield_now().await;
        }
        let broke = Instant::now();
        server.emit("missed", ()).unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
        // One that leaves later, and is through earlier because no handler is at work for it.
        cut_off(&server).await;
        tokio::time::sleep_until(broke + Duration::from_secs(away)).await;
        let mut client = back(&server, &auth).await;
        assert_eq!(client.sid() == sid, recovers, "after {away} s");
        let heard: Vec<_> = client.received().into_iter().map(|event| event.name).collect();
        assert_eq!(heard, if recovers { vec!["missed", "seen"] } else { vec![] });
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answered_a_later_ping_has_missed_no_dropped_packet() {
    for (stays, recovers) in [(10, false), (60, true)] {
        let server = server(RecoveryConfig { max_bytes: 100_000, ..RecoveryConfig::default() });
        let mut client = server.test_client().connect().await.unwrap();
        for _ in 0..30 {
            server.to("others").emit("burst", "x".repeat(10_000)).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(stays);
        while Instant::now() < until {
            let heard = tokio::time::timeout_at(until, client.receive()).await;
            assert!(!matches!(heard, Ok(Ok(_))), "{heard:?}");
        }
        let (sid, auth) = (client.sid().to_owned(), serde_json::json!({ "pid": client.pid().unwrap() }));
        drop(client);
        gone(&server, &sid).await;
        assert_eq!(back(&server, &auth).await.sid() == sid, recovers, "after {stays} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_was_sent_again_can_be_missed_again() {
    for (packets, recovers) in [(1, true), (2, false)] {
        let server = server(RecoveryConfig { max_bytes: 100_000, ..RecoveryConfig::default() });
        let (sid, auth) = cut_off(&server).await;
        server.emit("missed", "x".repeat(50_000)).unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        // It is sent what it missed, and takes none of it before its connection breaks once more.
        let client = back(&server, &auth).await;
        assert_eq!(client.sid(), sid);
        drop(client);
        gone(&server, &sid).await;
        for _ in 0..packets {
            server.emit("missed", "x".repeat(30_000)).unwrap();
        }
        let mut client = back(&server, &auth).await;
        assert_eq!(client.sid() == sid, recovers, "after {packets} packets");
        assert_eq!(client.received().len(), if recovers { 1 + packets } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn an_answered_ping_does_not_prove_that_later_packets_arrived() {
    let server = server(RecoveryConfig { max_bytes: 100_000, ..RecoveryConfig::default() });
    server.of("/other");
    let (sid, auth) = cut_off(&server).await;
    server.emit("missed", "x".repeat(50_000)).unwrap();
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40/other,"]).await;
    client.until("40/other,").await;
    assert_eq!(client.poll().await.unwrap(), ["2"]);
    client.send(&["3"]).await;
    client.send(&[&format!("40{auth}")]).await;
    assert!(client.until("40").await.iter().any(|packet| packet.contains(&sid)), "not recovered");
    client.send(&["1"]).await;
    gone(&server, &sid).await;
    for _ in 0..2 {
        server.emit("missed", "x".repeat(30_000)).unwrap();
    }
    assert_ne!(back(&server, &auth).await.sid(), sid);
}

#[tokio::test]
async fn a_client_that_missed_more_than_the_outbox_takes_gets_a_new_socket() {
    for (packets, recovers) in [(3, true), (30, false)] {
        let server = server_with_outbox(2_000);
        let (sid, auth) = cut_off(&server).await;
        for _ in 0..packets {
            server.emit("missed", "x".repeat(100)).unwrap();
        }
        let mut client = back(&server, &auth).await;
        assert_eq!(client.sid() == sid, recovers, "after {packets} packets");
        assert_eq!(client.received().len(), if recovers { packets } else { 0 });
    }
}

#[tokio::test]
async fn missed_packets_arrive_before_the_answer_to_connect() {
    let server = server(RecoveryConfig::default());
    let (sid, auth) = cut_off(&server).await;
    server.emit("missed", 1).unwrap();
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&[&format!("40{auth}")]).await;
    let packets = client.until("40").await;
    assert!(packets[0].starts_with(r#"42["missed",1,""#) && packets[0].ends_with(r#".2"]"#), "{packets:?}");
    assert_eq!(packets[1], format!(r#"40{{"sid":"{sid}","pid":{}}}"#, auth["pid"]));
}

#[tokio::test]
async fn an_invalid_offset_or_private_id_gets_a_new_socket() {
    let server = server(RecoveryConfig::default());
    let (sid, auth) = cut_off(&server).await;
    for (key, wrong) in [
        ("pid", serde_json::json!("nobody")),
        ("pid", serde_json::json!(7)),
        ("offset", serde_json::json!("ffff")),
        ("offset", serde_json::json!("1")),
        ("offset", serde_json::json!(format!("{}ffff", auth["offset"].as_str().unwrap()))),
        ("offset", serde_json::json!(format!(" {}", auth["offset"].as_str().unwrap()))),
        ("offset", serde_json::json!("ffffffffffffffffffff")),
        ("offset", serde_json::json!("no number")),
        ("offset", serde_json::json!(-1)),
    ] {
        let mut claim = auth.clone();
        claim[key] = wrong;
        assert_ne!(back(&server, &claim).await.sid(), sid, "{claim}");
    }
    assert_eq!(back(&server, &auth).await.sid(), sid, "a wrong claim has used up the right one");
    assert_eq!(server.metrics().recovered, 1);
}

#[tokio::test]
async fn packets_from_before_the_first_connection_are_not_recovered() {
    let server = server(RecoveryConfig::default());
    server.emit("before", ()).unwrap();
    server.to("staff").emit("before", ()).unwrap();
    let mut client = server.test_client().connect().await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    server.of("/").socket(&sid).unwrap().join("staff").unwrap();
    server.to("staff").emit("after", ()).unwrap();
    let seen = offset(&client.receive().await.unwrap());
    let first = format!("{}.0", seen.split_once('.').unwrap().0);
    drop(client);
    gone(&server, &sid).await;
    let mut again = back(&server, &serde_json::json!({ "pid": pid, "offset": first })).await;
    assert_eq!(again.sid(), sid);
    let heard: Vec<_> = again.received().into_iter().map(|event| event.name).collect();
    assert_eq!(heard, ["after"]);
}

#[tokio::test]
async fn clients_of_socket_io_2_are_not_offered_what_they_do_not_know() {
    let server = server(RecoveryConfig::default());
    let client = Raw::open(&server, Revision::V3).await;
    assert_eq!(client.until("40").await, ["40"]);
    let socket = server.of("/").local().sockets(&Default::default()).remove(0);
    assert!(!socket.is_recovered());
    assert_eq!(socket.id().as_str(), client.sid(), "its id is its session's, which no other session can take up");
    socket.emit("works", 1).unwrap();
    assert_eq!(client.until("works").await.len(), 1);
}

#[tokio::test]
async fn middleware_runs_for_recovered_clients_if_it_is_not_skipped() {
    for skip_middleware in [true, false] {
        let server = server(RecoveryConfig { skip_middleware, ..RecoveryConfig::default() });
        let (runs, refuses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, refuse) = (runs.clone(), refuses.clone());
        server.of("/").middleware(move || {
            count.fetch_add(1, Ordering::SeqCst);
            ready(if refuse.load(Ordering::SeqCst) { Err("banned meanwhile".into()) } else { Ok(()) })
        });
        let (sid, auth) = cut_off(&server).await;
        refuses.store(true, Ordering::SeqCst);
        let again = server.test_client().auth(auth).connect().await;
        assert_eq!(runs.load(Ordering::SeqCst), if skip_middleware { 1 } else { 2 });
        match skip_middleware {
            true => assert_eq!(again.unwrap().sid(), sid),
            false => assert!(again.is_err()),
        }
    }
}

#[tokio::test]
async fn a_client_that_left_or_was_disconnected_is_not_recovered() {
    let server = server(RecoveryConfig::default());
    for by_server in [false, true] {
        let client = server.test_client().connect().await.unwrap();
        let (sid, auth) = (client.sid().to_owned(), serde_json::json!({ "pid": client.pid().unwrap() }));
        match by_server {
            true => server.of("/").socket(&sid).unwrap().disconnect(),
            false => client.disconnect().await.unwrap(),
        }
        gone(&server, &sid).await;
        assert_ne!(back(&server, &auth).await.sid(), sid);
    }
}

#[tokio::test]
async fn packets_held_back_before_admission_are_recovered() {
    let server = server(RecoveryConfig::default());
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (note, wait) = (asked.clone(), go_on.clone());
    server.of("/").on_connect(move |socket: Socket| {
        let (note, wait) = (note.clone(), wait.clone());
        async move {
            if socket.is_recovered() {
                return;
            }
            note.notify_one();
            wait.notified().await;
        }
    });
    let connecting = tokio::spawn(server.test_client().connect());
    asked.notified().await;
    server.emit("held back", ()).unwrap();
    go_on.notify_one();
    // The client gets CONNECT and is cut off before it takes what stands behind that.
    let client = connecting.await.unwrap().unwrap();
    let (sid, auth) = (client.sid().to_owned(), serde_json::json!({ "pid": client.pid().unwrap() }));
    drop(client);
    gone(&server, &sid).await;
    let mut again = back(&server, &auth).await;
    assert_eq!(again.sid(), sid);
    assert_eq!(again.received().len(), 1, "an event was lost");
}

/// Data that emits when it is serialised.
struct Telling(Server);

impl serde::Serialize for Telling {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.emit("told", ()).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str("data")
    }
}

#[test]
fn serialising_the_data_of_an_event_can_emit() {
    in_time(async {
        let server = server(RecoveryConfig::default());
        let mut client = server.test_client().connect().await.unwrap();
        server.emit("telling", &Telling(server.clone())).unwrap();
        for (name, number) in [("told", ".1"), ("telling", ".2")] {
            let event = client.receive().await.unwrap();
            assert_eq!(event.name, name);
            assert!(offset(&event).ends_with(number), "{event:?}");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reconnection_during_a_flood_loses_and_doubles_nothing() {
    const EVENTS: usize = 5_000;
    let server = server(RecoveryConfig::default());
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    root.socket(&sid).unwrap().join("flood").unwrap();
    let flood = root.clone();
    let flooding = tokio::spawn(async move {
        for number in 0..EVENTS {
            flood.to("flood").emit("number", number).unwrap();
            if number % 20 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut heard, mut returns) = (Vec::new(), 0);
    while heard.len() < EVENTS {
        let mut last = None;
        for _ in 0..50 + returns % 100 {
            if heard.len() == EVENTS {
                break;
            }
            let event = client.receive().await.unwrap();
            heard.push(event.args.as_args().get::<usize>(0).unwrap());
            last = Some(offset(&event));
        }
        drop(client);
        // The server may not have noticed yet that the client has gone.
        client = back(&server, &serde_json::json!({ "pid": pid, "offset": last })).await;
        assert_eq!(client.sid(), sid, "not recovered after {returns} returns");
        returns += 1;
    }
    flooding.await.unwrap();
    assert_eq!(heard, (0..EVENTS).collect::<Vec<_>>());
    settle().await;
    assert!(client.received().is_empty());
    assert!(returns > 10, "only {returns} returns");
}

/// What the stock client takes for the offset: the last argument of an event that asks for no acknowledgement, or its name
/// if it has none, if that is a string.
fn taken_for_offset(event: &sockeye::ReceivedEvent) -> Option<String> {
    let args = event.args.as_args();
    match args.len() {
        0 => Some(event.name.clone()),
        count => args.get(count - 1).ok(),
    }
}

#[tokio::test]
async fn the_text_of_a_volatile_event_is_not_taken_for_an_offset() {
    let server = server(RecoveryConfig::default());
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    let socket = root.socket(&sid).unwrap();
    for number in 1..=40 {
        server.emit("numbered", number).unwrap();
    }
    let last = offset(client.received().last().unwrap());
    // A stock client waits for events; this one shows that it does by asking for them.
    let volatile: [&dyn Fn(); 4] = [
        &|| root.volatile().emit("typing", "30").unwrap(),
        &|| socket.volatile().emit("typing", "2").unwrap(),
        &|| root.volatile().emit("30", ()).unwrap(),
        &|| socket.volatile().emit("2", ()).unwrap(),
    ];
    for emit in volatile {
        let (event, ()) = tokio::join!(client.receive(), async {
            settle().await;
            emit();
        });
        assert_eq!(taken_for_offset(&event.unwrap()).as_ref(), Some(&last));
    }
    drop(client);
    gone(&server, &sid).await;
    server.emit("missed", ()).unwrap();
    let mut again = back(&server, &serde_json::json!({ "pid": pid, "offset": last })).await;
    assert_eq!(again.sid(), sid);
    let heard: Vec<_> = again.received().into_iter().map(|event| event.name).collect();
    assert_eq!(heard, ["missed"]);
}

/// A stock client keeps its last offset when it starts anew, and names it beside its new private id.
#[tokio::test]
async fn an_offset_of_another_log_is_not_recovered_from() {
    let [before, after] = [server(RecoveryConfig::default()), server(RecoveryConfig::default())];
    let mut client = before.test_client().connect().await.unwrap();
    for _ in 0..30 {
        before.emit("before the restart", ()).unwrap();
    }
    let offset = offset(client.received().last().unwrap());
    for _ in 0..100 {
        after.emit("unseen", ()).unwrap();
    }
    let client = back(&after, &serde_json::json!({ "offset": offset })).await;
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    drop(client);
    gone(&after, &sid).await;
    assert_ne!(back(&after, &serde_json::json!({ "pid": pid, "offset": offset })).await.sid(), sid);
}

#[tokio::test]
async fn an_offset_of_a_former_namespace_of_the_same_name_is_not_recovered_from() {
    let config =
        Config { recovery: Some(RecoveryConfig::default()), cleanup_empty_child_namespaces: true, ..Config::default() };
    let server = Server::builder().config(config).build();
    let parent = server.of_matching(sockeye::matching("/room-*"));
    let join = |auth: serde_json::Value| server.test_client().namespace("/room-1").auth(auth).connect();
    let mut client = join(serde_json::json!({})).await.unwrap();
    parent.emit("seen", ()).unwrap();
    let offset = offset(&client.receive().await.unwrap());
    drop(client);
    while !parent.children().is_empty() {
        tokio::task::yield_now().await;
    }
    // The namespace is made anew, and this client keeps it.
    let _keeper = join(serde_json::json!({})).await.unwrap();
    for _ in 0..100 {
        parent.emit("unseen", ()).unwrap();
    }
    let client = join(serde_json::json!({ "offset": offset })).await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    drop(client);
    while server.of("/room-1").socket(&sid).is_some() {
        tokio::task::yield_now().await;
    }
    let again = join(serde_json::json!({ "pid": pid, "offset": offset })).await.unwrap();
    assert_ne!(again.sid(), sid);
}

#[tokio::test]
async fn a_private_id_takes_over_a_socket_that_still_exists() {
    let server = server(RecoveryConfig::default());
    let root = server.of("/");
    let (left, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    root.on_disconnect(move |sockeye::Reason(reason): sockeye::Reason| {
        let _unheard = left.send(reason.to_string());
        ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    let former = root.socket(&sid).unwrap();
    former.join("room").unwrap();
    former.insert(String::from("kept"));
    server.emit("seen", ()).unwrap();
    let seen = offset(&client.receive().await.unwrap());
    // The client sees nothing of these: its connection is half-open.
    root.to("room").emit("missed", 1).unwrap();
    server.emit("missed", 2).unwrap();
    let mut again = back(&server, &serde_json::json!({ "pid": pid, "offset": seen })).await;
    assert_eq!(again.sid(), sid);
    let socket = root.socket(&sid).unwrap();
    assert!(socket.is_recovered() && socket.is_in("room") && socket != former);
    assert_eq!(socket.extension::<String>().unwrap().as_str(), "kept");
    let missed: Vec<u32> = again.received().iter().map(|event| event.args.as_args().get(0).unwrap()).collect();
    assert_eq!(missed, [1, 2]);
    assert_eq!(support::next(&mut reasons).await, "transport close");
    assert!(!former.is_connected());
    while server.connection_count() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!((root.local().len(), server.metrics().recovered), (1, 1));
    server.emit("goes on", ()).unwrap();
    assert_eq!(again.receive().await.unwrap().name, "goes on");
}

#[tokio::test(start_paused = true)]
async fn a_private_id_waits_for_the_handlers_of_the_former_socket() {
    for (lasts, recovers) in [(3, true), (30, false)] {
        let server = server(RecoveryConfig::default());
        let root = server.of("/");
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (connected, disconnected) = (order.clone(), order.clone());
        root.on("slow", async move || tokio::time::sleep(Duration::from_secs(lasts)).await);
        root.on_connect(async move || connected.lock().unwrap().push("connected"));
        root.on_disconnect(async move || disconnected.lock().unwrap().push("disconnected"));
        let mut client = server.test_client().connect().await.unwrap();
        let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
        client.emit("slow", ()).await.unwrap();
        server.emit("missed", ()).unwrap();
        let mut again = back(&server, &serde_json::json!({ "pid": pid })).await;
        assert_eq!(again.sid() == sid, recovers, "after {lasts} s");
        assert_eq!(again.received().len(), usize::from(recovers));
        let expected = if recovers { ["connected", "disconnected", "connected"] } else { ["connected"; 3] };
        assert_eq!(order.lock().unwrap()[..], expected[..if recovers { 3 } else { 2 }]);
    }
}

#[tokio::test]
async fn a_client_may_leave_while_it_waits_for_its_former_socket() {
    let server = server(RecoveryConfig::default());
    let go_on = Arc::new(Notify::new());
    let wait = go_on.clone();
    server.of("/").on("slow", async move || wait.notified().await);
    let mut client = server.test_client().connect().await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    client.emit("slow", ()).await.unwrap();
    let raw = Raw::open(&server, Revision::V4).await;
    raw.send(&[&format!(r#"40{{"pid":"{pid}"}}"#)]).await;
    raw.send(&["41"]).await;
    raw.send(&[r#"42["on its way"]"#]).await;
    go_on.notify_one();
    gone(&server, &sid).await;
    settle().await;
    assert_eq!(server.of("/").local().len(), 0);
    raw.send(&[&format!(r#"40{{"pid":"{pid}"}}"#)]).await;
    assert!(raw.until("40").await.last().unwrap().contains(&sid), "not recovered");
}

#[tokio::test]
async fn a_client_that_was_disconnected_is_not_recovered_while_its_handler_runs() {
    let server = server(RecoveryConfig::default());
    server.of("/").on("slow", async || std::future::pending::<()>().await);
    let mut client = server.test_client().connect().await.unwrap();
    let (sid, pid) = (client.sid().to_owned(), client.pid().unwrap().to_owned());
    client.emit("slow", ()).await.unwrap();
    server.of("/").socket(&sid).unwrap().disconnect();
    assert_ne!(back(&server, &serde_json::json!({ "pid": pid })).await.sid(), sid);
}
