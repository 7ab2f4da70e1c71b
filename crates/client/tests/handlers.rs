//! Which handlers run for an event, which of them answers it, and what a panic of one means.
mod support;

use std::sync::{Arc, Mutex};

use sockeye::Server;
use sockeye_client::{Ack, ConnectErrorKind, Data, EventName, Manager, Parser, Socket};
use support::{Local, eventually, quick};

/// A server that passes events and questions on, and the client's socket.
async fn connect() -> (Local, Socket) {
    let server = Server::new();
    server.of("/").on("ask", async |socket: sockeye::Socket, sockeye::Data(event): sockeye::Data<String>| {
        Ok(socket.emit_with_ack::<serde_json::Value>(&event, 7).await?)
    });
    let local = Local::serve(server).await;
    let socket = quick(Manager::builder(&local.url())).connect().await.unwrap();
    (local, socket)
}

async fn ask(socket: &Socket, event: &str) -> serde_json::Value {
    socket.emit_with_ack("ask", event).await.unwrap()
}

#[tokio::test]
async fn on_any_receives_every_event_and_on_fallback_the_unhandled_events() {
    let (local, socket) = connect().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let seen = seen.clone();
        move |EventName(name): EventName| {
            seen.lock().unwrap().push(format!("{what} {name}"));
            std::future::ready(())
        }
    };
    socket.on("a", note("first")).once("a", note("once")).once("b", note("once"));
    socket.on_any(note("any")).on_fallback(note("fallback"));
    for event in ["a", "a", "b", "b", "last"] {
        local.server.emit(event, ()).unwrap();
    }
    eventually("all are handled", || seen.lock().unwrap().last().is_some_and(|last| last == "fallback last")).await;
    let expected = ["any a", "first a", "once a", "any a", "first a", "any b", "once b", "any b", "fallback b"];
    assert_eq!(seen.lock().unwrap()[..9], expected);
}

#[tokio::test]
async fn lifecycle_handlers_run_in_order() {
    let (local, socket) = connect().await;
    local.server.of("/closed").on_connect(async || Err::<(), _>(sockeye::ConnectRefusal::new("closed")));
    local.server.of("/open");
    let (open, closed) = (socket.manager().socket("/open"), socket.manager().socket("/closed"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let seen = seen.clone();
        move || {
            let seen = seen.clone();
            async move {
                tokio::task::yield_now().await;
                seen.lock().unwrap().push(what);
            }
        }
    };
    for socket in [&open, &closed] {
        let panicking = async || {
            if true {
                panic!("this is part of the test");
            }
        };
        socket.on_connect(panicking).on_disconnect(panicking).on_connect_error(panicking);
        // What a handler does before it answers its future is done in its turn, too.
        let note_at_once = |what: &'static str| {
            let seen = seen.clone();
            move || {
                seen.lock().unwrap().push(what);
                std::future::ready(())
            }
        };
        socket.on_connect(note("connect")).on_connect(note_at_once("connect, too"));
        socket.on_disconnect(note("disconnect")).on_disconnect(note_at_once("disconnect, too"));
        socket.on_connect_error(note("error")).on_connect_error(note_at_once("error, too"));
        socket.on("hello", note("hello")).on("hello", note_at_once("hello, too"));
    }
    open.connect().await.unwrap();
    eventually("both know", || seen.lock().unwrap().len() == 2).await;
    local.server.of("/open").emit("hello", ()).unwrap();
    eventually("both know", || seen.lock().unwrap().len() == 4).await;
    open.disconnect();
    eventually("both know", || seen.lock().unwrap().len() == 6).await;
    closed.connect().await.unwrap_err();
    eventually("both know", || seen.lock().unwrap().len() == 8).await;
    let expected = ["connect", "hello", "disconnect", "error"].map(|what| [what.to_owned(), format!("{what}, too")]);
    assert_eq!(*seen.lock().unwrap(), expected.concat());
}

#[tokio::test]
async fn the_first_handler_that_answers_wins() {
    let (_local, socket) = connect().await;
    socket.on_any(async || {});
    socket.on("sum", async || {}).on("sum", async |Data(number): Data<u8>| number + 1).on("sum", async || 9);
    socket.on("nothing", async || {}).on("nothing", async || {});
    // A handler that was going to answer, but did not run.
    socket.on("taken", async |_: Ack, Data(_): Data<String>| {});
    assert_eq!(ask(&socket, "sum").await, 8);
    assert!(ask(&socket, "nothing").await.is_null());
    assert!(ask(&socket, "taken").await["error"].is_string());
}

#[tokio::test]
async fn a_lifecycle_handler_may_end_in_an_error() {
    let (local, socket) = connect().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = |what: &'static str| {
        let seen = seen.clone();
        async move || seen.lock().unwrap().push(what)
    };
    let other = socket.manager().socket("/other");
    local.server.of("/other");
    other.on_connect(async |socket: Socket| {
        // It is a reserved name.
        socket.emit("connect", ())?;
        Ok(())
    });
    other.on_disconnect(async || Err("this is part of the test".into()));
    other.on_connect(see("connect")).on_disconnect(see("disconnect"));
    other.connect().await.unwrap();
    other.disconnect();
    eventually("the handlers behind them have run", || *seen.lock().unwrap() == ["connect", "disconnect"]).await;
}

#[tokio::test]
async fn a_panic_ends_its_own_handler_only() {
    let (_local, socket) = connect().await;
    socket.on("late", async || {
        tokio::task::yield_now().await;
        if true {
            panic!("this is part of the test");
        }
    });
    socket.on("early", || {
        if true {
            panic!("this is part of the test, too");
        }
        async {}
    });
    socket.on("fine", async || "fine");
    for event in ["late", "early"] {
        assert_eq!(ask(&socket, event).await, serde_json::json!({ "error": "internal error" }), "{event}");
    }
    assert_eq!(ask(&socket, "fine").await, "fine");
}

#[tokio::test]
async fn a_connection_that_ends_before_connect_arrives_is_an_error() {
    let (local, _socket) = connect().await;
    let told = Arc::new(Mutex::new(None));
    let manager = quick(Manager::builder(&local.url()).parser(Parser::MessagePack)).build().unwrap();
    let socket = manager.socket("/");
    let heard = told.clone();
    socket.on_connect_error(move |error: sockeye_client::ConnectError| {
        *heard.lock().unwrap() = Some(error.to_string());
        async {}
    });
    let error = tokio::time::timeout(std::time::Duration::from_secs(20), manager.connect())
        .await
        .expect("it is told")
        .unwrap_err();
    assert!(matches!(error.kind(), ConnectErrorKind::Lost { .. }), "{error}");
    assert!(error.to_string().contains("`parser`"), "{error}");
    eventually("the handler is told, too", || told.lock().unwrap().as_deref() == Some(&*error.to_string())).await;
}
