//! `sockeye doctor` explains what is wrong with a certificate, and clients trust one as it says.
mod harness;

use std::{
    fs,
    path::PathBuf,
    process::Output,
    sync::{Arc, Mutex},
};

use harness::run;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use sockeye::{Config, EngineConfig, Graceful, Server, Socket, listen};
use sockeye_engine::{Hooks, Tls};
use tokio::runtime::Runtime;

/// A server with a certificate, on a free port, until it is dropped.
struct Secure {
    _runtime: Runtime,
    directory: PathBuf,
    port: u16,
    /// The request heads and the authentication data that clients have sent.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Secure {
    fn start(name: &str, certificate: &str, key: &KeyPair) -> Self {
        let directory = std::env::temp_dir().join(format!("sockeye-certificates-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (certificate_file, key_file) = (directory.join("certificate.pem"), directory.join("key.pem"));
        fs::write(&certificate_file, certificate).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        let tls = Tls::from_pem_files(&certificate_file, &key_file).unwrap();
        let runtime = Runtime::new().unwrap();
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let (heads, auths) = (heard.clone(), heard.clone());
        let hooks = Hooks::default().headers(move |_, request| heads.lock().unwrap().push(format!("{request:?}")));
        let port = runtime.block_on(async {
            let defaults = Config::default();
            let engine = EngineConfig { tls: Some(tls), hooks, ..defaults.engine.clone() };
            let server = Server::builder().config(Config { engine, ..defaults }).build();
            server.of("/").on_connect(move |socket: Socket| {
                auths.lock().unwrap().push(format!("auth {:?}", socket.auth()));
                async {}
            });
            server.of("/").on("echo", async |sockeye::RawArgs(args): sockeye::RawArgs| sockeye::Reply::of(args));
            let listeners = listen("127.0.0.1:0").await.unwrap();
            let port = listeners[0].local_addr().unwrap().port();
            let forever = Graceful { stop: std::future::pending(), limit: std::time::Duration::ZERO };
            tokio::spawn(async move { server.serve_with(listeners, axum::Router::new(), forever).await });
            port
        });
        Self { _runtime: runtime, directory, port, heard }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }

    /// A file with the certificate to trust.
    fn trusted(&self, pem: &str) -> String {
        let file = self.directory.join("trusted.pem");
        fs::write(&file, pem).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // Files that cannot be removed stay in the temporary directory.
        let _removed = fs::remove_dir_all(&self.directory);
    }
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// Runs the doctor and checks its exit status and its words.
fn expect(code: i32, words: &[&str], arguments: &[&str]) {
    let Output { status, stdout, stderr } = run(arguments);
    let text = format!("{}{}", String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(status.code(), Some(code), "{arguments:?}\n{text}");
    for word in words {
        assert!(plain.contains(word), "{arguments:?}: {word:?} in\n{text}");
    }
}

#[test]
fn a_self_signed_certificate_is_named_and_can_be_trusted() {
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["localhost", "127.0.0.1"]).self_signed(&key).unwrap().pem();
    let server = Secure::start("self", &certificate, &key);
    let (url, file) = (server.url("localhost"), server.trusted(&certificate));
    // The checks go on behind it.
    expect(
        1,
        &["problem certificate", "self-signed", "--ca", "--insecure", "ok namespace", "1 problem"],
        &["doctor", &url],
    );
    expect(0, &["ok certificate", "ok upgrade"], &["doctor", &url, "--ca", &file]);
    expect(0, &["warning certificate", "self-signed"], &["doctor", &url, "--insecure"]);
    expect(1, &["TLS", "--ca FILE", "--insecure"], &["emit", &url, "echo", "1", "--ack"]);
    for transport in ["polling", "websocket"] {
        let emit = ["emit", &url, "echo", "1", "--ack", "--transport", transport];
        expect(0, &["[1]"], &[&emit[..], &["--ca", &file]].concat());
        expect(0, &["[1]"], &[&emit[..], &["--insecure"]].concat());
    }
}

#[test]
fn secrets_are_not_sent_to_a_server_whose_certificate_is_not_trusted() {
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["localhost"]).self_signed(&key).unwrap().pem();
    let server = Secure::start("secrets", &certificate, &key);
    let url = format!("https://secret-user:secret-password@localhost:{}/?token=secret-query", server.port);
    let doctor = ["doctor", &url, "--header", "X-Key: secret-header", "--auth", r#"{"token":"secret-auth"}"#];
    let heard = || server.heard.lock().unwrap().drain(..).collect::<Vec<_>>().join("\n");
    let withheld = "made without --auth, --header, the user in the address, the address's query";
    expect(1, &["problem certificate", withheld, "--insecure", "ok upgrade"], &doctor);
    let without = heard();
    assert!(without.contains("EIO=4") && without.contains("auth None"), "{without}");
    assert!(!without.contains("secret") && !without.contains("authorization"), "{without}");
    // --insecure sends them.
    expect(0, &["warning certificate", "ok upgrade"], &[&doctor[..], &["--insecure"]].concat());
    let with = heard();
    for secret in ["secret-header", "secret-auth", "secret-query", "authorization"] {
        assert!(with.contains(secret), "{secret} in {with}");
    }
}

#[test]
fn the_names_of_a_certificate_for_another_host_are_shown() {
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["elsewhere.example", "other.example"]).self_signed(&key).unwrap().pem();
    let server = Secure::start("name", &certificate, &key);
    let file = server.trusted(&certificate);
    let words = ["problem certificate", "not for the name localhost, but for elsewhere.example, other.example"];
    expect(1, &words, &["doctor", &server.url("localhost"), "--ca", &file]);
}

#[test]
fn the_dates_of_an_expired_or_future_certificate_are_shown() {
    let key = KeyPair::generate().unwrap();
    let certificate = |from: (i32, u8, u8), to: (i32, u8, u8)| {
        let mut params = params(&["localhost"]);
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        params.self_signed(&key).unwrap().pem()
    };
    for (name, from, to, words) in [
        ("old", (2020, 1, 1), (2021, 2, 3), "it expired on 2021-02-03 00:00 UTC"),
        ("young", (2120, 1, 1), (2121, 1, 1), "it is not valid before 2120-01-01 00:00 UTC"),
    ] {
        let certificate = certificate(from, to);
        let server = Secure::start(name, &certificate, &key);
        let file = server.trusted(&certificate);
        expect(1, &["problem certificate", words], &["doctor", &server.url("localhost"), "--ca", &file]);
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_called_self_signed() {
    let mut authority = params(&[]);
    authority.distinguished_name.push(DnType::CommonName, "an authority of our own");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["localhost"]).signed_by(&key, &authority).unwrap().pem();
    let server = Secure::start("authority", &certificate, &key);
    let url = server.url("localhost");
    let words = ["problem certificate", "its authority is not trusted", "--ca", "fullchain.pem"];
    expect(1, &words, &["doctor", &url]);
    let file = server.trusted(&authority.pem());
    expect(0, &["ok certificate"], &["doctor", &url, "--ca", &file]);
}
