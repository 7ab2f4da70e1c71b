//! An adapter of one's own: what is done on one server reaches the sockets and the handlers of another.
mod support;

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use sockeye::{
    Adapter, ArgsBuf, EmitError, Reply, Server, TestClient,
    adapter::{AdapterFuture, Delivery, EncodedPacket, Local, RemoteSocketData, RoomNames, Target},
    matching,
};
use support::{next, settle};
use tokio::sync::mpsc;

/// The namespaces of all servers, those of one name in touch with each other.
#[derive(Clone, Default)]
struct Bus(Arc<Mutex<Vec<Bridge>>>);

/// One server's side of a namespace.
#[derive(Clone)]
struct Bridge {
    bus: Bus,
    delivery: Delivery,
}

impl Bus {
    fn server(&self) -> Server {
        let bus = self.clone();
        let join = move |delivery| -> Arc<dyn Adapter> {
            let bridge = Bridge { bus: bus.clone(), delivery };
            bus.0.lock().unwrap().push(bridge.clone());
            Arc::new(bridge)
        };
        Server::builder().adapter(Arc::new(join)).build()
    }
}

impl Bridge {
    fn others(&self) -> Vec<Self> {
        let is_other = |other: &&Self| {
            other.delivery.local().namespace() == self.delivery.local().namespace()
                && !Arc::ptr_eq(other.delivery.local(), self.delivery.local())
        };
        self.bus.0.lock().unwrap().iter().filter(is_other).cloned().collect()
    }

    /// This server's side, and the others' unless the target stays here.
    fn concerned(&self, target: &Target) -> Vec<Arc<Local>> {
        let others = if target.local { Vec::new() } else { self.others() };
        std::iter::once(self.delivery.local().clone())
            .chain(others.into_iter().map(|other| other.delivery.local().clone()))
            .collect()
    }
}

impl Adapter for Bridge {
    fn local(&self) -> &Arc<Local> {
        self.delivery.local()
    }

    fn broadcast(&self, packet: &EncodedPacket, target: &Target) {
        self.concerned(target).iter().for_each(|side| side.broadcast(packet, target));
    }

    fn join(&self, target: &Target, rooms: &RoomNames, max_rooms: usize) {
        self.concerned(target).iter().for_each(|side| side.join_all(target, rooms, max_rooms));
    }

    fn leave(&self, target: &Target, rooms: &RoomNames) {
        self.concerned(target).iter().for_each(|side| side.leave_all(target, rooms));
    }

    fn disconnect(&self, target: &Target) {
        self.concerned(target).iter().for_each(|side| side.disconnect_all(target));
    }

    fn close(&self, target: &Target) {
        self.concerned(target).iter().for_each(|side| side.close_all(target));
    }

    fn fetch_sockets(&self, target: &Target) -> AdapterFuture<Vec<RemoteSocketData>> {
        let sockets = self.concerned(target).into_iter().flat_map(|side| side.sockets(target));
        let known = sockets.map(|socket| RemoteSocketData::of(&socket)).collect();
        Box::pin(ready(Ok(known)))
    }

    fn server_side_emit(&self, event: &str, args: &ArgsBuf) {
        for other in self.others() {
            let (event, args) = (event.to_owned(), args.clone());
            tokio::spawn(async move { other.delivery.server_event(&event, &args).await });
        }
    }

    fn server_side_emit_with_ack(&self, event: &str, args: &ArgsBuf, _: Duration) -> AdapterFuture<Vec<ArgsBuf>> {
        let (others, event, args) = (self.others(), event.to_owned(), args.clone());
        Box::pin(async move {
            let mut answers = Vec::new();
            for other in others {
                answers.extend(other.delivery.server_event(&event, &args).await);
            }
            Ok(answers)
        })
    }
}

#[tokio::test]
async fn broadcasts_and_commands_go_through_the_adapter() {
    let bus = Bus::default();
    let (one, two) = (bus.server(), bus.server());
    let (here, there) = (one.of("/"), two.of("/"));
    assert!(Arc::ptr_eq(here.adapter().local(), here.local()) && !Arc::ptr_eq(here.local(), there.local()));
    let mut near = one.test_client().connect().await.unwrap();
    let mut far = two.test_client().connect().await.unwrap();
    let mut elsewhere = two.test_client().namespace(two.of("/other").name()).connect().await.unwrap();
    let (near_id, far_id) = (near.sid().to_owned(), far.sid().to_owned());
    let (near_id, far_id) = (near_id.as_str(), far_id.as_str());
    let mut reached = |emitted: Result<(), EmitError>| {
        emitted.unwrap();
        [&mut near, &mut far, &mut elsewhere].map(|client: &mut TestClient| client.received().len())
    };
    assert_eq!(reached(one.emit("e", ())), [1, 1, 0]);
    assert_eq!(reached(here.local_only().emit("e", ())), [1, 0, 0], "it was to stay");
    assert_eq!(reached(here.to(far_id).emit("e", ())), [0, 1, 0]);
    assert_eq!(reached(here.except(far_id).emit("e", ())), [1, 0, 0]);
    assert_eq!(reached(here.socket(near_id).unwrap().broadcast().emit("e", ())), [0, 1, 0]);
    here.to(far_id).sockets_join("room");
    assert_eq!((here.local().room_len("room"), there.local().room_len("room")), (0, 1));
    assert_eq!(reached(here.to("room").emit("e", ())), [0, 1, 0]);
    let fetched = here.to("room").fetch_sockets().await.unwrap();
    assert_eq!(fetched.iter().map(|socket| socket.id().as_str()).collect::<Vec<_>>(), [far_id]);
    here.to("room").sockets_leave("room");
    assert_eq!(there.local().room_len("room"), 0);
    here.everyone().disconnect_sockets();
    settle().await;
    assert!(here.local().is_empty() && there.local().is_empty());
    assert!(elsewhere.is_connected());
}

#[tokio::test]
async fn a_parent_emits_to_its_children_on_other_servers_and_to_their_handlers() {
    let bus = Bus::default();
    let (one, two) = (bus.server(), bus.server());
    let parents = [&one, &two].map(|server| server.of_matching(matching("/room-*")));
    let (sender, mut heard) = mpsc::unbounded_channel();
    parents[1].on_server_event("who", move |args: ArgsBuf| {
        sender.send(args.as_args().get::<u8>(0).unwrap()).unwrap();
        ready(Reply::of("the other"))
    });
    let mut clients = Vec::new();
    for (server, name) in [(&one, "/room-1"), (&one, "/room-2"), (&two, "/room-1"), (&two, "/room-3")] {
        clients.push(server.test_client().namespace(name).connect().await.unwrap());
    }
    let mut reached = |emitted: Result<(), EmitError>| -> Vec<usize> {
        emitted.unwrap();
        clients.iter_mut().map(|client| client.received().len()).collect()
    };
    assert_eq!(reached(parents[0].emit("e", ())), [1, 1, 1, 0], "a child that only the other server has is its own");
    assert_eq!(reached(parents[0].local_only().emit("e", ())), [1, 1, 0, 0]);
    parents[0].everyone().server_side_emit("who", 7).unwrap();
    assert_eq!(next(&mut heard).await, 7);
    let answers = parents[0].everyone().server_side_emit_with_ack("who", 8).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.as_args().get(0).unwrap()).collect::<Vec<String>>(), ["the other"]);
}

#[tokio::test]
async fn servers_emit_to_each_other_and_collect_the_answers() {
    let bus = Bus::default();
    let servers = [bus.server(), bus.server(), bus.server()];
    let (sender, mut heard) = mpsc::unbounded_channel();
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(server.of("/jobs").server().of("/jobs").name(), "/jobs");
        let sender = sender.clone();
        server.of("/jobs").on_server_event("add", move |args: ArgsBuf| {
            let (one, other) = args.as_args().all::<(usize, usize)>().unwrap();
            sender.send(number).unwrap();
            ready(Reply::of(number + one + other))
        });
    }
    let jobs = servers[0].of("/jobs");
    let answers = jobs.everyone().server_side_emit_with_ack("add", (10, 20)).await.unwrap();
    let mut sums: Vec<usize> = answers.iter().map(|answer| answer.as_args().get(0).unwrap()).collect();
    sums.sort();
    assert_eq!(sums, [31, 32], "each of the others answers, and the server itself does not");
    jobs.everyone().server_side_emit("add", (1, 2)).unwrap();
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(next(&mut heard).await);
    }
    all.sort();
    assert_eq!(all, [1, 1, 2, 2]);
    let nobody = jobs.everyone().server_side_emit_with_ack("unheard of", ()).await.unwrap();
    assert!(nobody.is_empty(), "{nobody:?}");
}
