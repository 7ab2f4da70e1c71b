//! The RabbitMQ transport with a real server.
#[path = "support/rabbitmq_server.rs"]
mod rabbitmq_server;

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rabbitmq_server::RabbitMqServer;
use sockeye_cluster::{
    format::{Publication, Received, Subscription},
    outbox::{Outbox, OutboxLimits},
    subscriptions::Subscriptions,
    transport::{
        Link, Transport, TransportError,
        amqp::{Argument, ExchangeOptions, QueueOptions, RabbitMq, RabbitMqOptions},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A transport that runs, without what would join it again.
struct Joined {
    link: Arc<Link>,
    transport: RabbitMq,
    received: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    task: JoinHandle<Result<(), TransportError>>,
}

impl Joined {
    fn new(url: &str, options: RabbitMqOptions, channels: &[&str]) -> Self {
        let transport = RabbitMq::new(url, options).unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let link = Arc::new(Link {
            outbox: Outbox::new(OutboxLimits { age: Duration::from_secs(600), ..OutboxLimits::default() }),
            subscriptions: Subscriptions::default(),
            up: watch::Sender::new(false),
            deliver: Box::new(move |received| {
                let Received::Published { channel, payload } = received else { panic!("{received:?}") };
                // Nobody looks at what arrives after the test's end.
                drop(sender.send((channel.to_string(), payload.to_vec())));
                None
            }),
            keep_alive: Duration::from_secs(1),
        });
        for channel in channels {
            link.subscriptions.set(Subscription::Channel((*channel).into()), true);
        }
        let task = tokio::spawn(transport.run(link.clone()));
        Self { link, transport, received, task }
    }

    async fn up(url: &str, options: RabbitMqOptions, channels: &[&str]) -> Self {
        let mut joined = Self::new(url, options, channels);
        joined.until_up().await;
        joined
    }

    async fn until_up(&mut self) {
        let mut up = self.link.up.subscribe();
        tokio::select! {
            up = timeout(LIMIT, up.wait_for(|up| *up)) => drop(up.unwrap().unwrap()),
            ended = &mut self.task => panic!("{ended:?}"),
        }
    }

    fn publish(&self, channel: &str, payload: impl Into<Bytes>) {
        self.link.outbox.push(Publication::Publish { channel: channel.into(), payload: payload.into() });
    }

    async fn next(&mut self) -> (String, Vec<u8>) {
        tokio::select! {
            biased;
            received = timeout(LIMIT, self.received.recv()) => received.unwrap().unwrap(),
            ended = &mut self.task => panic!("{ended:?}"),
        }
    }

    /// Why the connection has ended.
    async fn error(&mut self) -> TransportError {
        let error = timeout(LIMIT, &mut self.task).await.unwrap().unwrap().unwrap_err();
        self.link.up.send_replace(false);
        error
    }

    /// Joins once more, until it succeeds.
    async fn again(&mut self) {
        loop {
            self.task = tokio::spawn(self.transport.run(self.link.clone()));
            let mut up = self.link.up.subscribe();
            tokio::select! {
                _ = up.wait_for(|up| *up) => return,
                _ended = &mut self.task => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn leave(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

fn message(channel: &str, payload: &str) -> (String, Vec<u8>) {
    (channel.into(), payload.into())
}

fn durable_exchange() -> RabbitMqOptions {
    let exchange = ExchangeOptions { durable: true, ..ExchangeOptions::default() };
    RabbitMqOptions { exchange, ..RabbitMqOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_server() {
    let server = RabbitMqServer::start();
    messages_arrive_in_order_and_are_published_as_kombu_does(&server).await;
    subscriptions_change(&server).await;
    a_durable_queue_keeps_messages_while_its_server_is_away(&server).await;
    refusals_are_told_in_words_and_without_credentials(&server).await;
    tls_needs_a_certificate_of_a_trusted_authority(&server).await;
}

async fn messages_arrive_in_order_and_are_published_as_kombu_does(server: &RabbitMqServer) {
    let (recorder, recorded) = recorder(server.port).await;
    let url = format!("amqp://guest:guest@127.0.0.1:{recorder}//");
    let mut one = Joined::up(&url, RabbitMqOptions::default(), &["socketio"]).await;
    let mut two = Joined::up(&server.url(), RabbitMqOptions::default(), &["socketio", "other"]).await;
    for number in 0..1_000 {
        one.publish("socketio", number.to_string());
    }
    for number in 0..1_000 {
        assert_eq!(two.next().await, message("socketio", &number.to_string()));
        assert_eq!(one.next().await, message("socketio", &number.to_string()), "a server hears itself, too");
    }
    let large = vec![b'x'; 1 << 20];
    one.publish("other", large.clone());
    assert_eq!(two.next().await, ("other".into(), large));
    one.link.outbox.emptied().await;

    let sent = recorded.lock().unwrap().clone();
    let golden = include_str!("golden/amqp_frames.txt");
    let bytes_of = |what: &str| {
        let line = golden.lines().find_map(|line| line.split_once(what)).expect("a frame").1;
        unhex(line.split(' ').next().unwrap())
    };
    let exchange_declare = [&[0, 40, 0, 10][..], &bytes_of("exchange.declare args: ")].concat();
    let basic_publish = [&[0, 60, 0, 40][..], &bytes_of("basic.publish args: ")].concat();
    let mut header = bytes_of("header ch 1 ");
    // The size of the body: one digit.
    header[4..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
    for (name, expected) in [("declare", exchange_declare), ("publish", basic_publish), ("header", header)] {
        assert!(sent.windows(expected.len()).any(|window| window == expected), "{name} is not as Kombu's");
    }
    one.leave().await;
    two.leave().await;
}

async fn subscriptions_change(server: &RabbitMqServer) {
    let mut one = Joined::up(&server.url(), RabbitMqOptions::default(), &[]).await;
    let two = Joined::up(&server.url(), RabbitMqOptions::default(), &[]).await;
    one.link.subscriptions.set(Subscription::Channel("a".into()), true);
    one.link.subscriptions.set(Subscription::Channel("b".into()), true);
    until(|| {
        server.control(&["list_bindings", "source_name"]).lines().filter(|name| ["a", "b"].contains(name)).count() == 2
    });
    one.link.subscriptions.set(Subscription::Channel("a".into()), false);
    until(|| !server.control(&["list_bindings", "source_name"]).lines().any(|name| name == "a"));
    two.publish("a", "not heard");
    two.publish("b", "heard");
    assert_eq!(one.next().await, message("b", "heard"));
    one.leave().await;
    two.leave().await;
    until(|| server.control(&["list_queues", "name"]).trim().is_empty());
}

async fn a_durable_queue_keeps_messages_while_its_server_is_away(server: &RabbitMqServer) {
    let queue = QueueOptions {
        durable: Some("sockeye-1".into()),
        arguments: vec![("x-max-length".into(), Argument::Number(1_000))],
    };
    let options = RabbitMqOptions { queue, ..durable_exchange() };
    let one = Joined::up(&server.url(), options.clone(), &["kept"]).await;
    let error = Joined::new(&server.url(), options.clone(), &["kept"]).error().await;
    assert!(error.to_string().contains("a queue that another server consumes from"), "{error}");
    one.leave().await;
    let two = Joined::up(&server.url(), durable_exchange(), &[]).await;
    ["1", "2"].iter().for_each(|payload| two.publish("kept", *payload));
    two.link.outbox.emptied().await;
    until(|| server.control(&["list_queues", "name", "consumers"]).contains("sockeye-1\t0"));
    let mut one = Joined::up(&server.url(), options, &["kept"]).await;
    assert_eq!(one.next().await, message("kept", "1"));
    assert_eq!(one.next().await, message("kept", "2"));
    one.leave().await;

    let otherwise = RabbitMqOptions {
        queue: QueueOptions { durable: Some("sockeye-1".into()), arguments: Vec::new() },
        ..durable_exchange()
    };
    let error = Joined::new(&server.url(), otherwise, &["kept"]).error().await;
    assert!(
        error.to_string().contains("x-max-length") && error.to_string().contains("delete_queue sockeye-1"),
        "{error}"
    );
    two.leave().await;
}

async fn refusals_are_told_in_words_and_without_credentials(server: &RabbitMqServer) {
    server.control(&["add_user", "sailor", "s3cret"]);
    server.control(&["set_permissions", "sailor", "^none$", "^none$", "^none$"]);
    server.control(&["add_vhost", "closed"]);
    let host = format!("127.0.0.1:{}", server.port);
    for (user, path, expected) in [
        ("sailor:wr0ng", "/", "does not accept the user or the password"),
        ("nobody:s3cret", "/", "does not accept the user or the password"),
        ("sailor:s3cret", "/closed", "the virtual host `closed` does not exist, or the user has no permissions"),
        ("sailor:s3cret", "/missing", "the virtual host `missing` does not exist"),
        ("sailor:s3cret", "/", "no permission for the exchange `socketio`"),
    ] {
        let error = Joined::new(&format!("amqp://{user}@{host}{path}"), RabbitMqOptions::default(), &["socketio"])
            .error()
            .await;
        let text = sockeye::with_causes(&error);
        assert!(text.contains(expected) && text.contains(&host), "{text}");
        assert!(!["sailor", "s3cret", "wr0ng", "nobody"].iter().any(|word| text.contains(word)), "{text}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut unreachable = Joined::new(&format!("amqp://u:s3cret@{closed}"), RabbitMqOptions::default(), &[]);
    let text = sockeye::with_causes(&unreachable.error().await);
    assert!(text.contains("refused") && !text.contains("s3cret"), "{text}");
    // The next address is tried.
    let both = format!("amqp://{closed};{}", server.url());
    Joined::up(&both, RabbitMqOptions::default(), &[]).await.leave().await;
}

async fn tls_needs_a_certificate_of_a_trusted_authority(server: &RabbitMqServer) {
    let url = format!("amqps://127.0.0.1:{}//", server.tls_port);
    let text = sockeye::with_causes(&Joined::new(&url, RabbitMqOptions::default(), &[]).error().await);
    assert!(text.contains("certificate"), "{text}");
    let options = RabbitMqOptions { authorities: Some(server.certificate.clone()), ..RabbitMqOptions::default() };
    let mut one = Joined::up(&url, options, &["socketio"]).await;
    one.publish("socketio", "encrypted");
    assert_eq!(one.next().await, message("socketio", "encrypted"));
    one.leave().await;
}

#[tokio::test]
async fn an_exchange_that_exists_otherwise_is_used_as_it_is_and_what_to_set_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let server = RabbitMqServer::start();
    Joined::up(&server.url(), durable_exchange(), &["durable"]).await.leave().await;
    let direct = ExchangeOptions { kind: "direct".into(), ..ExchangeOptions::default() };
    let direct = RabbitMqOptions { exchange: direct, ..RabbitMqOptions::default() };
    Joined::up(&server.url(), direct, &["direct"]).await.leave().await;
    for (exchange, expected) in [
        ("durable", "set the exchange's option `durable` to true"),
        ("direct", "set the exchange's option `type` to direct"),
    ] {
        let mut joined = Joined::up(&server.url(), RabbitMqOptions::default(), &[exchange]).await;
        joined.publish(exchange, "through");
        assert_eq!(joined.next().await, message(exchange, "through"));
        joined.leave().await;
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains(expected), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_or_deaf_is_left_and_gets_what_it_has_not_confirmed() {
    let mut server = RabbitMqServer::start();
    let options = RabbitMqOptions { connect_timeout: Duration::from_secs(2), ..RabbitMqOptions::default() };
    let mut one = Joined::up(&server.url(), options.clone(), &["socketio"]).await;
    let mut two = Joined::up(&server.url(), options, &["socketio"]).await;

    server.pause(true);
    ["1", "2", "3"].iter().for_each(|payload| one.publish("socketio", *payload));
    let start = Instant::now();
    let error = one.error().await;
    assert!(matches!(error, TransportError::Silent { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(matches!(two.error().await, TransportError::Silent { .. }));
    assert_eq!(one.link.outbox.waiting().0, 3, "nothing was confirmed");
    // Connecting does not wait for ever, either.
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    for _ in 0..2 {
        one.task = tokio::spawn(one.transport.run(one.link.clone()));
        assert!(matches!(one.error().await, TransportError::Silent { .. }));
    }
    until(|| threads() <= before);

    server.pause(false);
    server.kill();
    one.task = tokio::spawn(one.transport.run(one.link.clone()));
    let error = sockeye::with_causes(&one.error().await);
    assert!(error.contains("the connection to 127.0.0.1:") && error.contains("refused"), "{error}");
    server.restart();
    two.again().await;
    one.again().await;
    for payload in ["1", "2", "3"] {
        assert_eq!(two.next().await, message("socketio", payload));
    }
    one.link.outbox.emptied().await;

    server.kill();
    assert!(matches!(two.error().await, TransportError::Connection { .. }));
}

/// A port that leads to the server, and what was sent to it.
async fn recorder(server: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let record = recorded.clone();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            record.lock().unwrap().extend_from_slice(&bytes[..read]);
            to_server.write_all(&bytes[..read]).await.unwrap();
        }
        back.abort();
    });
    (port, recorded)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |index: usize| u8::from_str_radix(&text[index..index + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
