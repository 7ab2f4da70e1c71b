//! One bus: a format over a transport, with what waits for it and what it has counted.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use sockeye::{log_throttled, with_causes};
use tokio::sync::watch;

use crate::{
    format::{EncodeError, Format, Subscription},
    message::{Message, ServerId},
    outbox::{Outbox, OutboxLimits},
    servers::Servers,
    subscriptions::Subscriptions,
    transport::{Deliver, Link, Transport},
};

/// A bus to be joined: what it is called, how its servers write, and how to reach them.
///
/// [`open`](Self::open) makes it from an address, [`new`](Self::new) from a format and a transport with their settings.
pub struct Bus {
    pub(crate) name: Arc<str>,
    pub(crate) format: Box<dyn Format>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) outbox: OutboxLimits,
    pub(crate) keep_alive: Duration,
    pub(crate) max_rooms: usize,
}

impl Bus {
    /// A bus of this name. Servers that are on several buses have to give each the same name.
    pub fn new(name: &str, format: impl Format, transport: impl Transport) -> Self {
        Self {
            name: name.into(),
            format: Box::new(format),
            transport: Arc::new(transport),
            outbox: OutboxLimits::default(),
            keep_alive: Duration::from_secs(5),
            max_rooms: 1_000,
        }
    }

    /// The name, for the log and for [`Cluster::status`](crate::Cluster::status).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// How much may wait while the broker is slow or down, and what is dropped beyond.
    #[must_use]
    pub fn outbox(mut self, limits: OutboxLimits) -> Self {
        self.outbox = limits;
        self
    }

    /// How long nothing may come from the broker before it is asked whether it still listens. Default 5 s.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Up to how many rooms and sockets of a namespace are subscribed singly, so that the messages for other rooms do not
    /// come here. Beyond, all are subscribed by one pattern if the format has one. Default 1,000.
    #[must_use]
    pub fn max_room_subscriptions(mut self, rooms: usize) -> Self {
        self.max_rooms = rooms;
        self
    }
}

/// The state of a bus.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BusStatus {
    /// Its name.
    pub name: String,
    /// Whether everything published leaves and everything subscribed arrives.
    pub up: bool,
    /// Why it is not up, since it was last tried.
    pub failure: Option<String>,
    /// How often it was joined, the first time included.
    pub joined: u64,
    /// Messages published, dropped ones included.
    pub published: u64,
    /// Messages dropped because too much waited.
    pub dropped: u64,
    /// Messages dropped because they had waited too long.
    pub expired: u64,
    /// Messages that could not be written in the bus's format.
    pub unencodable: u64,
    /// Messages carried out.
    pub received: u64,
    /// Messages of a type that this version does not know, or for nobody here.
    pub ignored: u64,
    /// Messages that are not of the bus's format.
    pub malformed: u64,
    /// Bytes that wait to be published or are on their way.
    pub waiting_bytes: usize,
    /// Other servers heard lately, in formats with heartbeats.
    pub servers: Option<usize>,
}

/// A bus that was joined.
pub(crate) struct JoinedBus {
    pub(crate) name: Arc<str>,
    pub(crate) format: Arc<dyn Format>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) link: Arc<Link>,
    pub(crate) counters: Counters,
    /// Why the last connection ended or was not made.
    pub(crate) failure: Mutex<Option<String>>,
    max_rooms: usize,
    namespaces: Mutex<HashMap<Arc<str>, OfNamespace>>,
}

/// What a bus keeps of a namespace.
#[derive(Default)]
struct OfNamespace {
    rooms: HashSet<Box<str>>,
    /// Whether all rooms are subscribed by one pattern.
    by_pattern: bool,
    servers: Arc<Servers>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) joined: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) unencodable: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) malformed: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl JoinedBus {
    /// For the server, or the emitter, of this name.
    pub(crate) fn new(mut bus: Bus, server: &ServerId, deliver: Deliver) -> Self {
        bus.format.set_server(server);
        let link = Link {
            outbox: Outbox::new(bus.outbox),
            subscriptions: Subscriptions::default(),
            up: watch::Sender::new(false),
            deliver,
            keep_alive: bus.keep_alive,
        };
        Self {
            name: bus.name,
            format: bus.format.into(),
            transport: bus.transport,
            link: Arc::new(link),
            counters: Counters::default(),
            failure: Mutex::default(),
            max_rooms: bus.max_rooms,
            namespaces: Mutex::default(),
        }
    }

    /// Publishes a message. It never waits.
    ///
    /// # Errors
    /// If the format cannot express it.
    pub(crate) fn publish(&self, message: &Message) -> Result<(), EncodeError> {
        for publication in self.format.encode(message)? {
            self.link.outbox.push(publication);
        }
        count(&self.counters.published);
        Ok(())
    }

    /// Publishes a message; if the format cannot express it, that is counted and logged.
    pub(crate) fn publish_or_log(&self, message: &Message) {
        if let Err(error) = self.publish(message) {
            self.log_unencodable(&error);
        }
    }

    /// Counts and logs that a message could not be written.
    pub(crate) fn log_unencodable(&self, error: &EncodeError) {
        count(&self.counters.unencodable);
        let error = with_causes(error);
        log_throttled!(warn, &*self.name, bus = &*self.name, error, "a message could not be written for a bus");
    }

    /// How many servers listen to a channel, if the broker tells. None if it cannot be asked, which is logged.
    pub(crate) async fn listeners(&self, channel: &str) -> Option<Option<usize>> {
        match self.transport.listeners(channel).await {
            Ok(listeners) => Some(listeners),
            Err(error) => {
                let error = with_causes(&error);
                log_throttled!(warn, &*self.name, bus = &*self.name, error, "cannot count the servers on a bus");
                None
            }
        }
    }

    /// Subscribes what a namespace needs.
    pub(crate) fn add_namespace(&self, namespace: &Arc<str>) {
        self.namespaces.lock().entry(namespace.clone()).or_default();
        for subscription in self.format.subscriptions(namespace) {
            self.link.subscriptions.set(subscription, true);
        }
    }

    /// Ends the subscriptions of a namespace.
    pub(crate) fn remove_namespace(&self, namespace: &str) {
        let mut namespaces = self.namespaces.lock();
        let Some(removed) = namespaces.remove(namespace) else { return };
        // Formats may have channels that several namespaces share.
        let shared: HashSet<_> = namespaces.keys().flat_map(|other| self.format.subscriptions(other)).collect();
        let rooms = removed.rooms.iter().filter_map(|room| self.format.room_subscription(namespace, room));
        let pattern = self.format.every_room_subscription(namespace).filter(|_| removed.by_pattern);
        for subscription in self.format.subscriptions(namespace).into_iter().chain(rooms).chain(pattern) {
            if !shared.contains(&subscription) {
                self.link.subscriptions.set(subscription, false);
            }
        }
    }

    /// Subscribes a room, or ends its subscription, as `is_here` says while no other change is made.
    pub(crate) fn room_changed(&self, namespace: &str, room: &str, is_here: impl FnOnce() -> bool) {
        let Some(subscription) = self.format.room_subscription(namespace, room) else { return };
        let mut namespaces = self.namespaces.lock();
        let Some(of_namespace) = namespaces.get_mut(namespace) else { return };
        let is_here = is_here();
        let changed = match is_here {
            true => of_namespace.rooms.insert(room.into()),
            false => of_namespace.rooms.remove(room),
        };
        if !changed {
            return;
        }
        let subscriptions = &self.link.subscriptions;
        match self.format.every_room_subscription(namespace) {
            Some(pattern) if of_namespace.by_pattern => {
                // Going back only at half the number avoids going to and fro.
                if of_namespace.rooms.len() <= self.max_rooms / 2 {
                    of_namespace.by_pattern = false;
                    self.each_room(namespace, of_namespace, |room| subscriptions.set(room, true));
                    subscriptions.set(pattern, false);
                }
            }
            Some(pattern) if of_namespace.rooms.len() > self.max_rooms => {
                of_namespace.by_pattern = true;
                subscriptions.set(pattern, true);
                self.each_room(namespace, of_namespace, |room| subscriptions.set(room, false));
            }
            _ => subscriptions.set(subscription, is_here),
        }
    }

    fn each_room(&self, namespace: &str, of_namespace: &OfNamespace, each: impl FnMut(Subscription)) {
        of_namespace.rooms.iter().filter_map(|room| self.format.room_subscription(namespace, room)).for_each(each);
    }

    /// The servers heard in a namespace that is here.
    pub(crate) fn servers(&self, namespace: &str) -> Option<Arc<Servers>> {
        self.namespaces.lock().get(namespace).map(|of_namespace| of_namespace.servers.clone())
    }

    pub(crate) fn namespaces(&self) -> Vec<Arc<str>> {
        self.namespaces.lock().keys().cloned().collect()
    }

    pub(crate) fn status(&self) -> BusStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (dropped, expired) = self.link.outbox.dropped();
        let now = std::time::Instant::now();
        let up = *self.link.up.borrow();
        let namespaces = self.namespaces.lock();
        let servers = namespaces.values().map(|of_namespace| of_namespace.servers.count(now)).max().unwrap_or(0);
        BusStatus {
            name: self.name.to_string(),
            up,
            failure: self.failure.lock().clone().filter(|_| !up),
            joined: read(&self.counters.joined),
            published: read(&self.counters.published),
            dropped,
            expired,
            unencodable: read(&self.counters.unencodable),
            received: read(&self.counters.received),
            ignored: read(&self.counters.ignored),
            malformed: read(&self.counters.malformed),
            waiting_bytes: self.link.outbox.waiting().1,
            servers: self.format.abilities().heartbeats.then_some(servers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::Python, transport::TransportFuture};

    struct Nowhere;

    impl Transport for Nowhere {
        fn run(&self, _: Arc<Link>) -> TransportFuture<()> {
            Box::pin(std::future::pending())
        }

        fn listeners(&self, _: &str) -> TransportFuture<Option<usize>> {
            Box::pin(std::future::ready(Ok(None)))
        }
    }

    #[test]
    fn a_channel_that_namespaces_share_is_subscribed_as_long_as_one_of_them_is_there() {
        let bus = Bus::new("b", Python::new(Default::default()), Nowhere);
        let bus = JoinedBus::new(bus, &"server".into(), Box::new(|_| None));
        ["/", "/chat"].into_iter().for_each(|namespace| bus.add_namespace(&namespace.into()));
        bus.remove_namespace("/");
        assert_eq!(bus.link.subscriptions.all(), [Subscription::Channel("socketio".into())]);
        bus.remove_namespace("/chat");
        assert_eq!(bus.link.subscriptions.all(), []);
    }
}
