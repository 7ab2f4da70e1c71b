//! Servers on a real Redis.
#[path = "support/member.rs"]
mod member;
#[path = "support/redis_server.rs"]
mod redis_server;

use std::time::Duration;

use member::{Member, client, heard_each_other, next};
use redis_server::RedisServer;
use serde_json::json;
use sockeye_cluster::{
    Bus, Cluster, Emitter,
    format::{NodeSharded, NodeStreams, ShardedSettings, StreamsSettings, own::Own},
    transport::redis::Redis,
};

const KEEP_ALIVE: Duration = Duration::from_millis(500);

fn bus(server: &RedisServer) -> Bus {
    Bus::new("redis", Own::default(), Redis::new(&server.url()).unwrap())
}

async fn until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("the condition holds within 30 s");
}

#[tokio::test]
async fn events_and_requests_cross_redis() {
    let redis = RedisServer::start(&[]);
    let (one, two) = (Member::on(vec![bus(&redis)]).await, Member::on(vec![bus(&redis)]).await);
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    for number in 0..1_000 {
        one.server.of("/").emit("n", number).unwrap();
    }
    for number in 0..1_000 {
        assert_eq!(next(&mut far).await, ("n".into(), json!(number)));
    }
    assert_eq!(one.server.of("/").everyone().count().await.unwrap(), 1);
    let asked = one.server.of("/").timeout(Duration::from_secs(20)).emit_with_ack::<u8>("q", ()).unwrap();
    let question = far.receive().await.unwrap();
    far.acknowledge(&question, 7).await.unwrap();
    assert_eq!(asked.collect().await.answers, [(None, 7)]);
    let emitter = Emitter::new(bus(&redis));
    emitter.to(far.sid()).emit("direct", ()).unwrap();
    emitter.flush(Duration::from_secs(10)).await.unwrap();
    assert_eq!(next(&mut far).await.0, "direct");
    assert_eq!(emitter.servers().await.unwrap(), Some(2));
}

#[tokio::test]
async fn rooms_are_subscribed_singly_and_a_message_for_one_comes_once() {
    let redis = RedisServer::start(&[]);
    let one = Member::on(vec![bus(&redis)]).await;
    let two = Member::on(vec![bus(&redis).max_room_subscriptions(4)]).await;
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    let socket = two.server.of("/").socket(far.sid()).unwrap();
    socket.join("kept").unwrap();
    let mut heard = false;
    while !heard {
        one.server.of("/").to("kept").emit("probe", ()).unwrap();
        heard = tokio::time::timeout(Duration::from_millis(50), far.receive()).await.is_ok();
    }
    // From single subscriptions to the pattern and back, while messages come.
    for round in 0..20 {
        let rooms: Vec<String> = (0..6).map(|room| format!("{round} {room}")).collect();
        socket.join(&rooms).unwrap();
        for number in 0..10 {
            one.server.of("/").to("kept").emit("n", number).unwrap();
        }
        socket.leave(&rooms);
    }
    one.server.of("/").emit("last", ()).unwrap();
    let mut numbers = Vec::new();
    loop {
        match next(&mut far).await {
            (name, _) if name == "last" => break,
            (name, number) if name == "n" => numbers.push(number.as_u64().unwrap()),
            _ => {}
        }
    }
    assert_eq!(numbers, (0..200).map(|number| number % 10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restart_of_redis_is_survived() {
    let mut redis = RedisServer::start(&[]);
    let (one, two) = (Member::on(vec![bus(&redis)]).await, Member::on(vec![bus(&redis)]).await);
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    redis.kill();
    until(|| !one.cluster.status()[0].up && !two.cluster.status()[0].up).await;
    one.server.of("/").emit("n", 1).unwrap();
    assert!(one.cluster.status()[0].waiting_bytes > 0, "it waits");
    redis.restart();
    one.cluster.up().await;
    two.cluster.up().await;
    one.server.of("/").emit("n", 2).unwrap();
    while next(&mut far).await != ("n".into(), json!(2)) {}
    until(|| one.cluster.status()[0].waiting_bytes == 0).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_found_and_forgotten_when_it_does() {
    let redis = RedisServer::start(&[]);
    let (one, two) = (
        Member::on(vec![bus(&redis).keep_alive(KEEP_ALIVE)]).await,
        Member::on(vec![bus(&redis).keep_alive(KEEP_ALIVE)]).await,
    );
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    redis.pause(true);
    until(|| !one.cluster.status()[0].up && !two.cluster.status()[0].up).await;
    redis.pause(false);
    one.cluster.up().await;
    two.cluster.up().await;
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
}

#[tokio::test]
async fn a_wrong_password_is_said_without_it() {
    let redis = RedisServer::start(&["--requirepass", "right"]);
    for (password, up) in [("right", true), ("wrong", false)] {
        let url = format!("redis://:{password}@127.0.0.1:{}", redis.port);
        let cluster =
            Cluster::builder().bus(Bus::new("redis", Own::default(), Redis::new(&url).unwrap())).join().unwrap();
        if up {
            cluster.up().await;
            continue;
        }
        until(|| cluster.status()[0].failure.is_some()).await;
        let failure = cluster.status()[0].failure.clone().unwrap();
        assert!(failure.contains("127.0.0.1") && failure.contains("refuses"), "{failure}");
        assert!(!failure.contains("wrong"), "{failure}");
    }
}

#[tokio::test]
async fn sharded_channels_carry_events_and_answers() {
    let redis = RedisServer::start(&[]);
    let bus = || {
        let transport = Redis::new(&redis.url()).unwrap().sharded();
        Bus::new("redis", NodeSharded::new(ShardedSettings::default()), transport)
    };
    let (one, two) = (Member::on(vec![bus()]).await, Member::on(vec![bus()]).await);
    let mut far = client(&two).await;
    let socket = two.server.of("/").socket(far.sid()).unwrap();
    socket.join("room").unwrap();
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
    while one.server.of("/").to("room").fetch_sockets().await.unwrap().is_empty() {}
    let asked = one.server.of("/").timeout(Duration::from_secs(20)).emit_with_ack::<u8>("q", ()).unwrap();
    let question = far.receive().await.unwrap();
    far.acknowledge(&question, 7).await.unwrap();
    assert_eq!(asked.collect().await.answers, [(None, 7)]);
}

#[tokio::test]
async fn a_stream_loses_nothing_while_redis_is_away_from_its_reader() {
    let redis = RedisServer::start(&[]);
    let bus = || {
        let transport = Redis::new(&redis.url()).unwrap();
        Bus::new("redis", NodeStreams::new(StreamsSettings::default()), transport).keep_alive(KEEP_ALIVE)
    };
    let (one, two) = (Member::on(vec![bus()]).await, Member::on(vec![bus()]).await);
    let mut far = client(&two).await;
    one.server.of("/").emit("n", 0).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(0)));
    redis.pause(true);
    for number in 1..100 {
        one.server.of("/").emit("n", number).unwrap();
    }
    until(|| !one.cluster.status()[0].up && !two.cluster.status()[0].up).await;
    redis.pause(false);
    let mut next_number = 1;
    while next_number < 100 {
        let (_, number) = next(&mut far).await;
        // What may have left before the pause was found was published again.
        let number = number.as_u64().unwrap();
        assert!(number <= next_number, "{number} came before {next_number}");
        next_number = next_number.max(number + 1);
    }
}

#[tokio::test]
async fn a_connection_that_redis_ends_alone_is_made_again() {
    let redis = RedisServer::start(&[]);
    let (one, two) = (Member::on(vec![bus(&redis)]).await, Member::on(vec![bus(&redis)]).await);
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    let joined = two.cluster.status()[0].joined;
    // Only the connections that listen are ended; those that publish live on.
    redis.ask(&["client", "kill", "type", "pubsub"]);
    until(|| two.cluster.status()[0].joined > joined).await;
    one.cluster.up().await;
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
}

#[tokio::test]
async fn a_user_with_few_permissions_is_enough_and_a_missing_one_is_named() {
    let redis = RedisServer::start(&[]);
    let rights = "-@all +subscribe +unsubscribe +psubscribe +punsubscribe +publish +ping +pubsub|numsub +ssubscribe \
                  +sunsubscribe +spublish +pubsub|shardnumsub +xadd +xread +xrevrange ~socket.io resetchannels &socket.io#*";
    let set_user = |name: &str, more: &str| {
        let rights = format!("acl setuser {name} on >secret {rights} {more}");
        assert_eq!(redis.ask(&rights.split_whitespace().collect::<Vec<_>>()).trim(), "OK");
    };
    set_user("enough", "");
    set_user("silent", "-publish");
    let transport = |user: &str| Redis::new(&format!("redis://{user}:secret@127.0.0.1:{}", redis.port)).unwrap();
    let streams = |user: &str| {
        Bus::new("redis", NodeStreams::new(StreamsSettings::default()), transport(user)).keep_alive(KEEP_ALIVE)
    };
    let (one, two) = (Member::on(vec![streams("enough")]).await, Member::on(vec![streams("enough")]).await);
    let mut far = client(&two).await;
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
    assert_eq!(one.server.of("/").everyone().fetch_sockets().await.unwrap().len(), 1);

    let sharded = || {
        let format = NodeSharded::new(ShardedSettings::default());
        Bus::new("redis", format, transport("enough").sharded()).keep_alive(KEEP_ALIVE)
    };
    let (one, two) = (Member::on(vec![sharded()]).await, Member::on(vec![sharded()]).await);
    let mut far = client(&two).await;
    two.server.of("/").socket(far.sid()).unwrap().join("room").unwrap();
    assert_eq!(one.server.of("/").to("room").fetch_sockets().await.unwrap().len(), 1);
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));

    let silent = Member::on(vec![streams("silent")]).await;
    let _asked = silent.server.of("/").timeout(KEEP_ALIVE).emit_with_ack::<u8>("q", ()).unwrap();
    until(|| silent.cluster.status()[0].failure.is_some()).await;
    let failure = silent.cluster.status()[0].failure.clone().unwrap();
    assert!(failure.contains("refuses") && failure.contains("publish") && !failure.contains("secret"), "{failure}");
}
