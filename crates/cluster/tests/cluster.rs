//! Servers on a broker of the same process: what is done on one reaches the clients and the handlers of the others.
#[path = "support/broker.rs"]
mod broker;
#[path = "support/member.rs"]
mod member;

use std::time::Duration;

use broker::Broker;
use futures_util::StreamExt;
use member::{Member, client, heard_each_other, next};
use serde_json::{Value as Json, json};
use sockeye::{ArgsBuf, Socket};
use sockeye_cluster::{
    Cluster, Emitter,
    format::{
        Format, Python, PythonSettings,
        own::{Keys, Own},
    },
};

async fn pair(broker: &Broker) -> (Member, Member) {
    let one = Member::on(vec![broker.bus("own", Own::default())]).await;
    let two = Member::on(vec![broker.bus("own", Own::default())]).await;
    heard_each_other(&[&one, &two]).await;
    (one, two)
}

/// Waits until one server hears each of the rooms.
async fn heard_in(broker: &Broker, rooms: &[&str]) {
    for room in rooms {
        broker.until_heard(Own::default().room_subscription("/", room), 1).await;
    }
}

#[tokio::test]
async fn events_reach_the_clients_of_all_servers_in_order() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let (mut near, mut far) = (client(&one).await, client(&two).await);
    let root = one.server.of("/");
    let far_id = far.sid().to_owned();
    // Events to all, to the room of a socket, and to a room, mixed.
    two.server.of("/").socket(&far_id).unwrap().join("room").unwrap();
    heard_in(&broker, &[&far_id, "room"]).await;
    for number in 0..30 {
        match number % 3 {
            0 => root.emit("n", number).unwrap(),
            1 => root.to(&far_id).emit("n", number).unwrap(),
            _ => root.to("room").emit("n", number).unwrap(),
        }
    }
    for number in 0..30 {
        assert_eq!(next(&mut far).await, ("n".into(), json!(number)));
    }
    for number in (0..30).step_by(3) {
        assert_eq!(next(&mut near).await, ("n".into(), json!(number)));
    }
}

#[tokio::test]
async fn commands_and_questions_cross_servers() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let (mut near, mut far) = (client(&one).await, client(&two).await);
    let root = one.server.of("/");
    root.to(far.sid()).sockets_join(["a", "b"]);
    let fetched = loop {
        let fetched = root.to("a").fetch_sockets().await.unwrap();
        if !fetched.is_empty() {
            break fetched;
        }
    };
    assert_eq!(fetched[0].id().as_str(), far.sid());
    assert_eq!(fetched[0].rooms(), [far.sid(), "a", "b"]);
    assert_eq!(root.everyone().fetch_sockets().await.unwrap().len(), 2);
    assert_eq!(root.everyone().count().await.unwrap(), 2);
    assert_eq!(root.local_only().count().await.unwrap(), 1);
    let mut rooms = root.all_rooms().await.unwrap();
    rooms.sort();
    assert_eq!(rooms.iter().map(|room| &**room).collect::<Vec<_>>(), ["a", "b"]);
    root.to("a").sockets_leave("a");
    while root.to("a").count().await.unwrap() > 0 {}
    root.except(near.sid()).disconnect_sockets();
    while root.everyone().count().await.unwrap() > 1 {}
    assert!(near.is_connected() && !far.is_connected());
}

#[tokio::test]
async fn acknowledgements_of_all_clients_are_counted_and_collected() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let mut clients = vec![client(&one).await, client(&two).await, client(&two).await];
    let asked = one.server.of("/").timeout(Duration::from_secs(20)).emit_with_ack::<u8>("q", ()).unwrap();
    for (number, client) in (0u8..).zip(&mut clients) {
        let question = client.receive().await.unwrap();
        client.acknowledge(&question, number).await.unwrap();
    }
    let mut collected = asked.collect().await;
    collected.answers.sort_by_key(|(_, answer)| *answer);
    assert_eq!(
        collected.answers.iter().map(|(sid, answer)| (sid.is_some(), *answer)).collect::<Vec<_>>(),
        [(true, 0), (false, 1), (false, 2)]
    );
    assert!(collected.missing.is_empty() && collected.servers_missing == 0);
    // One client of the other server does not answer.
    let asked = one.server.of("/").timeout(Duration::from_millis(300)).emit_with_ack::<u8>("q", ()).unwrap();
    for client in &mut clients[..2] {
        let question = client.receive().await.unwrap();
        client.acknowledge(&question, 1).await.unwrap();
    }
    let collected = asked.collect().await;
    assert_eq!((collected.answers.len(), collected.missing.len(), collected.servers_missing), (2, 1, 0));
    assert!(collected.missing[0].0.is_none());
}

#[tokio::test]
async fn servers_tell_and_ask_each_other() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    two.server.of("/").on_server_event("tell", move |args: ArgsBuf| {
        sender.send(args.as_args().get::<u8>(0).unwrap()).unwrap();
        std::future::ready(())
    });
    two.server.of("/").on_server_event("ask", |args: ArgsBuf| async move { args.as_args().get::<u8>(0).unwrap() + 1 });
    for number in 0..10 {
        one.server.of("/").everyone().server_side_emit("tell", number).unwrap();
    }
    for number in 0..10 {
        assert_eq!(heard.recv().await, Some(number));
    }
    let answers = one.server.of("/").everyone().server_side_emit_with_ack("ask", 7).await.unwrap();
    assert_eq!(answers.iter().map(|args| args.as_args().get::<u8>(0).unwrap()).collect::<Vec<_>>(), [8]);
}

#[tokio::test]
async fn a_message_by_two_buses_is_carried_out_once() {
    let (first, second) = (Broker::default(), Broker::default());
    let buses = || vec![first.bus("first", Own::default()), second.bus("second", Own::default())];
    let (one, two) = (Member::on(buses()).await, Member::on(buses()).await);
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    for number in 0..100 {
        one.server.of("/").emit("n", number).unwrap();
    }
    for number in 0..100 {
        assert_eq!(next(&mut far).await, ("n".into(), json!(number)));
    }
    let asked = one.server.of("/").timeout(Duration::from_secs(20)).emit_with_ack::<u8>("q", ()).unwrap();
    let question = far.receive().await.unwrap();
    far.acknowledge(&question, 5).await.unwrap();
    assert_eq!(asked.collect().await.answers, [(None, 5)]);
    assert!(far.received().is_empty(), "it was asked once");
    // One bus is down: the other one carries everything.
    first.set_down(true);
    one.server.of("/").emit("n", 100).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(100)));
}

#[tokio::test]
async fn a_bridge_passes_on_between_buses_once_and_without_loops() {
    let (left, right) = (Broker::default(), Broker::default());
    let on_left = Member::on(vec![left.bus("left", Own::default())]).await;
    let on_right = Member::on(vec![right.bus("right", Own::default())]).await;
    let both = || vec![left.bus("left", Own::default()), right.bus("right", Own::default())];
    let bridge = both().into_iter().fold(Cluster::builder().bridge(true), |builder, bus| builder.bus(bus));
    let bridge = Member::of(bridge.join().unwrap()).await;
    let beside = Member::on(both()).await;
    let mut clients = Vec::new();
    for member in [&on_left, &on_right, &bridge, &beside] {
        clients.push(client(member).await);
    }
    for (number, member) in [&on_left, &on_right, &bridge, &beside].into_iter().enumerate() {
        member.server.of("/").emit("n", number).unwrap();
        for client in &mut clients {
            assert_eq!(next(client).await, ("n".into(), json!(number)));
        }
    }
    on_left.server.of("/").emit("last", ()).unwrap();
    for client in &mut clients {
        assert_eq!(next(client).await.0, "last", "nothing came twice");
    }
}

#[tokio::test]
async fn a_broker_that_was_away_gets_what_waited_and_hears_everything_again() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let mut far = client(&two).await;
    broker.set_down(true);
    while one.cluster.status()[0].up || two.cluster.status()[0].up {
        tokio::task::yield_now().await;
    }
    one.server.of("/").emit("n", 1).unwrap();
    assert!(one.cluster.status()[0].waiting_bytes > 0);
    broker.set_down(false);
    one.cluster.up().await;
    two.cluster.up().await;
    one.server.of("/").emit("n", 2).unwrap();
    // The first one waited. It has left before the other server was back, or has come, too.
    while next(&mut far).await != ("n".into(), json!(2)) {}
    let status = &one.cluster.status()[0];
    assert_eq!((status.joined, status.waiting_bytes, status.dropped, status.expired), (2, 0, 0, 0));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_counted_as_missing() {
    let broker = Broker::default();
    let one = Cluster::builder().request_timeout(Duration::from_millis(200)).bus(broker.bus("own", Own::default()));
    let one = Member::of(one.join().unwrap()).await;
    let two = Member::on(vec![broker.bus("own", Own::default())]).await;
    heard_each_other(&[&one, &two]).await;
    // It is heard, but does not answer any more.
    let Member { cluster, server } = two;
    drop((server, cluster));
    let error = one.server.of("/").everyone().fetch_sockets().await.unwrap_err();
    assert_eq!(error.to_string(), "timeout reached: only 0 responses received out of 1");
    let acks = one.server.of("/").timeout(Duration::from_millis(200)).emit_with_ack::<u8>("q", ()).unwrap();
    assert_eq!(acks.collect().await.servers_missing, 1);
}

#[tokio::test]
async fn a_room_comes_only_to_servers_that_have_members_of_it() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let mut far = client(&two).await;
    let socket: Socket = two.server.of("/").socket(far.sid()).unwrap();
    let received = || two.cluster.status()[0].received;
    socket.join("room").unwrap();
    heard_in(&broker, &["room"]).await;
    one.server.of("/").to("room").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
    socket.leave("room");
    broker.until_heard(Own::default().room_subscription("/", "room"), 0).await;
    let before = received();
    for _ in 0..10 {
        one.server.of("/").to("room").emit("n", 2).unwrap();
        one.server.of("/").to("elsewhere").emit("n", 2).unwrap();
    }
    one.server.of("/").emit("all", ()).unwrap();
    assert_eq!(next(&mut far).await.0, "all");
    assert_eq!(received() - before, 1, "only the last one came here");
}

#[tokio::test]
async fn many_rooms_are_heard_by_one_pattern_and_few_again_singly() {
    let broker = Broker::default();
    let one = Member::on(vec![broker.bus("own", Own::default())]).await;
    let two = Member::on(vec![broker.bus("own", Own::default()).max_room_subscriptions(10)]).await;
    heard_each_other(&[&one, &two]).await;
    let mut far = client(&two).await;
    let socket = two.server.of("/").socket(far.sid()).unwrap();
    let rooms: Vec<String> = (0..30).map(|number| format!("room {number}")).collect();
    socket.join(&rooms).unwrap();
    heard_in(&broker, &["room 0", "room 29", "a room without members"]).await;
    for room in &rooms {
        one.server.of("/").to(room).emit("n", room).unwrap();
        assert_eq!(next(&mut far).await, ("n".into(), json!(room)));
    }
    socket.leave(&rooms[1..]);
    broker.until_heard(Own::default().room_subscription("/", "a room without members"), 0).await;
    for _ in 0..3 {
        one.server.of("/").to(&rooms[0]).emit("n", 0).unwrap();
        assert_eq!(next(&mut far).await, ("n".into(), json!(0)));
    }
}

#[tokio::test]
async fn an_emitter_reaches_clients_without_a_server_of_its_own() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let (mut near, mut far) = (client(&one).await, client(&two).await);
    let emitter = Emitter::new(broker.bus("own", Own::default()));
    emitter.broadcast().emit("n", 1).unwrap();
    emitter.broadcast().except(near.sid()).emit("n", 2).unwrap();
    emitter.to(near.sid()).join("room").unwrap();
    emitter.flush(Duration::from_secs(10)).await.unwrap();
    assert_eq!(next(&mut near).await, ("n".into(), json!(1)));
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
    assert_eq!(next(&mut far).await, ("n".into(), json!(2)));
    while one.server.of("/").to("room").count().await.unwrap() == 0 {}
    assert_eq!(emitter.servers().await.unwrap(), Some(2));
    assert_eq!(one.cluster.status()[0].servers, Some(1), "the emitter is no server");
    assert!(emitter.of("chat").broadcast().emit("connect", ()).is_err(), "the name is reserved");
}

#[tokio::test]
async fn without_the_key_nobody_is_heard() {
    let broker = Broker::default();
    let keys = || Keys::new("k", b"0123456789abcdef").unwrap();
    let one = Member::on(vec![broker.bus("own", Own::new("sockeye", keys()))]).await;
    let two = Member::on(vec![broker.bus("own", Own::new("sockeye", keys()))]).await;
    let stranger = Member::on(vec![broker.bus("own", Own::default())]).await;
    let mut far = client(&two).await;
    stranger.server.of("/").emit("forged", ()).unwrap();
    stranger.cluster.close(Duration::from_secs(5)).await;
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
    assert!(two.cluster.status()[0].malformed > 0);
}

#[tokio::test]
async fn garbage_on_the_bus_is_counted_and_harms_nothing() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let mut far = client(&two).await;
    for payload in [&b""[..], b"\xff\xff", b"{", &[0xdd, 0xff, 0xff, 0xff, 0xff], &[0x94, 1, 0xc0, 0xa1, b'/', 1]] {
        broker.publish("sockeye.=2f.all", payload);
    }
    one.server.of("/").emit("n", 1).unwrap();
    assert_eq!(next(&mut far).await, ("n".into(), json!(1)));
    assert_eq!(two.cluster.status()[0].malformed, 5);
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_the_buses() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    broker.until_heard(Own::default().subscriptions("/").pop(), 2).await;
    drop(two);
    broker.until_heard(Own::default().subscriptions("/").pop(), 1).await;
    one.server.of("/").emit("n", ()).unwrap();
}

fn python() -> Python {
    Python::new(PythonSettings::default())
}

async fn pair_on_a_python_bus(broker: &Broker) -> (Member, Member) {
    let one = Member::on(vec![broker.bus("python", python())]).await;
    let two = Member::on(vec![broker.bus("python", python())]).await;
    heard_each_other(&[&one, &two]).await;
    (one, two)
}

#[tokio::test]
async fn servers_on_a_python_bus_do_among_themselves_what_python_has_no_words_for() {
    let broker = Broker::default();
    let (one, two) = pair_on_a_python_bus(&broker).await;
    let (near, mut far) = (client(&one).await, client(&two).await);
    let root = one.server.of("/");
    root.except(near.sid()).sockets_join(["a", "b"]);
    while root.to("a").count().await.unwrap() == 0 {}
    assert_eq!(root.to("b").fetch_sockets().await.unwrap()[0].id().as_str(), far.sid());
    root.to("a").except("nobody").emit("excepted", (1, None::<u8>)).unwrap();
    assert_eq!(next(&mut far).await, ("excepted".into(), json!(1)));
    two.server.of("/").on_server_event("ask", |args: ArgsBuf| async move { args.as_args().get::<u8>(0).unwrap() + 1 });
    let answers = root.everyone().server_side_emit_with_ack("ask", 7).await.unwrap();
    assert_eq!(answers.len(), 1);
    // The broker tells that nobody else listens, so that the acknowledgements are complete before the timeout.
    let asked = root.to("b").timeout(Duration::from_secs(3_600)).emit_with_ack::<u8>("q", ()).unwrap();
    let question = far.receive().await.unwrap();
    far.acknowledge(&question, 7).await.unwrap();
    let collected = tokio::time::timeout(Duration::from_secs(10), asked.collect()).await.unwrap();
    assert_eq!(collected.answers.iter().map(|(_, answer)| *answer).collect::<Vec<_>>(), [7]);
}

#[tokio::test]
async fn python_servers_acknowledge_and_are_acknowledged() {
    let broker = Broker::default();
    let (one, two) = pair_on_a_python_bus(&broker).await;
    let mut heard = broker.listen("socketio");
    let mut far = client(&two).await;
    let mut next_of = async |method: &str| loop {
        let (_, payload) = heard.recv().await.unwrap();
        let message: Json = serde_json::from_slice(&payload).unwrap();
        if message["method"] == method {
            return message;
        }
    };
    for far_answers in [true, false] {
        let asked = one.server.of("/").timeout(Duration::from_millis(300)).emit_with_ack::<u8>("q", ()).unwrap();
        let emit = next_of("emit").await;
        let question = far.receive().await.unwrap();
        if far_answers {
            far.acknowledge(&question, 7).await.unwrap();
        }
        let mut asked = std::pin::pin!(asked);
        let mut answers = Vec::new();
        if far_answers {
            answers.push(asked.next().await.unwrap().1.unwrap());
        }
        // There may still be clients of Python servers.
        for answer in [8, 9] {
            let [sid, namespace, id] = [0, 1, 2].map(|index| emit["callback"][index].clone());
            let callback = json!({
                "method": "callback", "host_id": emit["host_id"], "sid": sid, "namespace": namespace, "id": id,
                "args": [answer],
            });
            broker.publish("socketio", callback.to_string().as_bytes());
        }
        let mut missing = 0;
        while let Some((_, answer)) = asked.next().await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(_) => missing += 1,
            }
        }
        let expected = if far_answers { (vec![7, 8, 9], 0) } else { (vec![8, 9], 1) };
        assert_eq!((answers, missing), expected);
    }

    let asking = json!({
        "method": "emit", "event": "p", "data": [1], "namespace": "/", "room": far.sid(), "host_id": "python",
        "callback": [far.sid(), "/", 3],
    });
    broker.publish("socketio", asking.to_string().as_bytes());
    let question = far.receive().await.unwrap();
    far.acknowledge(&question, ("yes", 1)).await.unwrap();
    let expected = json!({
        "method": "callback", "host_id": "python", "sid": far.sid(), "namespace": "/", "id": 3, "args": ["yes", 1],
    });
    while next_of("callback").await != expected {}
}

#[tokio::test]
async fn a_handler_for_an_event_of_servers_that_panics_ends_only_its_own_work() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    two.server.of("/").on_server_event("ask", |args: ArgsBuf| async move {
        let number = args.as_args().get::<u8>(0).unwrap();
        assert!(number != 1, "it panics");
        number
    });
    let everyone = one.server.of("/").everyone();
    let ask = async |number: u8| everyone.server_side_emit_with_ack("ask", number).await.unwrap().len();
    assert_eq!((ask(1).await, ask(2).await), (0, 1));
}

#[tokio::test]
async fn a_connection_that_panics_is_made_again() {
    let broker = Broker::default();
    broker.set_panics(true);
    let cluster = Cluster::builder().bus(broker.bus("own", Own::default())).join().unwrap();
    while cluster.status()[0].failure.as_deref() != Some("the connection's task panicked") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    broker.set_panics(false);
    tokio::time::timeout(Duration::from_secs(10), cluster.up()).await.unwrap();
}

#[tokio::test]
async fn a_timeout_may_be_longer_than_the_clock_can_tell() {
    let broker = Broker::default();
    let (one, two) = pair(&broker).await;
    let mut far = client(&two).await;
    two.server.of("/").on_server_event("ask", async |_: ArgsBuf| 1);
    let patient = one.server.of("/").timeout(Duration::MAX);
    assert_eq!(patient.server_side_emit_with_ack("ask", ()).await.unwrap().len(), 1);
    let asked = patient.emit_with_ack::<u8>("q", ()).unwrap();
    let question = far.receive().await.unwrap();
    far.acknowledge(&question, 7).await.unwrap();
    assert_eq!(asked.collect().await.answers, [(None, 7)]);
}
