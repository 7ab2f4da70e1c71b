use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;
use sockeye_handler::{Queued, QueuedEvent};
use sockeye_protocol::socketio::{
    ArgsBuf,
    membership::{ClientMembership, Event, Join},
};
use tokio::sync::oneshot;

use super::{handlers::Handlers, retry::RetryQueue};
use crate::{
    ConnectError, DisconnectReason, EngineVersion,
    connection::queue::Queue,
    error::AckErrorKind,
    settings::{auth::Auth, builder::Config, reconnection::Backoff},
};

/// What came back for an event that asked for an acknowledgement.
pub(crate) type AckOutcome = Result<ArgsBuf, AckErrorKind>;

/// What a socket's handles and its manager's task share without a lock.
pub(crate) struct SocketShared {
    pub(crate) namespace: Box<str>,
    /// The socket's place in its manager.
    pub(crate) index: usize,
    /// A random text that tells this socket's events from those of other sockets, for servers that drop repetitions.
    pub(crate) tag: Box<str>,
    next_ack: AtomicU64,
    pub(crate) handlers: RwLock<Handlers>,
}

/// One socket: its membership in the namespace, and what it has to send.
pub(crate) struct SocketState {
    pub(crate) shared: Arc<SocketShared>,
    pub(crate) membership: ClientMembership<QueuedEvent, DisconnectReason, ConnectError>,
    /// The delays between attempts to join.
    pub(crate) backoff: Backoff,
    pub(crate) auth: Option<Auth>,
    /// The attempt for which the task is to make the authentication data.
    pub(crate) authenticate: Option<u64>,
    /// The events that wait for the socket to be connected.
    pub(crate) buffer: Queue,
    pub(crate) retry: RetryQueue,
    pub(crate) acks: HashMap<u64, oneshot::Sender<AckOutcome>>,
    /// The acknowledgements that timed out while their events may not have been written.
    pub(crate) withdrawn: HashSet<u64>,
    /// The tasks that wait until the socket is connected.
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), ConnectError>>>,
    /// What the task is to hand to the handlers.
    pub(crate) incoming: VecDeque<Queued<LifecycleEvent>>,
}

/// What happened to a socket's membership.
#[derive(Debug)]
pub(crate) enum LifecycleEvent {
    Connected,
    Disconnected(DisconnectReason),
    ConnectFailed(ConnectError),
}

impl SocketShared {
    pub(crate) fn new(namespace: String, index: usize, tag: String) -> Self {
        Self {
            namespace: namespace.into(),
            index,
            tag: tag.into(),
            next_ack: AtomicU64::new(0),
            handlers: RwLock::default(),
        }
    }

    /// The id of the next event that asks for an acknowledgement.
    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack.fetch_add(1, Ordering::Relaxed)
    }
}

impl SocketState {
    pub(crate) fn new(shared: Arc<SocketShared>, config: &Config) -> Self {
        let unasked = config.engine_version == EngineVersion::V3 && *shared.namespace == *"/";
        let join = if unasked { Join::Unasked } else { Join::OnRequest };
        Self {
            shared,
            membership: ClientMembership::new(join, config.timeout),
            backoff: Backoff::default(),
            auth: config.auth.clone(),
            authenticate: None,
            buffer: Queue::default(),
            retry: RetryQueue::default(),
            acks: HashMap::new(),
            withdrawn: HashSet::new(),
            waiters: Vec::new(),
            incoming: VecDeque::new(),
        }
    }

    /// Whether the socket was disconnected or given up, so that nothing is buffered for it.
    pub(crate) fn has_ended(&self) -> bool {
        self.membership.end().is_some()
    }

    /// How many events wait to be sent or, with [`Retries`](crate::Retries), to be acknowledged.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len() + self.retry.len()
    }

    /// Acts on what happened to the membership. Returns whether the socket is connected now, so that the buffered
    /// events can be sent.
    pub(crate) fn take_events(&mut self) -> bool {
        let mut connected = false;
        while let Some(event) = self.membership.poll() {
            match event {
                Event::Authenticate(attempt) => self.authenticate = Some(attempt),
                Event::Connected(early) => {
                    connected = true;
                    self.backoff = Backoff::default();
                    self.tell_waiters(&Ok(()));
                    self.tell_handlers(LifecycleEvent::Connected);
                    self.incoming.extend(early.into_iter().map(Queued::Event));
                }
                Event::Disconnected(reason) => {
                    self.retry.disconnected();
                    self.reject_sent_acks();
                    self.tell_handlers(LifecycleEvent::Disconnected(reason));
                }
                Event::ConnectFailed(error) => self.tell_handlers(LifecycleEvent::ConnectFailed(error)),
                Event::Left(error) => {
                    self.tell_waiters(&Err(error));
                    self.reject_all_acks();
                }
                Event::GivenUp(error) => self.tell_waiters(&Err(error)),
            }
        }
        connected
    }

    pub(crate) fn resolve_ack(&mut self, id: u64, outcome: AckOutcome) {
        if let Some(sender) = self.acks.remove(&id) {
            resolve(sender, outcome);
        }
    }

    /// An acknowledgement has timed out: its event is not sent any more, unless it is on its way. `unwritten` says
    /// whether events of this connection may not be written yet.
    pub(crate) fn withdraw(&mut self, ack: u64, unwritten: bool) {
        if self.buffer.remove(|other| other == ack) {
            return;
        }
        if unwritten {
            self.withdrawn.insert(ack);
        } else {
            self.withdrawn = HashSet::new();
        }
    }

    /// Fails the acknowledgements of all events, and forgets the events: whoever is told that an event has failed may
    /// emit it again.
    fn reject_all_acks(&mut self) {
        self.buffer.remove(|ack| self.acks.contains_key(&ack));
        self.retry.forget(|ack| self.acks.contains_key(&ack));
        self.reject_sent_acks();
    }

    /// Fails the acknowledgements of the events that do not wait to be sent again.
    fn reject_sent_acks(&mut self) {
        if self.acks.is_empty() {
            return;
        }
        let kept: HashSet<u64> = self.buffer.acks().chain(self.retry.acks()).collect();
        for (_, sender) in self.acks.extract_if(|id, _| !kept.contains(id)) {
            resolve(sender, Err(AckErrorKind::Disconnected));
        }
    }

    /// Tells the waiter once the socket is connected or given up. One that was never to be connected is not told.
    pub(crate) fn tell_when_connected(&mut self, waiter: oneshot::Sender<Result<(), ConnectError>>) {
        if self.membership.is_connected() {
            let _gone = waiter.send(Ok(()));
        } else if let Some(error) = self.membership.end() {
            let _gone = waiter.send(Err(error.clone()));
        } else if self.membership.is_active() {
            self.waiters.push(waiter);
        }
    }

    fn tell_handlers(&mut self, event: LifecycleEvent) {
        self.incoming.push_back(Queued::Other(event));
    }

    fn tell_waiters(&mut self, outcome: &Result<(), ConnectError>) {
        for waiter in self.waiters.drain(..) {
            // The waiting task may have been dropped.
            let _gone = waiter.send(outcome.clone());
        }
    }
}

fn resolve(sender: oneshot::Sender<AckOutcome>, outcome: AckOutcome) {
    // The future may have been dropped.
    let _gone = sender.send(outcome);
}
