//! A broker in the same process, which tests can cut off, slow down and look into.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sockeye_cluster::{
    Bus,
    format::{Format, Publication, Received, Subscription},
    transport::{Link, Transport, TransportError, TransportFuture},
};
use tokio::sync::{Notify, mpsc};

/// A broker. Its clones are the same broker.
#[derive(Clone, Default)]
pub(crate) struct Broker(Arc<State>);

#[derive(Default)]
struct State {
    subscribers: Mutex<HashMap<usize, Subscriber>>,
    next: AtomicUsize,
    is_down: AtomicBool,
    panics: AtomicBool,
    changed: Notify,
}

struct Subscriber {
    subscriptions: Vec<Subscription>,
    messages: mpsc::UnboundedSender<(String, Vec<u8>)>,
}

/// One server's connection to the broker.
struct Connection(Broker);

impl Broker {
    /// A bus over this broker.
    pub(crate) fn bus(&self, name: &str, format: impl Format) -> Bus {
        Bus::new(name, format, Connection(self.clone()))
    }

    /// Publishes bytes as any process could.
    pub(crate) fn publish(&self, channel: &str, payload: &[u8]) {
        for subscriber in self.0.subscribers.lock().unwrap().values() {
            for _ in subscriber.subscriptions.iter().filter(|subscription| hears(subscription, channel)) {
                let _gone = subscriber.messages.send((channel.into(), payload.into()));
            }
        }
    }

    /// Listens to a channel as a process of another kind.
    pub(crate) fn listen(&self, channel: &str) -> mpsc::UnboundedReceiver<(String, Vec<u8>)> {
        let (messages, heard) = mpsc::unbounded_channel();
        let subscriptions = vec![Subscription::Channel(channel.into())];
        let id = self.0.next.fetch_add(1, Ordering::SeqCst);
        self.0.subscribers.lock().unwrap().insert(id, Subscriber { subscriptions, messages });
        heard
    }

    /// Makes every new connection panic, until `false`.
    pub(crate) fn set_panics(&self, panics: bool) {
        self.0.panics.store(panics, Ordering::SeqCst);
    }

    /// Ends all connections and refuses new ones, until `false`.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
        if is_down {
            self.0.subscribers.lock().unwrap().clear();
        }
        self.0.changed.notify_waiters();
    }

    /// Waits until this many servers hear a subscription's channel.
    pub(crate) async fn until_heard(&self, subscription: Option<Subscription>, servers: usize) {
        let Some(Subscription::Channel(channel)) = subscription else { panic!("{subscription:?}") };
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if self.listeners(&channel) == servers {
                return;
            }
            changed.await;
        }
    }

    fn listeners(&self, channel: &str) -> usize {
        let hears = |subscriber: &&Subscriber| subscriber.subscriptions.iter().any(|one| hears(one, channel));
        self.0.subscribers.lock().unwrap().values().filter(hears).count()
    }
}

fn hears(subscription: &Subscription, channel: &str) -> bool {
    match subscription {
        Subscription::Channel(name) => name == channel,
        Subscription::Pattern(pattern) => channel.starts_with(pattern.trim_end_matches('*')),
        Subscription::Stream(_) => false,
    }
}

/// Ends a connection when it is dropped.
struct Leaves<'a> {
    broker: &'a Broker,
    id: usize,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.broker.0.subscribers.lock().unwrap().remove(&self.id);
        self.broker.0.changed.notify_waiters();
    }
}

impl Transport for Connection {
    fn run(&self, link: Arc<Link>) -> TransportFuture<()> {
        let broker = self.0.clone();
        Box::pin(async move {
            assert!(!broker.0.panics.load(Ordering::SeqCst), "the connection panics");
            if broker.0.is_down.load(Ordering::SeqCst) {
                return Err(TransportError::Refused { address: "broker".into(), reason: "it is down".into() });
            }
            let id = broker.0.next.fetch_add(1, Ordering::SeqCst);
            let (sender, mut messages) = mpsc::unbounded_channel();
            let subscriptions = link.subscriptions.all();
            broker.0.subscribers.lock().unwrap().insert(id, Subscriber { subscriptions, messages: sender });
            broker.0.changed.notify_waiters();
            let _leaves = Leaves { broker: &broker, id };
            link.up.send_replace(true);
            loop {
                tokio::select! {
                    changes = link.subscriptions.changes() => {
                        let mut subscribers = broker.0.subscribers.lock().unwrap();
                        let Some(subscriber) = subscribers.get_mut(&id) else { return Ok(()) };
                        for change in changes {
                            subscriber.subscriptions.retain(|one| *one != change.subscription);
                            if change.wanted {
                                subscriber.subscriptions.push(change.subscription);
                            }
                        }
                        drop(subscribers);
                        broker.0.changed.notify_waiters();
                    }
                    message = messages.recv() => {
                        let Some((channel, payload)) = message else { return Ok(()) };
                        (link.deliver)(&Received::Published { channel: &channel, payload: &payload });
                    }
                    taken = link.outbox.take(16) => {
                        for one in &taken {
                            if let Publication::Publish { channel, payload } = one.publication() {
                                broker.publish(channel, payload);
                            }
                        }
                        link.outbox.sent(taken);
                    }
                }
            }
        })
    }

    fn listeners(&self, channel: &str) -> TransportFuture<Option<usize>> {
        let count = self.0.listeners(channel);
        Box::pin(async move { Ok(Some(count)) })
    }
}
