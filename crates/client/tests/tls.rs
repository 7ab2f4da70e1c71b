//! TLS and proxies, by the servers of others.
#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use process::{Process, SERVERS};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use sockeye_client::{ConnectErrorKind, Manager, ManagerBuilder, Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// An authority, and a certificate with its key that it has signed for this machine.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates() -> Certificates {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // A certificate whose issuer has its own name would count as signed by itself.
    authority.distinguished_name.push(DnType::CommonName, "an authority of our own");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

async fn works(name: &str, builder: ManagerBuilder, transport: Transport) {
    let socket = builder.transports(transport).connect().await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(socket.emit_with_ack::<u8>("echo", &1).await.unwrap(), 1);
}

fn secure(server: &Process) -> ManagerBuilder {
    Manager::builder(&format!("https://localhost:{}", server.address.port()))
}

#[tokio::test]
async fn a_certificate_is_checked_against_the_trusted_authorities() {
    let Certificates { authority, certificate, key } = certificates();
    for (name, start) in SERVERS {
        let server = start(json!({ "tls": { "cert": certificate, "key": key } }));
        for transport in [Transport::Polling, Transport::WebSocket] {
            let error = secure(&server).transports(transport).connect().await.unwrap_err();
            assert!(matches!(error.kind(), ConnectErrorKind::Tls { .. }), "{name}: {error:?}");
            assert!(error.to_string().contains("`root_certificate`"), "{name}: {error}");
            works(name, secure(&server).root_certificate(authority.clone()), transport).await;
            works(name, secure(&server).danger_accept_invalid_certs(true), transport).await;
        }
    }
}

#[tokio::test]
async fn the_client_presents_its_certificate() {
    let Certificates { authority, certificate, key } = certificates();
    for (name, start) in SERVERS {
        let tls = json!({ "cert": certificate, "key": key, "ca": authority, "requestCert": true });
        let server = start(json!({ "tls": tls }));
        for transport in [Transport::Polling, Transport::WebSocket] {
            let builder = || secure(&server).root_certificate(authority.clone());
            builder().transports(transport).connect().await.unwrap_err();
            works(name, builder().client_certificate(format!("{certificate}{key}")), transport).await;
        }
    }
}

/// A proxy that counts what goes through it: SOCKS 5 (RFC 1928) without authentication, or HTTP's CONNECT.
async fn proxy(target: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let used = Arc::new(AtomicUsize::new(0));
    let count = used.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let size = client.read(&mut request).await.unwrap();
                if request[0] == 5 {
                    client.write_all(&[5, 0]).await.unwrap();
                    assert!(client.read(&mut request).await.unwrap() > 7);
                    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                } else {
                    assert!(request[..size].starts_with(b"CONNECT "));
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                }
                count.fetch_add(1, Ordering::SeqCst);
                let mut server = TcpStream::connect(target).await.unwrap();
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (address, used)
}

#[tokio::test]
async fn both_transports_go_through_proxies() {
    let Certificates { authority, certificate, key } = certificates();
    for (name, start) in SERVERS {
        let server = start(json!({ "tls": { "cert": certificate, "key": key } }));
        let (address, used) = proxy(server.address).await;
        for scheme in ["http", "socks5h"] {
            for transport in [Transport::Polling, Transport::WebSocket] {
                let before = used.load(Ordering::SeqCst);
                let builder = secure(&server).root_certificate(authority.clone());
                works(name, builder.proxy(&format!("{scheme}://{address}")), transport).await;
                assert!(used.load(Ordering::SeqCst) > before, "{name} {scheme} {transport}");
            }
        }
    }
}
