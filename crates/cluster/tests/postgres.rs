//! The PostgreSQL transport with a real server.
#[path = "support/postgres_server.rs"]
mod postgres_server;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postgres_server::PostgresServer;
use sockeye_cluster::{
    format::{Publication, Received, Subscription},
    outbox::{Outbox, OutboxLimits},
    subscriptions::Subscriptions,
    transport::{
        Link, Transport, TransportError,
        postgres::{Postgres, PostgresOptions},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A transport that runs, without what would join it again.
struct Joined {
    link: Arc<Link>,
    received: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    task: JoinHandle<Result<(), TransportError>>,
}

impl Joined {
    fn new(url: &str, options: PostgresOptions, channels: &[&str]) -> Self {
        let transport = Postgres::new(url, options).unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let link = Arc::new(Link {
            outbox: Outbox::new(OutboxLimits::default()),
            subscriptions: Subscriptions::default(),
            up: watch::Sender::new(false),
            deliver: Box::new(move |received| {
                let Received::Published { channel, payload } = received else { panic!("{received:?}") };
                if let Some(number) = payload.strip_prefix(b"#") {
                    return str::from_utf8(number).unwrap().parse().ok();
                }
                // Nobody looks at what arrives after the test's end.
                drop(sender.send((channel.to_string(), payload.to_vec())));
                None
            }),
            keep_alive: Duration::from_secs(2),
        });
        for channel in channels {
            link.subscriptions.set(Subscription::Channel((*channel).into()), true);
        }
        let task = tokio::spawn(transport.run(link.clone()));
        Self { link, received, task }
    }

    async fn up(&mut self) {
        let mut up = self.link.up.subscribe();
        tokio::select! {
            up = timeout(LIMIT, up.wait_for(|up| *up)) => drop(up.unwrap().unwrap()),
            ended = &mut self.task => panic!("{ended:?}"),
        }
    }

    fn publish(&self, channel: &str, payload: &str) {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        self.link.outbox.push(Publication::Publish { channel: channel.into(), payload });
    }

    fn attach(&self, channel: &str, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        let announcement = ("#".into(), String::new());
        self.link.outbox.push(Publication::Attach { channel: channel.into(), payload, announcement });
    }

    async fn next(&mut self) -> (String, Vec<u8>) {
        tokio::select! {
            received = timeout(LIMIT, self.received.recv()) => received.unwrap().unwrap(),
            ended = &mut self.task => panic!("{ended:?}"),
        }
    }

    async fn error(self) -> TransportError {
        timeout(LIMIT, self.task).await.unwrap().unwrap().unwrap_err()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_on_channels_of_any_name_with_attachments_between_them() {
    let server = PostgresServer::start();
    let odd = r#"socket.io#/Ä "b'; DROP"#;
    let mut a = Joined::new(&server.url(), PostgresOptions::default(), &["socket.io#/", odd]);
    let mut b = Joined::new(&server.url(), PostgresOptions::default(), &["socket.io#/other"]);
    a.up().await;
    b.up().await;
    let binary: Vec<u8> = (0..100_000_u32).map(|index| index.to_le_bytes()[0]).collect();
    // Of equal notifications in one transaction PostgreSQL would deliver only one.
    ["1", "1", "2", "1"].iter().for_each(|payload| b.publish("socket.io#/", payload));
    b.attach("socket.io#/", &binary);
    b.publish(odd, "'quoted' \\ \u{1f680}");
    b.publish("socket.io#/other", "for b");
    b.publish("socket.io#/", "last");
    for expected in ["1", "1", "2", "1"] {
        assert_eq!(a.next().await, ("socket.io#/".into(), expected.into()));
    }
    assert_eq!(a.next().await, ("socket.io#/".into(), binary));
    assert_eq!(a.next().await, (odd.into(), "'quoted' \\ \u{1f680}".into()));
    assert_eq!(a.next().await.1, b"last");
    assert_eq!(b.next().await.1, b"for b");
    assert_eq!(timeout(LIMIT, b.link.outbox.emptied()).await, Ok(()));

    // Subscriptions come and go while it runs.
    b.link.subscriptions.set(Subscription::Channel(odd.into()), true);
    a.link.subscriptions.set(Subscription::Channel(odd.into()), false);
    // Each answers once its changes are in effect.
    let deadline = Instant::now() + LIMIT;
    while server.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query LIKE 'UNLISTEN%'")
        != "2"
    {
        assert!(Instant::now() < deadline);
    }
    a.publish(odd, "now for b");
    a.publish("socket.io#/", "for a");
    assert_eq!(b.next().await.1, b"now for b");
    assert_eq!(a.next().await.1, b"for a");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_refuses_is_dropped_and_the_rest_goes_on() {
    let server = PostgresServer::start();
    let mut bus = Joined::new(&server.url(), PostgresOptions::default(), &["c"]);
    bus.up().await;
    bus.publish("c", "before");
    bus.publish("c", "before");
    bus.publish("c", &"x".repeat(8_000));
    bus.publish("c", "after");
    bus.publish("c", "after");
    // The long one shares its transaction with one before and one after it.
    assert_eq!(bus.next().await.1, b"before");
    assert_eq!(bus.next().await.1, b"before");
    assert_eq!(bus.next().await.1, b"after");
    assert_eq!(bus.next().await.1, b"after");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_attachments_are_deleted_and_a_table_of_another_name_is_used() {
    let server = PostgresServer::start();
    server.query("CREATE SCHEMA s");
    let options = PostgresOptions { attachment_table: "s.files".into(), cleanup_interval: Duration::from_secs(1) };
    let mut bus = Joined::new(&server.url(), options, &["c"]);
    bus.up().await;
    bus.attach("c", b"\0\xff");
    assert_eq!(bus.next().await.1, b"\0\xff");
    let deadline = Instant::now() + LIMIT;
    while server.query("SELECT count(*) FROM s.files") != "0" {
        assert!(Instant::now() < deadline, "the attachment is still there");
    }
    // An announcement of what is gone is no reason to leave the bus.
    server.query("NOTIFY c, '#1'");
    bus.publish("c", "on");
    assert_eq!(bus.next().await.1, b"on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_the_connection_and_what_waits_is_published_after_it_is_back() {
    let server = PostgresServer::start();
    let mut bus = Joined::new(&server.url(), PostgresOptions::default(), &["c"]);
    bus.up().await;
    server.stop();
    let link = bus.link.clone();
    let error = bus.error().await;
    assert!(matches!(error, TransportError::Connection { .. }), "{error:?}");
    // What is emitted while nobody is connected waits.
    link.outbox.push(Publication::Publish { channel: "c".into(), payload: "waited".into() });
    let transport = Postgres::new(&server.url(), PostgresOptions::default()).unwrap();
    let error = timeout(LIMIT, transport.run(link.clone())).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Connection { .. }), "{error:?}");
    assert_eq!(link.outbox.waiting().0, 1);
    server.restart();
    let mut again = Joined::new(&server.url(), PostgresOptions::default(), &["c"]);
    again.up().await;
    let task = tokio::spawn(transport.run(link.clone()));
    assert_eq!(again.next().await.1, b"waited");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_noticed() {
    let server = PostgresServer::start();
    let mut bus = Joined::new(&server.url(), PostgresOptions::default(), &["c"]);
    bus.up().await;
    let process = server.query("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    signal(&process, "-STOP");
    let error = bus.error().await;
    signal(&process, "-CONT");
    assert!(matches!(error, TransportError::Silent { .. }), "{error:?}");
}

fn signal(process: &str, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, process]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_database_is_said_in_words_without_the_password() {
    let server = PostgresServer::start();
    for (url, word) in [
        (server.url().replace("word", "wrong"), "password authentication failed"),
        (server.url().replace("/postgres", "/none"), "does not exist"),
    ] {
        let error = Joined::new(&url, PostgresOptions::default(), &["c"]).error().await;
        let TransportError::Refused { address, reason } = &error else { panic!("{error:?}") };
        assert_eq!(*address, format!("127.0.0.1:{}", server.port));
        assert!(reason.contains(word) && !reason.contains("wrong"), "{reason}");
    }
    // Of several hosts the first that answers is used.
    let several = server.url().replace("@127", "@127.0.0.1:1,127");
    Joined::new(&several, PostgresOptions::default(), &["c"]).up().await;
}
