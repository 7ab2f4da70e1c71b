//! A limit that ends a connection is named to the operator. A test of its own process, because who
//! listens to the log is known to all threads.
mod support;

use std::time::Duration;

use sockeye::{Config, Graceful, Server, listen};
use support::{Log, NotFound, WebSocket};

#[tokio::test]
async fn a_limit_that_ends_a_connection_is_named_to_the_operator() {
    let (log, _guard) = Log::listen();
    let config = Config {
        connect_timeout: Duration::from_millis(300),
        attachments_timeout: Duration::from_millis(200),
        max_attachments: 3,
        max_attachment_bytes: 10,
        max_depth: 4,
        ..Config::default()
    };
    let server = Server::builder().config(config).build();
    let listeners = listen("127.0.0.1:0").await.unwrap();
    let address = listeners[0].local_addr().unwrap();
    let serving = server.clone();
    tokio::spawn(async move {
        serving.serve_with(listeners, NotFound, Graceful { stop: std::future::pending(), limit: Duration::ZERO }).await;
    });
    let cases: [(&[&str], &str); 6] = [
        (&["40", r#"42["x",[[[[[1]]]]]]"#], "max_depth = 4"),
        (&["40", r#"454-["x"]"#], "max_attachments = 3"),
        (&["40", r#"451-["x",{"_placeholder":true,"num":0}]"#, "b0123456789ab"], "max_attachment_bytes = 10"),
        (&["40", r#"451-["x",{"_placeholder":true,"num":0}]"#], "attachments_timeout = 200ms"),
        (&[], "connect_timeout = 300ms"),
        (&["40", r#"42/other,["x"]"#], "a namespace that it has not joined"),
    ];
    for (packets, logged) in cases {
        for _ in 0..3 {
            let mut client = WebSocket::connect(address).await;
            for packet in packets {
                match packet.strip_prefix('b') {
                    Some(data) => client.send_binary(data.as_bytes()).await,
                    None => client.send(packet).await,
                }
            }
            while client.receive().await.is_some() {}
        }
        let text = log.text();
        let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN") && line.contains(logged)).collect();
        assert_eq!(warnings.len(), 1, "{logged}:\n{text}");
    }
}
