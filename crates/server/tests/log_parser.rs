//! What the log says of a client that uses another parser. One test to a process, because who listens to the log is known
//! to all threads.
mod support;

use http::StatusCode;
use sockeye::{Revision, Server};
use support::{Log, Raw};

#[tokio::test]
async fn a_client_with_another_parser_is_explained() {
    let (log, _guard) = Log::listen();
    let server = Server::new();
    let client = Raw::open(&server, Revision::V4).await;
    // The beginning of what `socket.io-msgpack-parser` sends, as a binary packet.
    assert_eq!(client.send(&["bhKR0eXBlAA=="]).await, StatusCode::OK);
    client.to_the_end().await;
    let text = log.text();
    let explained = text.lines().any(|line| line.contains("WARN") && line.contains("another parser"));
    assert!(explained, "it is not explained:\n{text}");
}
