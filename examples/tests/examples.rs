//! Each example does what it says.
#![allow(dead_code)]
use bytes::Bytes;
use http::Request;
use sockeye::{TestClientError, Value};
use tower_service::Service;

#[path = "../acks.rs"]
mod acks;
#[path = "../axum.rs"]
mod axum_beside;
#[path = "../background_task.rs"]
mod background_task;
#[path = "../binary.rs"]
mod binary;
#[path = "../middleware_auth.rs"]
mod middleware_auth;
#[path = "../namespaces.rs"]
mod namespaces;
#[path = "../recovery.rs"]
mod recovery;
#[path = "../rooms.rs"]
mod rooms;
#[path = "../test_client.rs"]
mod test_client_example;
#[path = "../tls.rs"]
mod tls;

#[tokio::test]
async fn rooms() {
    let server = rooms::rooms();
    let (mut ada, mut bob) =
        (server.test_client().connect().await.unwrap(), server.test_client().connect().await.unwrap());
    let refused: serde_json::Value = ada.emit_with_ack("say", ("river", "hello")).await.unwrap();
    assert_eq!(refused["error"], "join river first");
    for client in [&mut ada, &mut bob] {
        client.emit("join", "river").await.unwrap();
    }
    ada.emit("say", ("river", "hello")).await.unwrap();
    assert_eq!(bob.receive().await.unwrap().args.as_args().get::<String>(1).unwrap(), "hello");
    bob.emit("leave", "river").await.unwrap();
    ada.emit("say", ("river", "anybody?")).await.unwrap();
    assert!(bob.received().is_empty() && ada.received().is_empty());
}

#[tokio::test]
async fn acks() {
    let server = acks::acks();
    let mut client = server.test_client().connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<i64>("divide", (6, 3)).await.unwrap(), 2);
    let error: serde_json::Value = client.emit_with_ack("divide", (6, 0)).await.unwrap();
    assert_eq!(error["error"], "nothing can be divided by zero");
    client.emit("greet me", ()).await.unwrap();
    let question = client.receive().await.unwrap();
    assert_eq!(question.name, "your name?");
    client.acknowledge(&question, "Ada").await.unwrap();
    client.emit("hold a vote", ()).await.unwrap();
    assert_eq!(client.receive().await.unwrap().name, "yes or no?");
    let mut reader = server.test_client().connect().await.unwrap();
    reader.emit("send me news", ()).await.unwrap();
    let news = reader.receive().await.unwrap();
    assert_eq!(news.name, "news");
    reader.acknowledge(&news, true).await.unwrap();
    let counted = async {
        while reader.emit_with_ack::<usize>("how many have read it?", ()).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), counted).await.expect("the callback runs");
}

#[tokio::test]
async fn namespaces() {
    let server = namespaces::namespaces();
    let mut reader = server.test_client().namespace("/news").connect().await.unwrap();
    assert_eq!(reader.receive().await.unwrap().name, "headline");
    let mut shop = server.test_client().namespace("/shops/7").connect().await.unwrap();
    let mut other = server.test_client().namespace("/shops/8").connect().await.unwrap();
    shop.emit("order", "fish").await.unwrap();
    assert_eq!(shop.receive().await.unwrap().name, "ordered");
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn middleware_auth() {
    let server = middleware_auth::middleware_auth();
    let refused = server.test_client().connect().await;
    assert!(matches!(refused, Err(TestClientError::Refused { data: Some(_), .. })), "{refused:?}");
    let connect =
        |name: &str| server.test_client().auth(serde_json::json!({ "token": format!("token-of-{name}") })).connect();
    let (mut ada, mut bob) = (connect("ada").await.unwrap(), connect("bob").await.unwrap());
    assert_eq!(bob.emit_with_ack::<String>("who am i", ()).await.unwrap(), "bob");
    assert_eq!(ada.emit_with_ack::<String>("delete message", 7).await.unwrap(), "message 7 is gone");
    let refused: serde_json::Value = bob.emit_with_ack("delete message", 7).await.unwrap();
    assert_eq!(refused["error"], "only moderators may delete");
}

#[tokio::test]
async fn binary() {
    let server = binary::binary();
    let (mut ada, mut bob) =
        (server.test_client().connect().await.unwrap(), server.test_client().connect().await.unwrap());
    assert_eq!(ada.emit_with_ack::<Bytes>("reverse", Bytes::from_static(&[1, 2])).await.unwrap(), &[2, 1][..]);
    let content = Value::Binary(Bytes::from_static(b"abc"));
    let upload = Value::Object([("name".into(), "a.txt".into()), ("content".into(), content)].into_iter().collect());
    assert_eq!(ada.emit_with_ack::<usize>("upload", upload).await.unwrap(), 3);
    assert_eq!(bob.receive().await.unwrap().args.as_args().get::<Bytes>(1).unwrap(), &b"abc"[..]);
}

#[tokio::test]
async fn axum() {
    let mut app = axum_beside::app();
    for (path, expected) in [
        ("/", "hello from axum"),
        ("/announce/hi", "told 0 connections\n"),
        ("/socket.io/?EIO=4&transport=polling", "0{\"sid\":"),
    ] {
        let request = Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
        let response = app.call(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(body.starts_with(expected.as_bytes()), "{path}: {body:?}");
    }
}

#[tokio::test]
async fn tls() {
    let directory = std::env::temp_dir().join(format!("sockeye-tls-test-{}", std::process::id()));
    let tls = tls::self_signed(&directory).unwrap();
    tls.reload().unwrap();
    let mut client = tls::over_tls(tls).test_client().connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<u8>("echo", 7).await.unwrap(), 7);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(start_paused = true)]
async fn background_task() {
    let server = background_task::background_task();
    let mut client = server.test_client().namespace("/clock").connect().await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.receive().await.unwrap().name, "time");
    }
}

#[tokio::test]
async fn recovery() {
    let server = recovery::recovery();
    let mut client = server.test_client().connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<u64>("count", ()).await.unwrap(), 1);
    let (sid, auth) = (client.sid().to_owned(), serde_json::json!({ "pid": client.pid().unwrap() }));
    drop(client);
    while server.of("/").socket(&sid).is_some() {
        tokio::task::yield_now().await;
    }
    server.to("lobby").emit("news", ()).unwrap();
    let mut client = server.test_client().auth(auth).connect().await.unwrap();
    assert_eq!(client.receive().await.unwrap().name, "news");
    assert_eq!(client.emit_with_ack::<u64>("count", ()).await.unwrap(), 2);
}

#[test]
fn test_client() {
    test_client_example::main().unwrap();
}
