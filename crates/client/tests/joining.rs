//! How sockets join their namespaces, leave them and come back, packet by packet.
#[path = "support/script.rs"]
mod script;
mod support;

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use script::{Line, Script};
use serde_json::{Value, json};
use sockeye_client::{ConnectError, ConnectErrorKind, Data, Manager, Reconnection, Socket};
use sockeye_handler::with_causes;
use support::{Local, eventually};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}

fn begin_connecting(socket: &Socket) -> JoinHandle<Result<(), ConnectError>> {
    let socket = socket.clone();
    tokio::spawn(async move { socket.connect().await })
}

/// A manager whose socket of the namespace `/` is connected, so that the connection lasts whatever the others do.
async fn with_root(manager: Manager, script: &Script) -> (Socket, Line) {
    let root = manager.socket("/");
    let connecting = begin_connecting(&root);
    let line = script.let_in(r#"{"sid":"root"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    (root, line)
}

/// Checks that the client had nothing else to say, by having it say something twice: what the first is the occasion for
/// comes before the second.
async fn nothing_else_was_sent(root: &Socket, line: &mut Line) {
    for number in 0..2 {
        root.emit("nothing else", number).unwrap();
        assert_eq!(line.next().await, format!(r#"2["nothing else",{number}]"#));
    }
}

fn parts(packet: &str) -> (&str, Value) {
    let (head, payload) = packet.split_at(packet.find('{').unwrap_or(packet.len()));
    (head, if payload.is_empty() { Value::Null } else { serde_json::from_str(payload).unwrap() })
}

/// What the handlers of a socket are told: of its connecting, and of the event `news`.
fn told(socket: &Socket) -> mpsc::UnboundedReceiver<String> {
    let (sender, told) = mpsc::unbounded_channel();
    let (connected, failed) = (sender.clone(), sender.clone());
    socket.on_connect(move |socket: Socket| {
        let connected = connected.clone();
        async move { connected.send(format!("recovered {}", socket.is_recovered())).unwrap() }
    });
    socket.on_connect_error(move |error: ConnectError| {
        let failed = failed.clone();
        async move { failed.send(with_causes(&error)).unwrap() }
    });
    socket.on("news", move |Data(text): Data<String>| {
        let sender = sender.clone();
        async move { sender.send(text).unwrap() }
    });
    told
}

#[tokio::test]
async fn events_before_a_connect_that_was_lost_are_requested_again() {
    let script = Script::begin().await;
    let socket = script.client().build().unwrap().socket("/");
    let mut told = told(&socket);
    let connecting = begin_connecting(&socket);
    let session = r#"{"sid":"a","pid":"p"}"#;
    let mut line = script.let_in(session).await;
    line.send(r#"2["news","one","first"]"#).await;
    in_time(connecting).await.unwrap().unwrap();
    line.end().await;
    let asked = |offset: &str| ("0", json!({ "pid": "p", "offset": offset }));

    let mut line = script.accept().await;
    assert_eq!(parts(&line.next().await), asked("first"));
    line.send(r#"2["news","two","second"]"#).await;
    line.end().await;

    let mut line = script.accept().await;
    assert_eq!(parts(&line.next().await), asked("first"));
    line.send(r#"2["news","two","second"]"#).await;
    line.send(r#"2["news","three","third"]"#).await;
    line.send(&format!("0{session}")).await;
    for expected in ["recovered false", "one", "recovered true", "two", "three"] {
        assert_eq!(in_time(told.recv()).await.unwrap(), expected);
    }
    line.end().await;
    assert_eq!(parts(&script.accept().await.next().await), asked("third"));
}

#[tokio::test]
async fn a_client_that_missed_more_than_its_buffer_holds_starts_a_new_session() {
    let script = Script::begin().await;
    let socket = script.client().receive_buffer(100).build().unwrap().socket("/");
    let mut told = told(&socket);
    let connecting = begin_connecting(&socket);
    let mut line = script.let_in(r#"{"sid":"a","pid":"p"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    line.send(r#"2["news","one","first"]"#).await;
    line.end().await;

    let mut line = script.accept().await;
    assert_eq!(parts(&line.next().await), ("0", json!({ "pid": "p", "offset": "first" })));
    line.send(&format!(r#"2["news","{}","second"]"#, "x".repeat(200))).await;
    let _line = script.let_in(r#"{"sid":"b","pid":"q"}"#).await;
    for expected in ["recovered false", "one", "recovered false"] {
        assert_eq!(in_time(told.recv()).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_auth_function_may_use_its_socket() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    let other = root.manager().socket("/other");
    let own = other.clone();
    other.set_auth_with(move || {
        own.emit("early", own.is_recovered()).unwrap();
        let waiting = own.buffered();
        let transport = own.manager().transport().map(|transport| transport.to_string());
        async move { Ok::<_, ConnectError>(json!({ "waiting": waiting, "transport": transport })) }
    });
    let connecting = begin_connecting(&other);
    let asked = line.next().await;
    assert_eq!(parts(&asked), ("0/other,", json!({ "waiting": 1, "transport": "websocket" })));
    line.send(r#"0/other,{"sid":"o"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    assert_eq!(line.next().await, r#"2/other,["early",false]"#);
}

#[tokio::test]
async fn a_panic_of_the_auth_function_fails_its_own_socket_only() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    let [first, second] = ["/first", "/second"].map(|namespace| root.manager().socket(namespace));
    first.set_auth_with(|| {
        if true {
            panic!("no token");
        }
        async { Ok::<_, ConnectError>(()) }
    });
    second.set_auth_with(|| async {
        tokio::task::yield_now().await;
        if true {
            panic!("no token");
        }
        Ok::<_, ConnectError>(())
    });
    for socket in [&first, &second] {
        let error = in_time(socket.connect()).await.unwrap_err();
        let ConnectErrorKind::Auth { namespace } = error.kind() else { panic!("{error:?}") };
        assert_eq!(namespace, socket.namespace());
        assert!(error.source().unwrap().to_string().contains("no token"), "{error:?}");
    }
    nothing_else_was_sent(&root, &mut line).await;
}

#[tokio::test]
async fn a_late_result_of_the_auth_function_is_not_sent() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    let other = root.manager().socket("/other");
    let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (closed, count) = (gate.clone(), calls.clone());
    other.set_auth_with(move || {
        let closed = closed.clone();
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            drop(closed.acquire().await.unwrap());
            Ok::<_, ConnectError>(json!({ "token": "old" }))
        }
    });
    let cancelled = begin_connecting(&other);
    eventually("it is asked for", || calls.load(Ordering::SeqCst) == 1).await;
    other.disconnect();
    let error = in_time(cancelled).await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::Cancelled { .. }), "{error:?}");
    // The server has not been asked, and need not be told.
    nothing_else_was_sent(&root, &mut line).await;
    other.set_auth(json!({ "token": "new" })).unwrap();
    let connecting = begin_connecting(&other);
    assert_eq!(line.next().await, r#"0/other,{"token":"new"}"#);
    gate.add_permits(1);
    nothing_else_was_sent(&root, &mut line).await;
    line.send(r#"0/other,{"sid":"o"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_that_leaves_before_connect_arrives_answers_it_with_disconnect() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    let other = root.manager().socket("/other");
    let cancelled = begin_connecting(&other);
    assert_eq!(line.next().await, "0/other,");
    other.disconnect();
    in_time(cancelled).await.unwrap().unwrap_err();
    nothing_else_was_sent(&root, &mut line).await;
    line.send(r#"0/other,{"sid":"o"}"#).await;
    assert_eq!(line.next().await, "1/other,");
    assert!(!other.is_connected());
    // The server has answered: it can be asked again.
    let connecting = begin_connecting(&other);
    assert_eq!(line.next().await, "0/other,");
    line.send(r#"0/other,{"sid":"p"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    other.disconnect();
    assert_eq!(line.next().await, "1/other,");
    nothing_else_was_sent(&root, &mut line).await;
}

#[tokio::test]
async fn a_second_connect_is_sent_only_after_the_first_is_answered() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    let other = root.manager().socket("/other");
    let mut told = told(&other);
    for (answer, goodbye) in [(r#"0/other,{"sid":"old"}"#, true), (r#"4/other,{"message":"not you"}"#, false)] {
        other.set_auth(json!({ "token": "old" })).unwrap();
        let cancelled = begin_connecting(&other);
        assert_eq!(line.next().await, r#"0/other,{"token":"old"}"#);
        other.disconnect();
        in_time(cancelled).await.unwrap().unwrap_err();
        other.set_auth(json!({ "token": "new" })).unwrap();
        let connecting = begin_connecting(&other);
        nothing_else_was_sent(&root, &mut line).await;
        // This is for who has left.
        line.send(r#"2/other,["news","old"]"#).await;
        line.send(answer).await;
        if goodbye {
            assert_eq!(line.next().await, "1/other,");
        }
        assert_eq!(line.next().await, r#"0/other,{"token":"new"}"#);
        line.send(r#"2/other,["news","new"]"#).await;
        line.send(r#"0/other,{"sid":"new"}"#).await;
        in_time(connecting).await.unwrap().unwrap();
        assert_eq!(other.id().as_deref(), Some("new"));
        for expected in ["recovered false", "new"] {
            assert_eq!(in_time(told.recv()).await.unwrap(), expected);
        }
        other.disconnect();
        assert_eq!(line.next().await, "1/other,");
    }
}

#[tokio::test]
async fn a_socket_pauses_between_disconnect_and_the_next_connect() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    let other = root.manager().socket("/other");
    let connecting = begin_connecting(&other);
    assert_eq!(line.next().await, "0/other,");
    line.send(r#"0/other,{"sid":"o"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    let began = Instant::now();
    other.disconnect();
    let connecting = begin_connecting(&other);
    assert_eq!(line.next().await, "1/other,");
    assert_eq!(line.next().await, "0/other,");
    // The reference would close the connection for both at once.
    assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    line.send(r#"0/other,{"sid":"p"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_namespace_that_answers_after_the_timeout_is_left() {
    let script = Script::begin().await;
    let limit = Duration::from_secs(3);
    let (root, mut line) = with_root(script.client().timeout(limit).build().unwrap(), &script).await;
    let other = root.manager().socket("/other");
    for _ in 0..2 {
        // The second time it is not even asked: it has not answered the first question.
        let error = in_time(other.connect()).await.unwrap_err();
        assert!(matches!(error.kind(), ConnectErrorKind::NamespaceTimedOut { .. }), "{error:?}");
    }
    assert_eq!(line.next().await, "0/other,");
    nothing_else_was_sent(&root, &mut line).await;
    line.send(r#"0/other,{"sid":"o"}"#).await;
    assert_eq!(line.next().await, "1/other,");
    nothing_else_was_sent(&root, &mut line).await;
}

#[tokio::test]
async fn an_auth_function_that_fails_on_a_reconnect_is_called_again() {
    let script = Script::begin().await;
    let manager = script.client().build().unwrap();
    let socket = manager.socket("/");
    let mut told = told(&socket);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    socket.set_auth_with(move || {
        let call = count.fetch_add(1, Ordering::SeqCst);
        async move { if call == 1 || call == 2 { Err(format!("failure {call}")) } else { Ok(json!({ "call": call })) } }
    });
    let connecting = begin_connecting(&socket);
    let mut line = script.accept().await;
    assert_eq!(line.next().await, r#"0{"call":0}"#);
    line.send(r#"0{"sid":"a"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    line.end().await;
    eventually("the loss is noticed", || !socket.is_connected()).await;
    socket.emit("kept", ()).unwrap();
    let mut line = script.accept().await;
    assert_eq!(line.next().await, r#"0{"call":3}"#);
    assert!(socket.is_active());
    line.send(r#"0{"sid":"b"}"#).await;
    assert_eq!(line.next().await, r#"2["kept"]"#);
    let failure = |call| format!("the function of `auth_with` failed for namespace /: failure {call}");
    for expected in ["recovered false".to_owned(), failure(1), failure(2), "recovered false".to_owned()] {
        assert_eq!(in_time(told.recv()).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_reconnect_waits_for_a_namespace_that_answers_late() {
    let script = Script::begin().await;
    let limit = Duration::from_secs(3);
    let (root, line) = with_root(script.client().timeout(limit).build().unwrap(), &script).await;
    let mut told = told(&root);
    line.end().await;
    let mut line = script.accept().await;
    assert_eq!(line.next().await, "0");
    for _ in 0..2 {
        assert!(in_time(told.recv()).await.unwrap().contains("namespace / was not connected within"));
        assert!(root.is_active() && !root.is_connected());
    }
    line.send(r#"0{"sid":"b"}"#).await;
    in_time(root.ready()).await.unwrap();
    nothing_else_was_sent(&root, &mut line).await;
}

#[tokio::test]
async fn with_retry_first_an_auth_function_that_fails_is_called_again() {
    let script = Script::begin().await;
    let tries = Arc::new(Mutex::new(0));
    let count = tries.clone();
    let builder = script.client().retry_first(true).auth_with(move || {
        let mut tries = count.lock();
        *tries += 1;
        let tries = *tries;
        async move { if tries < 3 { Err("not yet") } else { Ok(json!({ "try": tries })) } }
    });
    let connecting = tokio::spawn(builder.connect());
    let mut line = script.accept().await;
    assert_eq!(line.next().await, r#"0{"try":3}"#);
    line.send(r#"0{"sid":"a"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn ready_returns_why_a_socket_was_given_up() {
    let script = Script::begin().await;
    let (root, mut line) = with_root(script.client().build().unwrap(), &script).await;
    assert!(root.ready().await.is_ok());
    line.send("1").await;
    eventually("it is noticed", || !root.is_active()).await;
    line.end().await;
    let kind = |error: ConnectError| error.kind().clone();
    let why = kind(root.ready().await.unwrap_err());
    assert!(matches!(why, ConnectErrorKind::Lost { .. }), "{why:?}");

    let connecting = begin_connecting(&root);
    let line = script.let_in(r#"{"sid":"b"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    assert!(root.ready().await.is_ok());
    line.end().await;
    let mut line = script.accept().await;
    assert_eq!(line.next().await, "0");
    line.send(r#"4{"message":"no more"}"#).await;
    eventually("it is noticed", || !root.is_active()).await;
    let ConnectErrorKind::Refused(refusal) = kind(root.ready().await.unwrap_err()) else { panic!("it was refused") };
    assert_eq!(refusal.message, "no more");
    root.disconnect();
    let why = kind(root.ready().await.unwrap_err());
    assert!(matches!(why, ConnectErrorKind::Cancelled { .. }), "{why:?}");

    // However often it may be tried, this fails.
    let script = Script::begin().await;
    let policy = Reconnection { delay: Duration::from_millis(1), attempts: Some(2), ..Reconnection::default() };
    let socket = script.client().reconnection(policy).build().unwrap().socket("/");
    let mut told = told(&socket);
    let first = begin_connecting(&socket);
    let line = script.let_in(r#"{"sid":"a"}"#).await;
    in_time(first).await.unwrap().unwrap();
    socket.set_auth_with(|| async { Err::<(), _>("no token") });
    line.end().await;
    let _line = script.accept().await;
    eventually("it is given up", || !socket.is_active()).await;
    let error = socket.ready().await.unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::Auth { .. }), "{error:?}");
    assert_eq!(in_time(told.recv()).await.unwrap(), "recovered false");
    for _ in 0..3 {
        assert_eq!(in_time(told.recv()).await.unwrap(), with_causes(&error));
    }
}

#[tokio::test]
async fn a_disconnect_returns_when_another_task_connects_again() {
    let local = Local::serve(sockeye::Server::new()).await;
    let manager = support::quick(Manager::builder(&local.url())).build().unwrap();
    let socket = manager.socket("/");
    in_time(socket.connect()).await.unwrap();
    socket.on_disconnect(async |socket: Socket| {
        socket.connect().await.unwrap();
    });
    in_time(manager.disconnect()).await;
    in_time(socket.ready()).await.unwrap();
    assert!(socket.is_connected());
}

#[tokio::test]
async fn a_connect_without_an_id_is_an_error_that_names_the_version() {
    let script = Script::begin().await;
    let connecting = tokio::spawn(script.client().retry_first(true).connect());
    let _line = script.let_in("").await;
    let error = in_time(connecting).await.unwrap().unwrap_err();
    let ConnectErrorKind::NoId { namespace } = error.kind() else { panic!("{error:?}") };
    assert_eq!(namespace, "/");
    assert!(error.to_string().contains("engine_version"), "{error}");
}

#[tokio::test]
async fn a_callback_receives_an_acknowledgement_while_the_handler_goes_on() {
    let script = Script::begin().await;
    let socket = script.client().build().unwrap().socket("/");
    let (sender, mut told) = mpsc::unbounded_channel();
    let (answers, events) = (sender.clone(), sender);
    socket.on("ask", async move |socket: Socket| {
        socket.emit_with_callback("question", (), async move |answer| {
            let answer: u8 = answer.unwrap();
            answers.send(format!("answer {answer}")).unwrap();
        });
    });
    socket.on("news", async move |Data(text): Data<String>| events.send(text).unwrap());
    let connecting = begin_connecting(&socket);
    let mut line = script.let_in(r#"{"sid":"a"}"#).await;
    in_time(connecting).await.unwrap().unwrap();
    line.send(r#"2["ask"]"#).await;
    assert_eq!(line.next().await, r#"20["question"]"#);
    // A handler that awaited the answer would hold this up.
    line.send(r#"2["news","later"]"#).await;
    assert_eq!(in_time(told.recv()).await.unwrap(), "later");
    line.send("30[7]").await;
    assert_eq!(in_time(told.recv()).await.unwrap(), "answer 7");
}
