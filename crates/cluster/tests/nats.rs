//! The NATS transport with a real server.
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sockeye_cluster::{
    format::{Publication, Received, Subscription},
    outbox::{Outbox, OutboxLimits},
    subscriptions::Subscriptions,
    transport::{Link, Transport, TransportError, nats::Nats},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A server in a temporary folder, on a free port. It ends when it is dropped.
struct NatsServer {
    process: Child,
    config: PathBuf,
    port: u16,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl NatsServer {
    fn start(settings: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let config = std::env::temp_dir().join(format!("sockeye-nats-{}-{number}.conf", std::process::id()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: 1000\nauthorization {{ user: sockeye, password: \"p@ss\" }}\n{settings}"
        );
        fs::write(&config, text).unwrap();
        Self { process: run(&config), config, port }
    }

    fn restart(&mut self) {
        self.process = run(&self.config);
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn url(&self) -> String {
        format!("nats://sockeye:p%40ss@127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_file(&self.config));
    }
}

fn run(config: &PathBuf) -> Child {
    let programs = ["nats-server", "/usr/sbin/nats-server"];
    let start = |program| Command::new(program).arg("-c").arg(config).stderr(Stdio::null()).spawn().ok();
    programs.into_iter().find_map(start).expect("nats-server is not installed")
}

/// A transport that runs, joined again until the server is there.
struct Joined {
    link: Arc<Link>,
    received: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    task: JoinHandle<TransportError>,
}

impl Joined {
    fn new(url: &str, subscriptions: &[Subscription]) -> Self {
        let transport = Nats::new(url).unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let link = Arc::new(Link {
            outbox: Outbox::new(OutboxLimits::default()),
            subscriptions: Subscriptions::default(),
            up: watch::Sender::new(false),
            deliver: Box::new(move |received| {
                let Received::Published { channel, payload } = received else { panic!("{received:?}") };
                drop(sender.send((channel.to_string(), payload.to_vec())));
                None
            }),
            keep_alive: Duration::from_secs(1),
        });
        for subscription in subscriptions {
            link.subscriptions.set(subscription.clone(), true);
        }
        let task = tokio::spawn(run_until_it_was_up(transport, link.clone()));
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
        let payload = payload.to_owned().into();
        self.link.outbox.push(Publication::Publish { channel: channel.into(), payload });
    }

    async fn next(&mut self) -> (String, String) {
        let received = tokio::select! {
            received = timeout(LIMIT, self.received.recv()) => received.unwrap().unwrap(),
            ended = &mut self.task => panic!("{ended:?}"),
        };
        (received.0, String::from_utf8(received.1).unwrap())
    }

    async fn error(self) -> TransportError {
        timeout(LIMIT, self.task).await.unwrap().unwrap()
    }
}

/// The server may not listen yet.
async fn run_until_it_was_up(transport: Nats, link: Arc<Link>) -> TransportError {
    loop {
        let result = transport.run(link.clone()).await;
        match result {
            Err(TransportError::Connection { .. }) if !*link.up.borrow() => tokio::task::yield_now().await,
            Err(error) => return error,
            Ok(()) => panic!("the server has ended the connection"),
        }
    }
}

/// The name of the variable by which the test below runs itself in a process that trusts the server's certificate.
const TRUSTED: &str = "SOCKEYE_TEST_TRUSTED_NATS";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_demands_tls_must_have_a_trusted_certificate() {
    if let Ok(url) = std::env::var(TRUSTED) {
        return Joined::new(&url, &[channel("c")]).up().await;
    }
    let file = |name: &str| std::env::temp_dir().join(format!("sockeye-nats-{}-{name}.pem", std::process::id()));
    let (certificate, key) = (file("certificate"), file("key"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = NatsServer::start(&format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n",
        certificate.display(),
        key.display()
    ));
    let transport = Nats::new(&server.url()).unwrap();
    let bus = Joined::new(&server.url(), &[]);
    // The server may not listen yet; its certificate is refused once it does.
    let refused = async {
        loop {
            let Err(TransportError::Connection { source, .. }) = transport.run(bus.link.clone()).await else {
                panic!()
            };
            if source.to_string().contains("certificate") {
                break;
            }
        }
    };
    timeout(LIMIT, refused).await.unwrap();
    bus.task.abort();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_that_demands_tls_must_have_a_trusted_certificate"])
        .env(TRUSTED, server.url())
        .env("SSL_CERT_FILE", &certificate)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    fs::remove_file(certificate).unwrap();
    fs::remove_file(key).unwrap();
    assert!(status.success());
}

fn channel(name: &str) -> Subscription {
    Subscription::Channel(name.into())
}

fn of(channel: &str, payload: &str) -> (String, String) {
    (channel.into(), payload.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_all_subjects_arrive_in_the_order_in_which_they_were_published() {
    let server = NatsServer::start("");
    let mut a = Joined::new(&server.url(), &[channel("p.all"), channel("p.room.1")]);
    let mut b = Joined::new(&server.url(), &[Subscription::Pattern("p.room.*".into())]);
    a.up().await;
    b.up().await;
    for number in 0..1_000 {
        let subject = ["p.all", "p.room.1", "p.room.2"][number % 3];
        b.publish(subject, &number.to_string());
    }
    for number in (0..1_000).filter(|number| number % 3 != 2) {
        assert_eq!(a.next().await, of(["p.all", "p.room.1"][number % 3], &number.to_string()));
    }
    assert_eq!(timeout(LIMIT, b.link.outbox.emptied()).await, Ok(()));
    a.publish("p.room.2", "not to itself");
    a.publish("p.room.7", "by the pattern");
    assert_eq!(b.next().await, of("p.room.2", "not to itself"));
    assert_eq!(b.next().await, of("p.room.7", "by the pattern"), "what b has published itself does not come back");

    // Subscriptions come and go.
    a.link.subscriptions.set(channel("p.room.1"), false);
    a.link.subscriptions.set(channel("p.new"), true);
    let mut heard = None;
    while heard.is_none() {
        b.publish("p.new", "asked again and again");
        heard = timeout(Duration::from_millis(50), a.next()).await.ok();
    }
    b.publish("p.room.1", "nobody");
    b.publish("p.new", "last");
    loop {
        let (subject, payload) = a.next().await;
        assert_eq!(subject, "p.new");
        if payload == "last" {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nats_cannot_take_is_dropped_and_the_rest_goes_on() {
    let server = NatsServer::start("");
    let mut a = Joined::new(&server.url(), &[channel("c")]);
    let mut b = Joined::new(&server.url(), &[]);
    a.up().await;
    b.up().await;
    b.publish("c", &"x".repeat(1_001));
    b.publish("c x\r\nPUB c 1\r\ny", "z");
    b.publish("*", "z");
    b.publish("c", &"x".repeat(1_000));
    assert_eq!(a.next().await.1.len(), 1_000);
    let stream = Publication::Append { stream: "s".into(), fields: Vec::new() };
    b.link.outbox.push(stream);
    b.publish("c", "after");
    assert_eq!(a.next().await.1, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_while_the_server_is_down_is_published_when_it_is_back() {
    let mut server = NatsServer::start("");
    let mut bus = Joined::new(&server.url(), &[channel("c")]);
    bus.up().await;
    server.stop();
    let link = bus.link.clone();
    let error = bus.error().await;
    assert!(matches!(error, TransportError::Connection { .. }), "{error:?}");
    link.outbox.push(Publication::Publish { channel: "c".into(), payload: "waited".into() });
    server.restart();
    let mut other = Joined::new(&server.url(), &[channel("c")]);
    other.up().await;
    link.up.send_replace(false);
    let again = tokio::spawn(run_until_it_was_up(Nats::new(&server.url()).unwrap(), link.clone()));
    assert_eq!(other.next().await.1, "waited");
    timeout(LIMIT, link.outbox.emptied()).await.unwrap();
    again.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_noticed() {
    let server = NatsServer::start("");
    let mut bus = Joined::new(&server.url(), &[channel("c")]);
    bus.up().await;
    server.signal("-STOP");
    let error = bus.error().await;
    server.signal("-CONT");
    assert!(matches!(error, TransportError::Silent { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_permission_are_said_in_words() {
    let server = NatsServer::start("");
    let mut bus = Joined::new(&server.url(), &[]);
    bus.up().await;
    let error = Joined::new(&server.url().replace("ss@", "ssword@"), &[]).error().await;
    let TransportError::Refused { address, reason } = &error else { panic!("{error:?}") };
    assert_eq!((&**address, &**reason), (&*format!("127.0.0.1:{}", server.port), "Authorization Violation"));
    let error = Joined::new(&server.url(), &[channel("a b")]).error().await;
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    // Of several hosts the first that answers is used.
    Joined::new(&server.url().replace("@127", "@127.0.0.1:1,127"), &[]).up().await;
}
