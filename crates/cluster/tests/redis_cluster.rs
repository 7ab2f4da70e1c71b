//! Servers on a real Redis Cluster.
#[path = "support/member.rs"]
mod member;
#[path = "support/redis_cluster.rs"]
mod redis_cluster;
#[path = "support/redis_server.rs"]
mod redis_server;

use std::time::Duration;

use member::{Member, client, heard_each_other, next};
use redis_cluster::RedisCluster;
use serde_json::json;
use sockeye::TestClient;
use sockeye_cluster::{
    Bus, Emitter,
    format::{NodeSharded, NodeStreams, ShardedSettings, StreamsSettings, own::Own},
    transport::redis::Redis,
};

const KEEP_ALIVE: Duration = Duration::from_millis(500);

fn sharded(cluster: &RedisCluster) -> Bus {
    let transport = Redis::new(&cluster.url()).unwrap().sharded();
    Bus::new("redis", NodeSharded::new(ShardedSettings::default()), transport).keep_alive(KEEP_ALIVE)
}

fn room(number: usize) -> String {
    format!("room {number}")
}

/// The slot of a room's sharded channel.
fn slot(cluster: &RedisCluster, room: &str) -> u16 {
    cluster.ask(1, &["cluster", "keyslot", &format!("socket.io#/#{room}#")]).trim().parse().unwrap()
}

/// Emits to a room until a client in it has heard that.
async fn until_heard(from: &Member, room: &str, client: &mut TestClient) {
    for number in 0.. {
        from.server.of("/").to(room).emit("probe", (room, number)).unwrap();
        let heard = async {
            loop {
                let event = client.receive().await.unwrap();
                if event.args.as_args().get::<String>(0).is_ok_and(|heard| heard == room) {
                    return;
                }
            }
        };
        if tokio::time::timeout(Duration::from_millis(200), heard).await.is_ok() {
            return;
        }
        assert!(number < 150, "nothing comes for {room}");
    }
}

/// Emits to each room once, and asserts that a client hears each once.
async fn each_room_is_heard_once(from: &Member, rooms: usize, client: &mut TestClient, round: &str) {
    for number in 0..rooms {
        from.server.of("/").to(room(number)).emit(round, number).unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < rooms {
        let (name, number) = next(client).await;
        if name == round {
            heard.push(number.as_u64().unwrap());
        }
    }
    // What came twice would have come before this.
    from.server.of("/").emit("end", round).unwrap();
    loop {
        match next(client).await {
            (name, value) if name == "end" && value == json!(round) => break,
            (name, number) => assert_ne!(name, round, "{number} came twice"),
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..rooms as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn channels_of_a_cluster_keep_the_order_and_carry_each_message_once() {
    let cluster = RedisCluster::start(false);
    let bus = || Bus::new("redis", Own::default(), Redis::new(&cluster.url()).unwrap()).keep_alive(KEEP_ALIVE);
    let (one, two) = (Member::on(vec![bus()]).await, Member::on(vec![bus()]).await);
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    two.server.of("/").socket(far.sid()).unwrap().join("room").unwrap();
    until_heard(&one, "room", &mut far).await;
    // The channels of rooms and of everybody are in slots of different nodes.
    for number in 0..500 {
        match number % 3 {
            0 => one.server.of("/").emit("n", number).unwrap(),
            1 => one.server.of("/").to("room").emit("n", number).unwrap(),
            _ => one.server.of("/").to(far.sid()).emit("n", number).unwrap(),
        }
    }
    let mut expected = 0;
    while expected < 500 {
        let (name, number) = next(&mut far).await;
        if name == "n" {
            assert_eq!(number, json!(expected));
            expected += 1;
        }
    }
}

#[tokio::test]
async fn streams_in_a_cluster_carry_events_and_requests() {
    let cluster = RedisCluster::start(true);
    let bus = || {
        let transport = Redis::new(&cluster.url()).unwrap();
        let settings = StreamsSettings { stream_count: 4, ..StreamsSettings::default() };
        Bus::new("redis", NodeStreams::new(settings), transport).keep_alive(KEEP_ALIVE)
    };
    let (one, two, three) =
        (Member::on(vec![bus()]).await, Member::on(vec![bus()]).await, Member::on(vec![bus()]).await);
    let (mut far, _near) = (client(&two).await, client(&three).await);
    for number in 0..100 {
        one.server.of("/").emit("n", number).unwrap();
    }
    for number in 0..100 {
        assert_eq!(next(&mut far).await, ("n".into(), json!(number)));
    }
    // Namespaces are on streams of different nodes.
    for name in ["/a", "/b", "/c", "/d"] {
        one.server.of(name);
        two.server.of(name);
        let mut far = two.server.test_client().namespace(name).connect().await.unwrap();
        let mut tries = 0;
        loop {
            one.server.of(name).emit("n", name).unwrap();
            if tokio::time::timeout(Duration::from_millis(100), far.receive()).await.is_ok() {
                break;
            }
            tries += 1;
            assert!(tries < 150, "nothing comes in {name}");
        }
    }
    // Each node of the cluster knows only its own subscribers.
    let emitter = Emitter::new(bus());
    emitter.to("nobody").emit("n", ()).unwrap();
    emitter.flush(Duration::from_secs(10)).await.unwrap();
    assert_eq!(emitter.servers().await.unwrap(), Some(3));
    assert_eq!(one.server.of("/").everyone().fetch_sockets().await.unwrap().len(), 2);
}

#[tokio::test]
async fn sharded_channels_follow_their_slots_to_other_nodes() {
    let cluster = RedisCluster::start(false);
    let (one, two) = (Member::on(vec![sharded(&cluster)]).await, Member::on(vec![sharded(&cluster)]).await);
    let mut far = client(&two).await;
    let rooms: Vec<_> = (0..40).map(room).collect();
    two.server.of("/").socket(far.sid()).unwrap().join(&rooms).unwrap();
    for room in &rooms {
        until_heard(&one, room, &mut far).await;
    }
    each_room_is_heard_once(&one, 40, &mut far, "before").await;
    for room in &rooms[..10] {
        let slot = slot(&cluster, room);
        cluster.move_slot(slot, (cluster.master_of(slot) + 1) % 3);
        until_heard(&one, room, &mut far).await;
    }
    each_room_is_heard_once(&one, 40, &mut far, "after").await;
    for number in 0..3 {
        cluster.ask(number, &["client", "kill", "type", "pubsub"]);
    }
    for room in &rooms {
        until_heard(&one, room, &mut far).await;
    }
    each_room_is_heard_once(&one, 40, &mut far, "again").await;
    assert!(one.cluster.status()[0].joined == 1 && two.cluster.status()[0].joined == 1, "the others stayed");
}

#[tokio::test]
async fn sharded_channels_follow_a_failover() {
    let mut cluster = RedisCluster::start(true);
    let (one, two) = (Member::on(vec![sharded(&cluster)]).await, Member::on(vec![sharded(&cluster)]).await);
    let mut far = client(&two).await;
    let rooms: Vec<_> = (0..40).map(room).collect();
    two.server.of("/").socket(far.sid()).unwrap().join(&rooms).unwrap();
    for room in &rooms {
        until_heard(&one, room, &mut far).await;
    }
    let first = slot(&cluster, &room(0));
    let master = cluster.master_of(first);
    let other = (1..40).map(|number| slot(&cluster, &room(number))).find(|slot| cluster.master_of(*slot) != master);
    for (round, slot, kill) in [("killed", first, true), ("stopped", other.unwrap(), false)] {
        cluster.fail_over(slot, kill);
        for room in &rooms {
            until_heard(&one, room, &mut far).await;
        }
        one.cluster.up().await;
        two.cluster.up().await;
        each_room_is_heard_once(&one, 40, &mut far, round).await;
        assert_eq!(one.server.of("/").everyone().fetch_sockets().await.unwrap().len(), 1);
    }
}
