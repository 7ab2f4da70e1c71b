//! Events, acknowledgements and the order of handlers.
mod support;

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sockeye::{
    Ack, AckError, Args, Binary, Config, Data, EmitError, EventName, RawArgs, Reason, Reply, Revision, Server, Socket,
    State, Value, handler::FailedEvent,
};
use support::{Raw, next};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

#[tokio::test]
async fn arguments_reach_the_handler_in_its_own_types() {
    #[derive(serde::Deserialize)]
    struct Person {
        name: String,
        photo: Bytes,
    }
    let server = Server::builder().state(41usize).build();
    let root = server.of("/");
    root.on("person", async |Data(person): Data<Person>| format!("{} {}", person.name, person.photo.len()));
    root.on("sum", async |Args((a, b)): Args<(i64, i64)>, State(base): State<usize>| a + b + *base as i64);
    root.on("raw", async |RawArgs(args): RawArgs| Reply::of(args));
    root.on("binary", async |Binary(data): Binary| data);
    root.on("name", async |EventName(name): EventName| name);
    server.of("/other").on("who", async |socket: Socket, EventName(name): EventName| {
        Reply::of((socket.id().to_string(), socket.namespace().name().to_owned(), name))
    });
    let mut client = server.test_client().connect().await.unwrap();
    let photo = Value::Object(
        [("name".into(), "Ada".into()), ("photo".into(), Value::Binary(Bytes::from_static(&[1, 2])))]
            .into_iter()
            .collect(),
    );
    assert_eq!(client.emit_with_ack::<String>("person", photo).await.unwrap(), "Ada 2");
    assert_eq!(client.emit_with_ack::<i64>("sum", (1, 2)).await.unwrap(), 44);
    assert_eq!(client.emit_with_ack::<Value>("raw", &"as it came").await.unwrap(), Value::from("as it came"));
    assert_eq!(client.emit_with_ack::<Bytes>("binary", Bytes::from_static(&[7])).await.unwrap(), &[7][..]);
    assert_eq!(client.emit_with_ack::<String>("name", ()).await.unwrap(), "name");
    let mut other = server.test_client().namespace("/other").connect().await.unwrap();
    let question = other.emit_with_ack::<String>("who", ()).await.unwrap();
    assert_eq!(question, other.sid());
}

#[tokio::test]
async fn a_handler_that_cannot_run_or_fails_still_answers() {
    let server = Server::new();
    let root = server.of("/");
    root.on("number", async |Data(_): Data<u8>| ());
    root.on("fails", async || Err::<(), _>("no luck".into()));
    root.on("panics", async || assert_eq!(1, 2, "private detail"));
    let mut client = server.test_client().connect().await.unwrap();
    let error = client.emit_with_ack::<serde_json::Value>("number", &"x").await.unwrap();
    assert!(error["error"].as_str().unwrap().contains('0'), "{error} does not name the argument");
    assert_eq!(
        client.emit_with_ack::<serde_json::Value>("fails", ()).await.unwrap(),
        serde_json::json!({"error": "no luck"})
    );
    let panicked = client.emit_with_ack::<serde_json::Value>("panics", ()).await.unwrap();
    assert_eq!(panicked, serde_json::json!({"error": "internal error"}), "a panic's text must not leave the server");
    let metrics = server.metrics();
    assert_eq!((metrics.handler_panics, metrics.handler_errors), (1, 2));
    // Nobody answers for a handler that was going to, but did not run.
    root.on("takes", async |_: Ack, Data(_): Data<u8>| ());
    root.on("one takes", async || ()).on("one takes", async |_: Ack, Data(_): Data<u8>| ());
    for event in ["takes", "one takes"] {
        let error = client.emit_with_ack::<serde_json::Value>(event, &"x").await.unwrap();
        assert!(error["error"].is_string(), "{event}: {error}");
    }
    root.on_error(|error: &FailedEvent<'_>| Reply::of((error.event, "handled")));
    assert_eq!(client.emit_with_ack::<String>("fails", ()).await.unwrap(), "fails");
}

#[tokio::test]
async fn events_of_a_socket_run_one_after_the_other_while_acks_still_come() {
    let server = Server::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let root = server.of("/");
    let seen = order.clone();
    root.on("slow", move |socket: Socket| {
        let seen = seen.clone();
        async move {
            seen.lock().unwrap().push("slow begins");
            let answer: u8 = socket.emit_with_ack("question", ()).await.unwrap();
            assert_eq!(answer, 7);
            seen.lock().unwrap().push("slow ends");
        }
    });
    let seen = order.clone();
    root.on("quick", move || {
        seen.lock().unwrap().push("quick");
        ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    client.emit("slow", ()).await.unwrap();
    client.emit("quick", ()).await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["slow begins"]);
    let question = client.receive().await.unwrap();
    client.acknowledge(&question, 7).await.unwrap();
    client.emit_with_ack::<()>("quick", ()).await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["slow begins", "slow ends", "quick", "quick"]);
}

#[tokio::test]
async fn several_handlers_once_off_any_and_fallback() {
    let server = Server::new();
    let seen = Arc::new(Mutex::new(Vec::<String>::new()));
    let note = |what: &'static str| {
        let seen = seen.clone();
        move |EventName(name): EventName| {
            seen.lock().unwrap().push(format!("{what} {name}"));
            ready(())
        }
    };
    let root = server.of("/");
    root.on("a", note("first")).on("a", note("second")).once("a", note("once"));
    root.on_any(note("any")).on_fallback(note("fallback"));
    let mut client = server.test_client().connect().await.unwrap();
    client.emit("a", ()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["any a", "first a", "second a", "once a"]);
    seen.lock().unwrap().clear();
    client.emit("a", ()).await.unwrap();
    client.emit("b", ()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["any a", "first a", "second a", "any b", "fallback b"]);
    root.off("a");
    seen.lock().unwrap().clear();
    client.emit("a", ()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["any a", "fallback a"]);
    let socket = root.socket(client.sid()).unwrap();
    socket.once("a", note("own once"));
    socket.on("a", note("own"));
    seen.lock().unwrap().clear();
    client.emit("a", ()).await.unwrap();
    client.emit("a", ()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["any a", "own once a", "own a", "any a", "own a"]);
}

#[tokio::test]
async fn event_middleware_ends_an_event_by_an_error() {
    let server = Server::new();
    let handled = Arc::new(AtomicUsize::new(0));
    let root = server.of("/");
    root.event_middleware(
        async |EventName(name): EventName| if name == "forbidden" { Err("not allowed".into()) } else { Ok(()) },
    );
    let count = handled.clone();
    root.on_fallback(move || {
        count.fetch_add(1, Ordering::SeqCst);
        ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    let answer: serde_json::Value = client.emit_with_ack("forbidden", ()).await.unwrap();
    assert_eq!(answer, serde_json::json!({"error": "not allowed"}));
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    client.emit("allowed", ()).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn event_middleware_ends_an_event_by_disconnecting_the_socket() {
    let server = Server::new();
    let root = server.of("/");
    let handled = Arc::new(AtomicUsize::new(0));
    let count = || {
        let count = handled.clone();
        move || {
            count.fetch_add(1, Ordering::SeqCst);
            ready(())
        }
    };
    root.event_middleware(async |socket: Socket, EventName(name): EventName| match &*name {
        "at once" => socket.disconnect(),
        "later" => {
            tokio::task::yield_now().await;
            socket.close();
        }
        _ => {}
    });
    root.event_middleware(count()).on_any(count()).on("at once", count()).on("later", count()).on_fallback(count());
    let (sender, mut left) = mpsc::unbounded_channel();
    root.on_disconnect(move || {
        sender.send(()).unwrap();
        ready(())
    });
    for (name, expected) in [("at once", 0), ("later", 0), ("allowed", 3)] {
        let mut client = server.test_client().connect().await.unwrap();
        client.emit(name, ()).await.unwrap();
        if name == "allowed" {
            client.disconnect().await.unwrap();
        }
        next(&mut left).await;
        assert_eq!(handled.swap(0, Ordering::SeqCst), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_clients_time_out_are_bounded_and_end_with_the_socket() {
    let ack_timeout = Duration::from_secs(20);
    let server = Server::builder().config(Config { max_pending_acks: 2, ack_timeout, ..Config::default() }).build();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    let answer = socket.timeout(Duration::from_millis(10)).emit_with_ack::<u8>("question", ());
    let question = client.receive().await.unwrap();
    client.acknowledge(&question, 7).await.unwrap();
    assert_eq!(answer.await.unwrap(), 7);
    let begun = Instant::now();
    let late = socket.timeout(Duration::from_millis(10)).emit_with_ack::<()>("question", ()).await;
    assert!(matches!(late, Err(AckError::TimedOut)), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "a timeout of 10 ms took {:?}", begun.elapsed());
    let late = socket.emit_with_ack::<()>("question", ()).await;
    assert!(matches!(late, Err(AckError::TimedOut)), "{late:?}");
    assert!(begun.elapsed() >= ack_timeout, "the server's timeout of 20 s took {:?}", begun.elapsed());
    let (first, second) = (socket.emit_with_ack::<()>("q", ()), socket.emit_with_ack::<()>("q", ()));
    let third = socket.emit_with_ack::<()>("q", ()).await;
    assert!(matches!(third, Err(AckError::Emit(_))), "{third:?}");
    assert_eq!(server.metrics().acks_limited, 1);
    drop(second);
    client.disconnect().await.unwrap();
    assert!(matches!(first.await, Err(AckError::Disconnected)));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_awaits_an_acknowledgement_fails_at_once_if_its_client_leaves() {
    let server = Server::new();
    let root = server.of("/");
    let (sender, mut told) = mpsc::unbounded_channel();
    let left = sender.clone();
    root.on("ask", move |socket: Socket| {
        let sender = sender.clone();
        async move {
            let all = socket.namespace().everyone().emit_with_ack::<u8>("question", ()).unwrap();
            let one = socket.emit_with_ack::<u8>("question", ()).await;
            sender.send(format!("{one:?}, {:?}", all.collect().await.missing[0].1)).unwrap();
        }
    });
    root.on_disconnect(move |Reason(reason): Reason| {
        left.send(reason.to_string()).unwrap();
        ready(())
    });
    let begun = Instant::now();
    for reason in ["client namespace disconnect", "server namespace disconnect", "transport close"] {
        let mut client = server.test_client().connect().await.unwrap();
        client.emit("ask", ()).await.unwrap();
        for _ in 0..2 {
            client.receive().await.unwrap();
        }
        match reason {
            "client namespace disconnect" => client.disconnect().await.unwrap(),
            "server namespace disconnect" => root.socket(client.sid()).unwrap().disconnect(),
            _ => drop(client),
        }
        assert_eq!(next(&mut told).await, "Err(Disconnected), Disconnected");
        assert_eq!(next(&mut told).await, reason);
        assert!(root.local().is_empty());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "they were told after {:?}", begun.elapsed());
}

#[tokio::test]
async fn emit_with_ack_works_outside_of_a_runtime() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    let asking = std::thread::spawn(move || {
        let one = socket.emit_with_ack::<u8>("one", ());
        (one, root.timeout(Duration::MAX).emit_with_ack::<u8>("all", ()).unwrap())
    });
    let (one, all) = asking.join().expect("it needs a runtime");
    for number in [1, 2] {
        let question = client.receive().await.unwrap();
        client.acknowledge(&question, number).await.unwrap();
    }
    assert_eq!(one.await.unwrap(), 1);
    assert_eq!(all.collect().await.answers, [(Some(client.sid().into()), 2)]);
}

#[tokio::test(start_paused = true)]
async fn the_acknowledgement_timeout_starts_with_the_emit() {
    let server = Server::new();
    let root = server.of("/");
    let client = server.test_client().connect().await.unwrap();
    let timeout = Duration::from_secs(5);
    let one = root.socket(client.sid()).unwrap().timeout(timeout).emit_with_ack::<()>("one", ());
    let all = root.timeout(timeout).emit_with_ack::<()>("all", ()).unwrap();
    tokio::time::sleep(timeout).await;
    let begun = Instant::now();
    assert!(matches!(one.await, Err(AckError::TimedOut)));
    assert!(matches!(&all.collect().await.missing[..], [(_, AckError::TimedOut)]));
    assert!(begun.elapsed() < timeout, "it was waited for {:?} more", begun.elapsed());
}

#[tokio::test]
async fn all_arguments_of_an_acknowledgement_can_be_read() {
    let server = Server::new();
    let mut client = server.test_client().connect().await.unwrap();
    let socket = server.of("/").socket(client.sid()).unwrap();
    let (whole, first) = (socket.emit_with_ack::<Value>("q", ()), socket.emit_with_ack::<i64>("q", ()));
    for _ in 0..2 {
        let question = client.receive().await.unwrap();
        client.acknowledge(&question, (5, "five")).await.unwrap();
    }
    let answer = whole.raw().await.unwrap();
    assert_eq!(answer.as_args().all::<(i64, String)>().unwrap(), (5, "five".to_owned()));
    assert_eq!(first.await.unwrap(), 5);
    let left = socket.emit_with_ack::<Value>("q", ());
    client.disconnect().await.unwrap();
    assert!(matches!(left.raw().await, Err(AckError::Disconnected)));
}

#[tokio::test]
async fn a_late_acknowledgement_does_not_answer_an_event_emitted_after_the_reconnection() {
    let server = Server::new();
    let root = server.of("/");
    let mut questions = Vec::new();
    let client = Raw::open(&server, Revision::V4).await;
    for _ in 0..2 {
        client.send(&["40"]).await;
        let joined = client.until("40").await;
        let joined = joined.iter().find(|packet| packet.starts_with("40")).unwrap();
        let joined: serde_json::Value = serde_json::from_str(&joined[2..]).unwrap();
        let socket = root.socket(joined["sid"].as_str().unwrap()).unwrap();
        let answer = socket.emit_with_ack::<String>("q", ());
        let asked = client.until("[\"q\"]").await;
        let asked = asked.iter().find_map(|packet| packet.strip_prefix("42")?.strip_suffix("[\"q\"]")).unwrap();
        questions.push((asked.to_owned(), answer));
        if questions.len() == 1 {
            client.send(&["41"]).await;
        }
    }
    let [(old, gone), (new, answer)] = <[_; 2]>::try_from(questions).unwrap();
    assert!(matches!(gone.await, Err(AckError::Disconnected)));
    client.send(&[&format!("43{old}[\"old\"]"), &format!("43{new}[\"new\"]")]).await;
    assert_eq!(answer.await.unwrap(), "new");
}

#[tokio::test]
async fn the_acknowledgement_ids_of_broadcasts_fit_into_32_bits() {
    let server = Server::new();
    let client = Raw::open(&server, Revision::V4).await;
    client.send(&["40"]).await;
    client.until("40").await;
    let asked = server.of("/").timeout(Duration::from_secs(60)).emit_with_ack::<String>("q", ()).unwrap();
    let packets = client.until("[\"q\"]").await;
    let id = packets.iter().find_map(|packet| packet.strip_prefix("42")?.strip_suffix("[\"q\"]")).unwrap();
    assert!(id.parse::<i32>().is_ok(), "{id}");
    client.send(&[&format!("43{id}[\"here\"]")]).await;
    assert_eq!(asked.collect().await.answers.len(), 1);
}

#[tokio::test]
async fn a_handler_can_send_the_acknowledgement_later() {
    let server = Server::new();
    let (asked, answered) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let (notify, slot) = (asked.clone(), answered.clone());
    server.of("/").on("later", move |ack: Ack| {
        assert!(ack.is_wanted());
        *slot.lock().unwrap() = Some(ack);
        notify.notify_one();
        ready(())
    });
    let mut client = server.test_client().connect().await.unwrap();
    let answer = async { client.emit_with_ack::<String>("later", ()).await.unwrap() };
    let answering = async {
        asked.notified().await;
        let ack = answered.lock().unwrap().take().unwrap();
        ack.send("at last").unwrap();
    };
    let (answer, ()) = tokio::join!(answer, answering);
    assert_eq!(answer, "at last");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_collects_acknowledgements_until_the_timeout() {
    let server = Server::new();
    let root = server.of("/");
    let mut willing = server.test_client().connect().await.unwrap();
    let silent = server.test_client().connect().await.unwrap();
    let begun = Instant::now();
    let asked = root.timeout(Duration::from_millis(100)).emit_with_ack::<u8>("vote", ()).unwrap();
    assert_eq!(asked.outstanding(), 2);
    let vote = willing.receive().await.unwrap();
    willing.acknowledge(&vote, 3).await.unwrap();
    let collected = asked.collect().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "a timeout of 100 ms took {:?}", begun.elapsed());
    assert_eq!(collected.answers, [(Some(willing.sid().into()), 3)]);
    assert!(matches!(&collected.missing[..], [(Some(sid), AckError::TimedOut)] if **sid == *silent.sid()));
    let nobody = root.to("nobody").emit_with_ack::<u8>("vote", ()).unwrap().collect().await;
    assert!(nobody.answers.is_empty() && nobody.missing.is_empty());
}

#[tokio::test]
async fn outgoing_events_can_be_observed() {
    let server = Server::new();
    let root = server.of("/");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    root.on_any_outgoing(move |_, name, args| note.lock().unwrap().push(format!("{name} {}", args.len())));
    let client = server.test_client().connect().await.unwrap();
    root.emit("all", (1, 2)).unwrap();
    root.socket(client.sid()).unwrap().emit("one", ()).unwrap();
    assert_eq!(*seen.lock().unwrap(), ["all 2", "one 0"]);
}

#[tokio::test]
async fn reserved_names_cannot_be_emitted() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    let is_refused = |emitted: Result<(), EmitError>, name: &str| {
        assert!(matches!(&emitted, Err(EmitError::ReservedName(refused)) if **refused == *name), "{name}: {emitted:?}");
    };
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        is_refused(server.emit(name, ()), name);
        is_refused(socket.emit(name, ()), name);
        let asked = socket.emit_with_ack::<()>(name, ()).await;
        assert!(matches!(&asked, Err(AckError::Emit(EmitError::ReservedName(_)))), "{name}: {asked:?}");
        is_refused(root.everyone().emit_with_ack::<()>(name, ()).map(drop), name);
    }
    assert!(client.received().is_empty());
}

#[tokio::test]
async fn data_that_cannot_be_serialised_is_not_emitted() {
    let server = Server::new();
    let root = server.of("/");
    let mut client = server.test_client().connect().await.unwrap();
    let socket = root.socket(client.sid()).unwrap();
    // JSON has no keys but text.
    let data = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(root.emit("x", &data), Err(EmitError::Encode(_))));
    assert!(matches!(socket.emit("x", &data), Err(EmitError::Encode(_))));
    assert!(matches!(root.everyone().emit_with_ack::<()>("x", &data), Err(EmitError::Encode(_))));
    let asked = socket.emit_with_ack::<()>("x", &data).await;
    assert!(matches!(&asked, Err(AckError::Emit(EmitError::Encode(_)))), "{asked:?}");
    assert!(client.received().is_empty());
}
