//! Listens to the sharded channels of a Redis Cluster: each on the master that serves its slot, wherever that moves.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use redis::{RedisError, Value};
use tokio::{sync::mpsc, time::Instant};

use super::{
    connection::{self, Connection},
    heard::{Heard, Loss},
    nodes::{self, Node, Slots, slot},
    shared::Shared,
    subscribe::BATCH,
    up::Up,
};
use crate::{
    format::Subscription,
    transport::{Link, TransportError},
};

/// How long a channel may be without a master that takes it. A replica takes the place of its master within it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before channels without a master are tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// How many commands to subscribe are on their way at a time, each for channels of one slot.
const AT_A_TIME: usize = 256;

/// The connections that listen, one for each master that serves a wanted channel.
pub(super) struct Shards<'a> {
    shared: &'a Shared,
    link: Arc<Link>,
    members: HashMap<Node, Member>,
    wanted: HashSet<String>,
    /// The channels that are subscribed, and where.
    placed: HashMap<String, Node>,
    slots: Slots,
    losses: mpsc::UnboundedReceiver<(u64, Loss)>,
    report: mpsc::UnboundedSender<(u64, Loss)>,
    last_number: u64,
}

/// A connection to a master.
struct Member {
    /// Tells its reports from those of an earlier connection to the same node.
    number: u64,
    connection: Connection,
    heard: Arc<Heard>,
}

impl<'a> Shards<'a> {
    /// Subscribes to everything that the bus wants.
    pub(super) async fn open(shared: &'a Shared, link: &Arc<Link>) -> Result<Self, TransportError> {
        let (report, losses) = mpsc::unbounded_channel();
        let mut shards = Self {
            shared,
            link: link.clone(),
            members: HashMap::new(),
            wanted: HashSet::new(),
            placed: HashMap::new(),
            slots: Slots::default(),
            losses,
            report,
            last_number: 0,
        };
        for subscription in link.subscriptions.all() {
            shards.want(subscription, true);
        }
        shards.learn_slots().await.map_err(|error| connection::error(&shared.address, error))?;
        let start = Instant::now();
        while let Err(error) = shards.place().await {
            if start.elapsed() > PATIENCE {
                return Err(shards.failed(error));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(shards)
    }

    /// Follows what the bus wants and where the cluster serves it, until a channel has been without a master for too long.
    pub(super) async fn follow(mut self, up: &Up<'_>) -> Result<(), TransportError> {
        let mut incomplete_since: Option<Instant> = None;
        let mut looked = Instant::now();
        loop {
            let placed = self.place().await;
            up.set_hearing(placed.is_ok());
            let mut pause = self.link.keep_alive.saturating_sub(looked.elapsed());
            match placed {
                Ok(()) => incomplete_since = None,
                Err(error) if incomplete_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE => {
                    return Err(self.failed(error));
                }
                Err(_) => pause = pause.min(PAUSE),
            }
            tokio::select! {
                changes = self.link.subscriptions.changes() => {
                    let removed = changes.into_iter().filter_map(|change| self.want(change.subscription, change.wanted));
                    let removed = removed.collect();
                    self.unsubscribe(removed).await;
                }
                Some((number, loss)) = self.losses.recv() => self.lose(number, loss),
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok((number, loss)) = self.losses.try_recv() {
                self.lose(number, loss);
            }
            if looked.elapsed() >= self.link.keep_alive {
                looked = Instant::now();
                self.ask_members().await;
                self.follow_slots().await;
            }
        }
    }

    /// Notes whether a subscription is wanted. Returns the channel that is to be unsubscribed now.
    fn want(&mut self, subscription: Subscription, wanted: bool) -> Option<(String, Node)> {
        match subscription {
            Subscription::Channel(channel) if wanted => {
                self.wanted.insert(channel);
            }
            Subscription::Channel(channel) => {
                self.wanted.remove(&channel);
                return self.placed.remove_entry(&channel);
            }
            Subscription::Stream(_) => self.shared.streams_changed.notify_one(),
            // There are no patterns of sharded channels.
            Subscription::Pattern(_) => {}
        }
        None
    }

    fn lose(&mut self, number: u64, loss: Loss) {
        let Some(node) = self.members.iter().find(|(_, member)| member.number == number).map(|(node, _)| node.clone())
        else {
            return;
        };
        match loss {
            Loss::Connection => self.remove(&node),
            Loss::Channel(channel) if self.placed.get(&channel) == Some(&node) => {
                self.placed.remove(&channel);
            }
            Loss::Channel(_) => {}
        }
    }

    fn remove(&mut self, node: &Node) {
        self.members.remove(node);
        self.placed.retain(|_, on| on != node);
    }

    /// Subscribes to what is wanted and is not subscribed yet. If the slots have moved, it learns where to.
    async fn place(&mut self) -> Result<(), RedisError> {
        let mut result = self.place_once().await;
        if result.is_err() {
            self.learn_slots().await?;
            result = self.place_once().await;
        }
        result
    }

    async fn place_once(&mut self) -> Result<(), RedisError> {
        let mut result = Ok(());
        let mut missing: HashMap<Node, HashMap<u16, Vec<String>>> = HashMap::new();
        for channel in self.wanted.iter().filter(|channel| !self.placed.contains_key(*channel)) {
            match self.slots.master(channel) {
                Some(node) => {
                    let of_node = missing.entry(node.clone()).or_default();
                    of_node.entry(slot(channel)).or_default().push(channel.clone());
                }
                None => result = Err((redis::ErrorKind::Client, "no node of the cluster serves a slot").into()),
            }
        }
        let nodes: HashSet<&Node> = missing.keys().collect();
        for (node, opened) in self.open_members(nodes).await {
            match opened {
                Ok(member) => drop(self.members.insert(node, member)),
                Err(error) => result = Err(error),
            }
        }
        let subscribing = missing.into_iter().filter_map(|(node, slots)| {
            let connection = self.members.get(&node)?.connection.clone();
            Some(async move { (node, send(&connection, "SSUBSCRIBE", slots).await) })
        });
        for (node, answers) in join_all(subscribing).await {
            for (channels, answer) in answers {
                match answer {
                    Ok(()) => self.placed.extend(channels.into_iter().map(|channel| (channel, node.clone()))),
                    Err(error) => {
                        if error.is_connection_dropped() || error.is_timeout() {
                            self.remove(&node);
                        }
                        result = Err(error);
                    }
                }
            }
        }
        result
    }

    /// Connects to those of the nodes to which there is no connection.
    async fn open_members(&mut self, nodes: HashSet<&Node>) -> Vec<(Node, Result<Member, RedisError>)> {
        let absent = nodes.into_iter().filter(|node| !self.members.contains_key(*node)).cloned().collect::<Vec<_>>();
        let mut opening = Vec::new();
        for node in absent {
            self.last_number += 1;
            let (number, report, link) = (self.last_number, self.report.clone(), self.link.clone());
            let Some(server) = self.shared.address.servers.first().map(|first| node.like(first)) else { continue };
            opening.push(async move {
                let (heard, timeout) = (Arc::<Heard>::default(), link.keep_alive);
                let hearing = heard.clone();
                let on_push = Arc::new(move |info| {
                    if let Some(loss) = hearing.take(info, &link) {
                        // Nobody takes it when the transport has ended.
                        let _ended = report.send((number, loss));
                    }
                });
                let opened = Connection::open_one(&server, Some(on_push), timeout).await;
                (node, opened.map(|connection| Member { number, connection, heard }))
            });
        }
        join_all(opening).await
    }

    /// Ends subscriptions.
    async fn unsubscribe(&self, channels: Vec<(String, Node)>) {
        let mut by_node: HashMap<Node, HashMap<u16, Vec<String>>> = HashMap::new();
        for (channel, node) in channels {
            by_node.entry(node).or_default().entry(slot(&channel)).or_default().push(channel);
        }
        let ending = by_node.into_iter().filter_map(|(node, slots)| {
            let connection = self.members.get(&node)?.connection.clone();
            // If a slot is not there any more, neither are the subscriptions.
            Some(async move { drop(send(&connection, "SUNSUBSCRIBE", slots).await) })
        });
        join_all(ending).await;
    }

    /// Asks the connections that have been silent whether they still listen, and forgets those that do not.
    async fn ask_members(&mut self) {
        let keep_alive = self.link.keep_alive;
        let quiet = self.members.iter().filter(|(_, member)| member.heard.is_quiet(keep_alive));
        let asking = quiet.map(|(node, member)| {
            let (node, mut connection) = (node.clone(), member.connection.clone());
            async move { (node, connection.ask::<Value>(&redis::cmd("PING")).await.is_ok()) }
        });
        for (node, answers) in join_all(asking).await {
            if !answers {
                self.remove(&node);
            } else if let Some(member) = self.members.get(&node) {
                member.heard.touch();
            }
        }
    }

    /// Learns which slots have moved, and gives up the subscriptions that are where their slots were.
    async fn follow_slots(&mut self) {
        // If nobody tells, what is subscribed stays, and the next round asks again.
        if self.learn_slots().await.is_err() {
            return;
        }
        let has_moved = |(channel, node): (&String, &Node)| {
            let moved = self.slots.master(channel).is_some_and(|master| master != node);
            moved.then(|| (channel.clone(), node.clone()))
        };
        let moved: Vec<_> = self.placed.iter().filter_map(has_moved).collect();
        for (channel, _) in &moved {
            self.placed.remove(channel);
        }
        self.unsubscribe(moved).await;
        let masters: HashSet<&Node> = self.slots.masters().collect();
        self.members.retain(|node, _| masters.contains(node));
        self.placed.retain(|_, node| self.members.contains_key(node));
    }

    async fn learn_slots(&mut self) -> Result<(), RedisError> {
        let known = self.members.iter().map(|(node, member)| (node.clone(), member.connection.clone())).collect();
        self.slots = nodes::learn(known, &self.shared.address, self.link.keep_alive).await?;
        Ok(())
    }

    fn failed(&self, error: RedisError) -> TransportError {
        connection::error(&self.shared.address, error)
    }
}

/// Sends a command for channels. Those that go together have to be of one slot.
async fn send(
    connection: &Connection,
    command: &'static str,
    slots: HashMap<u16, Vec<String>>,
) -> Vec<(Vec<String>, Result<(), RedisError>)> {
    let together =
        slots.into_values().flat_map(|channels| channels.chunks(BATCH).map(<[String]>::to_vec).collect::<Vec<_>>());
    let sending = stream::iter(together).map(|channels| {
        let mut connection = connection.clone();
        async move {
            let answer = connection.ask::<()>(redis::cmd(command).arg(&channels)).await;
            (channels, answer)
        }
    });
    sending.buffer_unordered(AT_A_TIME).collect().await
}
