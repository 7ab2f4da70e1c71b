//! What the log says, and what it must not say. One test to a process, because who listens to the log is known to all threads.
mod support;

use sockeye::{Args, Auth, Config, Data, EngineConfig, Server, State, TestClientError};
use support::Log;

#[derive(Debug, serde::Deserialize)]
struct Credentials {
    #[allow(dead_code)]
    token: String,
}

#[tokio::test]
async fn the_client_is_told_which_argument_is_missing_and_the_log_has_no_secret() {
    let (log, _guard) = Log::listen();
    let engine = EngineConfig { log_packets: true, ..Config::default().engine };
    let server = Server::builder().state(7u8).config(Config { engine, log_events: true, ..Config::default() }).build();
    let root = server.of("/");
    root.on_connect(async |Auth(_): Auth<Option<std::collections::HashMap<String, String>>>, State(_): State<u8>| ());
    root.on("state", async |State(number): State<u8>| *number);
    root.on("missing", async |State(_): State<String>| ());
    root.on("typed", async |Data(_): Data<u8>| ());
    root.on("fielded", async |Data(_): Data<Credentials>| ());
    root.on("checked", async |Data(_): Data<std::net::IpAddr>| ());
    root.on("both", async |Args(_): Args<(u8, u8)>| ());
    server.of("/credentials").on_connect(async |Auth(_): Auth<Credentials>| ());
    server.of("/number").on_connect(async |Auth(_): Auth<u8>| ());
    let secret = "hunter2-swordfish";
    let mut client = server.test_client().auth(serde_json::json!({ "token": secret })).connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<u8>("state", ()).await.unwrap(), 7);
    let missing: serde_json::Value = client.emit_with_ack("missing", ()).await.unwrap();
    assert!(missing["error"].as_str().unwrap().contains("String"), "{missing}");
    let typed: serde_json::Value = client.emit_with_ack("typed", &secret).await.unwrap();
    assert!(typed["error"].as_str().is_some());
    for (event, args) in
        [("fielded", serde_json::json!({ "password": secret })), ("checked", serde_json::json!(secret))]
    {
        client.emit_with_ack::<serde_json::Value>(event, &args).await.unwrap();
    }
    client.emit_with_ack::<serde_json::Value>("both", (1, secret)).await.unwrap();
    let auth = serde_json::json!({ "password": secret });
    assert!(server.test_client().namespace("/credentials").auth(auth).connect().await.is_err());
    for auth in [serde_json::json!({ "token": secret }), serde_json::json!(secret)] {
        let refused = server.test_client().namespace("/number").auth(auth).connect().await;
        assert!(refused.is_err(), "{refused:?}");
    }
    let nowhere =
        server.test_client().namespace("/nowhere").auth(serde_json::json!({ "token": secret })).connect().await;
    assert!(matches!(nowhere, Err(TestClientError::Refused { message, .. }) if message == "Invalid namespace"));
    server.emit("told", ()).unwrap();
    drop(root.to("nobody").emit_with_ack::<()>("asked", ()).unwrap());
    let text = log.text();
    let line = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line(&["/nowhere", "known", "/number"]), "an unknown namespace is not explained:\n{text}");
    let sid = format!("sid=\"{}\"", root.socket(client.sid()).unwrap().id().short());
    assert!(line(&["sockeye::events", "received", "\"state\"", &sid]), "no event is logged that comes in:\n{text}");
    for why in [
        &[
            "a handler did not run",
            "\"missing\"",
            "the server has no state of type `alloc::string::String`",
            ".state(value)",
        ][..],
        &["a handler did not run", "\"typed\"", "argument 0", "invalid type: string, expected u8"],
        &["a handler did not run", "\"fielded\"", "argument 0", "missing field `token`"],
        &["a handler did not run", "\"checked\"", "argument 0", "its value is not valid"],
        &["a handler did not run", "\"both\"", "argument 1: invalid type: string, expected u8"],
        &["a connect handler did not run", "the auth payload", "missing field `token`"],
        &["a connect handler did not run", "the auth payload", "invalid type: map, expected u8"],
    ] {
        assert!(line(why), "{why:?} is not in the log:\n{text}");
    }
    for event in ["\"told\"", "\"asked\""] {
        assert!(line(&["sockeye::events", "emit", event]), "{event} is not logged, which went out:\n{text}");
    }
    for packet in ["received sid=", "sent sid="] {
        assert!(line(&["sockeye::packets", packet, "kind=\"message\""]), "no packet was {packet}:\n{text}");
    }
    assert!(text.contains("auth payload"), "the refusal is not in the log:\n{text}");
    assert!(!text.contains(secret), "the log tells a secret:\n{text}");
}
