//! TLS on listeners of the engine's own.
mod support;

use std::{error::Error, fs, path::PathBuf, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use sockeye_engine::{
    Config, Frame, Tls, TlsError, TransportKind,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName},
    },
};
use support::{PATIENCE, Received, Server, WebSocket, sid, start, websocket_over};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// A certificate and its key in files of their own.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> (Self, CertificateDer<'static>) {
        let directory = std::env::temp_dir().join(format!("sockeye-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let files = Self(directory);
        let certificate = files.renew();
        (files, certificate)
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key: KeyPair = signing_key;
        fs::write(self.certificate(), cert.pem()).unwrap();
        fs::write(self.key(), key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    fn tls(&self) -> Tls {
        Tls::from_pem_files(self.certificate(), self.key()).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}

async fn connect(server: &Server, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    timeout(PATIENCE, connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await.unwrap()
}

async fn websocket(server: &Server, trusted: &CertificateDer<'static>, query: &str) -> WebSocket<TlsStream<TcpStream>> {
    let (status, websocket) = websocket_over(connect(server, trusted).await.unwrap(), query).await;
    assert_eq!(status, 101);
    websocket
}

async fn get(server: &Server, trusted: &CertificateDer<'static>, query: &str) -> String {
    let mut stream = connect(server, trusted).await.unwrap();
    let request = format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn start_with(tls: Tls) -> Server {
    start(Config { tls: Some(tls), ..Config::default() }).await
}

#[tokio::test]
async fn polling_websocket_and_the_upgrade_work_over_tls() {
    let (files, certificate) = Files::new("works");
    let mut server = start_with(files.tls()).await;
    let sid = sid(&get(&server, &certificate, POLLING).await);
    let session = server.next_session().await;
    assert!(session.handshake().is_secure());
    let mut upgrade = websocket(&server, &certificate, &format!("{WEBSOCKET}&sid={sid}")).await;
    upgrade.send("2probe").await;
    assert_eq!(upgrade.text().await, "3probe");
    session.send_text(b"4waited").unwrap();
    upgrade.send("5").await;
    assert_eq!(upgrade.text().await, "4waited");
    assert_eq!(session.transport(), TransportKind::WebSocket);

    let mut direct = websocket(&server, &certificate, WEBSOCKET).await;
    direct.text().await;
    assert!(server.next_session().await.handshake().is_secure());
    let long = format!("4{}", "x".repeat(300_000));
    direct.send(&long).await;
    assert_eq!(direct.text().await, long);
}

#[tokio::test]
async fn a_client_that_reads_slowly_receives_every_message_in_order() {
    let (files, certificate) = Files::new("slow");
    let config =
        Config { tls: Some(files.tls()), outbox_bytes: 64 << 20, close_timeout: PATIENCE, ..Config::default() };
    let mut server = start(config).await;
    let mut slow = websocket(&server, &certificate, WEBSOCKET).await;
    slow.text().await;
    let session = server.next_session().await;
    for number in 0..400_u32 {
        let mut message = number.to_be_bytes().to_vec();
        message.resize(50_000, 0);
        session.send(Frame::binary(&message)).unwrap();
    }
    session.send_text(b"4last").unwrap();
    session.close();
    for number in 0..400_u32 {
        match slow.receive().await {
            Received::Binary(message) => {
                assert_eq!((&message[..4], message.len()), (&number.to_be_bytes()[..], 50_000));
            }
            other => panic!("expected message {number}, got {other:?}"),
        }
    }
    assert_eq!(slow.text().await, "4last");
    assert_eq!(slow.receive().await, Received::Close(None));
}

#[tokio::test]
async fn new_connections_use_a_reloaded_certificate_and_none_uses_an_invalid_one() {
    let (files, first) = Files::new("reload");
    let tls = files.tls();
    let server = start_with(tls.clone()).await;
    let mut old = websocket(&server, &first, WEBSOCKET).await;
    old.text().await;

    fs::write(files.certificate(), "not a certificate").unwrap();
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    websocket(&server, &first, WEBSOCKET).await.text().await;

    let second = files.renew();
    tls.reload().unwrap();
    assert!(connect(&server, &first).await.is_err(), "the first certificate is still in use");
    websocket(&server, &second, WEBSOCKET).await.text().await;
    old.send("4still here").await;
    assert_eq!(old.text().await, "4still here");
}

#[tokio::test]
async fn errors_name_a_key_of_another_certificate_and_a_missing_file() {
    let (files, _) = Files::new("errors");
    let (other, _) = Files::new("errors-other");
    let error = Tls::from_pem_files(files.certificate(), other.key()).unwrap_err();
    assert!(matches!(error, TlsError::Unusable(_)), "{error}");
    assert_leaves_out_its_cause(&error);
    let missing = files.0.join("missing.pem");
    let error = Tls::from_pem_files(files.certificate(), &missing).unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    assert_leaves_out_its_cause(&error);
}

fn assert_leaves_out_its_cause(error: &TlsError) {
    let cause = error.source().expect("a cause").to_string();
    assert!(!error.to_string().contains(&cause), "{error}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    let (files, certificate) = Files::new("timeout");
    let limit = Duration::from_millis(200);
    let config = Config { tls: Some(files.tls()), tls_handshake_timeout: limit, ..Config::default() };
    let server = start(config).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("it is waited for").unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // The end, or a reset because not all was read.
    let _end = timeout(PATIENCE, plain.read_to_end(&mut rest)).await.expect("plain HTTP is waited for");
    timeout(PATIENCE, async {
        while server.engine.metrics().failed_tls_handshakes < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("failed handshakes are not counted");
    // The limit is for this client too, and short for a busy machine.
    timeout(PATIENCE, async { while connect(&server, &certificate).await.is_err() {} }).await.expect("nobody gets in");
}

#[tokio::test]
async fn an_unfinished_handshake_does_not_delay_the_shutdown() {
    let (files, certificate) = Files::new("shutdown");
    let mut server = start_with(files.tls()).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    // Accepted in order: once this one is served, the silent one is in its handshake.
    websocket(&server, &certificate, WEBSOCKET).await.text().await;
    let started = tokio::time::Instant::now();
    server.stop.take().unwrap().send(()).unwrap();
    timeout(PATIENCE, &mut server.task).await.expect("the server does not stop").unwrap();
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}
