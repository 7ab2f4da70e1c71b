//! What the log says of requests that are refused, however many and large they are. A test of its own process, because
//! who listens to the log is known to all threads.
mod support;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use sockeye::Server;
use support::Log;

#[tokio::test]
async fn refusals_are_logged_rarely_and_name_the_origin() {
    let (log, _guard) = Log::listen();
    let server = Server::new();
    let ask = async |revision: &str, origin: Option<&str>| {
        let mut request = Request::builder().uri(format!("/socket.io/?EIO={revision}&transport=polling"));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        server.service().respond(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap().status()
    };
    let long = "9".repeat(20_000);
    let origin = format!("https://{long}.example");
    for _ in 0..100 {
        assert_eq!(ask("4", Some(&origin)).await, StatusCode::FORBIDDEN);
        assert_eq!(ask(&long, None).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(ask("4", Some("https://second.example")).await, StatusCode::FORBIDDEN);
    assert_eq!(ask("2", None).await, StatusCode::BAD_REQUEST);
    let text = log.text();
    let longest = text.lines().map(str::len).max();
    assert!(longest < Some(500), "a line of {longest:?} bytes");
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    let found = |words: &[&str]| warnings.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert_eq!(warnings.len(), 4);
    assert!(found(&["https://999", "allowed origins"]) && found(&["https://second.example"]), "{warnings:#?}");
    assert!(found(&["EIO=\"999", "allow_eio3"]) && found(&["EIO=\"2\""]), "{warnings:#?}");
}
