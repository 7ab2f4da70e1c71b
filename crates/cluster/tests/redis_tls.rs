//! Servers on a real Redis that is encrypted.
#[path = "support/member.rs"]
mod member;
#[path = "support/redis_server.rs"]
mod redis_server;

use std::{net::TcpListener, process::Command, time::Duration};

use member::{Member, client, heard_each_other, next};
use redis_server::RedisServer;
use serde_json::json;
use sockeye_cluster::{Bus, Cluster, format::own::Own, transport::redis::Redis};

/// The URL of the Redis, for the process that trusts its certificate.
const URL: &str = "SOCKEYE_TEST_REDIS_TLS";

fn bus(url: &str) -> Bus {
    Bus::new("redis", Own::default(), Redis::new(url).unwrap()).keep_alive(Duration::from_millis(500))
}

#[tokio::test]
async fn servers_reach_redis_by_tls_if_they_trust_its_certificate() {
    if let Ok(url) = std::env::var(URL) {
        return events_cross(&url).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(file("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let arguments = [
        ["--tls-port", &port.to_string()],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &cert],
        ["--tls-auth-clients", "no"],
    ];
    let _redis = RedisServer::start(&arguments.concat());
    let url = format!("rediss://localhost:{port}");

    let cluster = Cluster::builder().bus(bus(&url)).join().unwrap();
    let refused = async {
        while cluster.status()[0].failure.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the certificate is refused");
    let failure = cluster.status()[0].failure.clone().unwrap();
    assert!(failure.contains("certificate"), "{failure}");

    // What is trusted is settled when a process first connects.
    let test = ["--exact", "servers_reach_redis_by_tls_if_they_trust_its_certificate"];
    let mut trusting = Command::new(std::env::current_exe().unwrap());
    trusting.args(test).env(URL, url).env("SSL_CERT_FILE", cert);
    assert!(tokio::task::spawn_blocking(move || trusting.status()).await.unwrap().unwrap().success());
}

async fn events_cross(url: &str) {
    let joined = async { (Member::on(vec![bus(url)]).await, Member::on(vec![bus(url)]).await) };
    let (one, two) = tokio::time::timeout(Duration::from_secs(30), joined).await.expect("the certificate is trusted");
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
}
