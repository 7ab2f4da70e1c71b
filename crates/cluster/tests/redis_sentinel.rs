//! Servers on a real Redis whose master Sentinel chooses.
#[path = "support/member.rs"]
mod member;
#[path = "support/redis_server.rs"]
mod redis_server;

use std::time::{Duration, Instant};

use member::{Member, client, heard_each_other, next};
use redis_server::RedisServer;
use serde_json::json;
use sockeye_cluster::{Bus, format::own::Own, transport::redis::Redis};

const KEEP_ALIVE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn servers_follow_sentinel_to_another_master() {
    let password = ["--requirepass", "secret", "--masterauth", "secret"];
    let mut master = RedisServer::start(&password);
    let port = master.port.to_string();
    let replica = RedisServer::start(&[&password[..], &["--replicaof", "127.0.0.1", &port]].concat());
    let sentinel = RedisServer::sentinel(&[
        &format!("sentinel monitor main 127.0.0.1 {port} 1"),
        "sentinel auth-pass main secret",
        "sentinel down-after-milliseconds main 500",
        "sentinel failover-timeout main 2000",
    ]);
    sentinel.until(&["sentinel", "replicas", "main"], &replica.port.to_string());
    let url = format!("redis+sentinel://:secret@127.0.0.1:{}/main", sentinel.port);
    let bus = || Bus::new("redis", Own::default(), Redis::new(&url).unwrap()).keep_alive(KEEP_ALIVE);
    let (one, two) = (Member::on(vec![bus()]).await, Member::on(vec![bus()]).await);
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;

    master.kill();
    sentinel.until(&["sentinel", "get-master-addr-by-name", "main"], &replica.port.to_string());
    let start = Instant::now();
    let mut number = 0;
    loop {
        one.server.of("/").emit("n", number).unwrap();
        if tokio::time::timeout(Duration::from_millis(200), far.receive()).await.is_ok() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "nothing comes by the new master");
        number += 1;
    }
    one.cluster.up().await;
    two.cluster.up().await;

    // The new master becomes a replica again, and nothing breaks its connections.
    master.restart();
    sentinel.until(&["sentinel", "replicas", "main"], &port);
    one.server.of("/").emit("last", ()).unwrap();
    while next(&mut far).await != ("last".into(), json!(null)) {}
    replica.ask(&["-a", "secret", "replicaof", "127.0.0.1", &port]);
    master.ask(&["-a", "secret", "replicaof", "no", "one"]);
    let has_left = async {
        while one.cluster.status()[0].up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), has_left).await.expect("a demoted master is found");
}
