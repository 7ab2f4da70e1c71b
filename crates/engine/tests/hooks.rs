//! What an application has to say about requests.
mod support;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use http::HeaderValue;
use sockeye_engine::{Config, Hooks, Sid};
use support::{PATIENCE, Received, sid, start};
use tokio::sync::mpsc;

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

fn with(hooks: Hooks) -> Config {
    Config { hooks, ..Config::default() }
}

#[tokio::test]
async fn allow_request_refuses_a_request_with_its_reason() {
    let now = Hooks::default().allow_request(|request| {
        let allowed = request.uri.query().is_some_and(|query| query.contains("token=1"));
        ready(if allowed { Ok(()) } else { Err("no \"token\"".into()) })
    });
    let later = Hooks::default().allow_request(|request| {
        let allowed = request.uri.query().is_some_and(|query| query.contains("token=1"));
        async move {
            tokio::task::yield_now().await;
            if allowed { Ok(()) } else { Err("no \"token\"".to_owned()) }
        }
    });
    for hooks in [now, later] {
        let server = start(with(hooks)).await;
        let refused = server.get(POLLING).await;
        assert_eq!((refused.status, &*refused.body), (403, r#"{"code":4,"message":"no \"token\""}"#));
        let (status, websocket) = server.try_websocket(WEBSOCKET).await;
        assert_eq!(status, 403, "a refused WebSocket is a plain HTTP error");
        assert_eq!(websocket.head.header("content-type"), Some("text/html"));
        assert_eq!(server.engine.session_count(), 0);
        let open = server.get(&format!("{POLLING}&token=1")).await;
        server.websocket(&format!("{WEBSOCKET}&token=1")).await.text().await;
        let session = format!("{POLLING}&sid={}", sid(&open.body));
        assert_eq!(server.post(&session, "4a").await.status, 200, "only handshakes are asked about");
    }
}

#[tokio::test]
async fn generate_id_names_sessions_and_failures_and_invalid_or_used_ids_open_none() {
    let number = Arc::new(AtomicU32::new(0));
    let hooks = Hooks::default().generate_id(move |_| {
        let id = match number.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Sid::from("first")),
            1 => Ok(Sid::from("second")),
            2..5 => Ok(Sid::from("first")),
            5 => Ok(Sid::from("a;b")),
            _ => Err("out of ids".to_owned()),
        };
        async move {
            tokio::task::yield_now().await;
            id
        }
    });
    let server = start(with(hooks)).await;
    assert_eq!(sid(&server.get(POLLING).await.body), "first");
    let mut second = server.websocket(WEBSOCKET).await;
    assert_eq!(sid(&second.text().await), "second");
    assert_eq!(server.try_websocket(WEBSOCKET).await.0, 400, "in use");
    for problem in ["in use", "in use", "odd", "none"] {
        let refused = server.get(POLLING).await;
        assert_eq!((refused.status, &*refused.body), (400, r#"{"code":3,"message":"Bad request"}"#), "{problem}");
    }
    assert_eq!(server.try_websocket(WEBSOCKET).await.0, 400);
    assert_eq!(server.engine.session_count(), 2);
    second.send("4still mine").await;
    assert_eq!(second.text().await, "4still mine");
}

#[tokio::test]
async fn hooks_change_the_headers_of_the_first_answer_and_of_every_answer() {
    let hooks = Hooks::default()
        .initial_headers(|headers, request| {
            let target = request.uri.to_string();
            headers.insert("x-first", HeaderValue::try_from(target).unwrap());
        })
        .headers(|headers, _| drop(headers.insert("x-all", HeaderValue::from_static("yes"))));
    let server = start(with(hooks)).await;
    let open = server.get(POLLING).await;
    assert_eq!(open.header("x-first"), Some("/socket.io/?EIO=4&transport=polling"));
    assert_eq!(open.header("x-all"), Some("yes"));
    let session = format!("{POLLING}&sid={}", sid(&open.body));
    let post = server.post(&session, "4a").await;
    assert_eq!((post.header("x-first"), post.header("x-all")), (None, Some("yes")));
    let refused = server.get("EIO=4").await;
    assert_eq!((refused.header("x-first"), refused.header("x-all")), (None, Some("yes")));
    let websocket = server.websocket(WEBSOCKET).await;
    assert_eq!(websocket.head.header("x-first"), Some("/socket.io/?EIO=4&transport=websocket"));
    assert_eq!(websocket.head.header("x-all"), Some("yes"));
    let upgrade = server.websocket(&session.replace("polling", "websocket")).await;
    assert_eq!((upgrade.head.header("x-first"), upgrade.head.header("x-all")), (None, Some("yes")));
}

#[tokio::test]
async fn connection_error_receives_every_refusal_with_code_message_context_and_request() {
    let (sender, mut refused) = mpsc::unbounded_channel();
    let hooks = Hooks::default().allow_request(|_| ready(Err("never".into()))).connection_error(move |error| {
        let told =
            (error.refusal.code(), error.refusal.to_string(), error.refusal.context(), error.request.uri.to_string());
        sender.send(told).unwrap();
    });
    let server = start(with(hooks)).await;
    for (query, code, message, cause) in [
        (POLLING, 4, "never", ""),
        ("EIO=4", 0, "Transport unknown", "`transport`"),
        ("EIO=4&transport=polling&sid=x", 1, "Session ID unknown", "no session with this id is open on this server"),
        (WEBSOCKET, 3, "Bad request", "a WebSocket needs the headers `Connection: Upgrade` and `Upgrade: websocket`"),
        ("transport=polling", 5, "Unsupported protocol version", ""),
    ] {
        server.get(query).await;
        // It is told before the answer is out.
        let (told_code, told_message, context, uri) = refused.try_recv().expect("nobody was told");
        assert_eq!((told_code, told_message.as_str()), (code, message));
        assert!(context.contains(cause), "{context}");
        assert_eq!(uri, format!("/socket.io/?{query}"));
    }
    server.try_websocket(WEBSOCKET).await;
    assert_eq!(refused.try_recv().expect("nobody was told").0, 4);
    server.try_websocket("EIO=4&transport=polling").await;
    assert_eq!(refused.try_recv().expect("nobody was told").0, 0);
}

#[tokio::test]
async fn a_reused_identifier_belongs_to_the_new_session() {
    let mut server = start(with(Hooks::default().generate_id(|_| ready(Ok(Sid::from("again")))))).await;
    let mut first = server.websocket(WEBSOCKET).await;
    first.text().await;
    let session = server.next_session().await;
    session.close();
    assert_eq!(first.receive().await, Received::Close(None));
    // The first session's task still waits for its client to hang up.
    let open = server.get(POLLING).await;
    assert_eq!(open.status, 200, "{}", open.body);
    drop(first);
    tokio::time::timeout(PATIENCE, async {
        while Arc::strong_count(&session) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the first session's task does not end");
    assert_eq!(server.post(&format!("{POLLING}&sid=again"), "4a").await.status, 200, "the second session is gone");
}
