//! What events are answered with, and what is no answer.
mod support;

use http::StatusCode;
use sockeye::{Reply, Revision, Server, Socket};
use support::Raw;

/// Otherwise a client whose event has a name that nobody knows would be told that all is well.
#[tokio::test]
async fn middleware_and_on_any_do_not_acknowledge_an_event_without_handler() {
    let server = Server::new();
    let root = server.of("/");
    root.on_any(async || {});
    root.on("known", async || {});
    let client = Raw::open(&server, Revision::V4).await;
    assert_eq!(client.send(&["40"]).await, StatusCode::OK);
    client.until("40").await;
    for _ in 0..2 {
        assert_eq!(client.send(&["421[\"unknown\"]", "422[\"known\"]"]).await, StatusCode::OK);
        assert_eq!(client.until("432").await, ["432[]"]);
        root.event_middleware(async || Ok(()));
    }
    root.on_any(async || Err::<(), _>("no".into()));
    assert_eq!(client.send(&["421[\"unknown\"]"]).await, StatusCode::OK);
    assert_eq!(client.until("431").await, [r#"431[{"error":"no"}]"#]);
}

#[tokio::test]
async fn ids_rooms_and_lists_can_be_emitted_and_returned() {
    let server = Server::new();
    let root = server.of("/");
    root.on("rooms", async |socket: Socket| socket.rooms());
    root.on("id", async |socket: Socket| Reply::of(socket.id()));
    root.on("tell", async |socket: Socket| Ok(socket.emit("list", vec!["a", "b"])?));
    let mut client = server.test_client().connect().await.unwrap();
    let sid = client.sid().to_owned();
    assert_eq!(client.emit_with_ack::<String>("id", ()).await.unwrap(), sid);
    assert_eq!(client.emit_with_ack::<Vec<String>>("rooms", ()).await.unwrap(), [sid]);
    client.emit_with_ack::<()>("tell", ()).await.unwrap();
    let list = client.receive().await.unwrap();
    assert_eq!(
        (list.args.as_args().len(), list.args.as_args().get::<Vec<String>>(0).unwrap()),
        (1, vec!["a".into(), "b".into()])
    );
}
