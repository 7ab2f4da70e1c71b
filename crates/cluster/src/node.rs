//! This server among the others: what arrives by a bus is carried out here, what is done here is published.
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use hashbrown::HashMap;
use parking_lot::Mutex;
use sockeye::{
    ArgsBuf,
    adapter::{ClientAcks, Delivery, RemoteSocketData, Target},
    log_throttled, with_causes,
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};

use crate::{
    bus::{Bus, JoinedBus, count},
    format::{Acks, Decoded, Received, Subscription},
    message::{AckRequest, Answer, Body, Broadcast, Heartbeat, Message, Question, RequestId, ServerId, SocketCommand},
    rejoin::keep_joined,
    requests::{Answers, Requests},
    sender::{Arrived, Name, Sender},
    servers,
};

/// One server of the cluster: this one.
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) settings: Settings,
    pub(crate) runtime: Handle,
    pub(crate) buses: Vec<Arc<JoinedBus>>,
    namespaces: Mutex<HashMap<Arc<str>, Weak<Side>>>,
    requests: Arc<Requests>,
    request_number: AtomicU64,
    arrived: Arrived,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// How the servers of the cluster work together.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How long other servers have to answer.
    pub(crate) request_timeout: Duration,
    /// Whether this server passes messages on from bus to bus.
    pub(crate) bridges: bool,
}

/// One namespace of this server, as other servers reach it.
pub(crate) struct Side {
    pub(crate) namespace: Arc<str>,
    pub(crate) delivery: Delivery,
    server_events: mpsc::Sender<ServerEvent>,
}

/// An event of another server, for the handlers of this one.
struct ServerEvent {
    event: Arc<str>,
    args: ArgsBuf,
    asked: Option<Asked>,
}

/// Who has asked what, and by which bus.
#[derive(Clone)]
struct Asked {
    bus: Arc<JoinedBus>,
    namespace: Arc<str>,
    request: RequestId,
    by: Option<ServerId>,
    name: ServerId,
}

/// How long clients may take at most to acknowledge an event of another server, whatever that server says.
const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How many events of other servers may wait for the handlers of one namespace.
const MAX_SERVER_EVENTS: usize = 1_024;

impl Node {
    /// Joins the buses.
    pub(crate) fn start(name: Name, settings: Settings, runtime: Handle, buses: Vec<Bus>) -> Arc<Self> {
        let plain = name.plain().clone();
        let node = Arc::new_cyclic(|node: &Weak<Self>| Self {
            buses: buses.into_iter().enumerate().map(|(index, bus)| joined(node, &plain, index, bus)).collect(),
            name,
            settings,
            runtime,
            namespaces: Mutex::default(),
            requests: Arc::default(),
            request_number: AtomicU64::new(0),
            arrived: Arrived::default(),
            tasks: Mutex::default(),
        });
        let mut tasks = node.tasks.lock();
        for bus in &node.buses {
            tasks.push(node.runtime.spawn(keep_joined(bus.clone())));
            if bus.format.abilities().heartbeats {
                tasks.push(node.runtime.spawn(send_heartbeats(Arc::downgrade(&node), bus.clone())));
            }
        }
        drop(tasks);
        node
    }

    /// Leaves the buses at once.
    pub(crate) fn stop(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    /// Adds a namespace of this server.
    pub(crate) fn add_namespace(self: &Arc<Self>, delivery: Delivery) -> Arc<Side> {
        let (server_events, events) = mpsc::channel(MAX_SERVER_EVENTS);
        let namespace = Arc::from(delivery.local().namespace());
        self.runtime.spawn(run_server_events(delivery.clone(), events));
        let side = Arc::new(Side { namespace, delivery, server_events });
        self.namespaces.lock().insert(side.namespace.clone(), Arc::downgrade(&side));
        for bus in &self.buses {
            bus.add_namespace(&side.namespace);
            if bus.format.abilities().heartbeats {
                bus.publish_or_log(&self.message(&side.namespace, Body::Heartbeat(Heartbeat::Started)));
            }
        }
        side
    }

    /// Removes a namespace, unless another one of its name has taken its place.
    pub(crate) fn remove_namespace(&self, side: &Side) {
        let mut namespaces = self.namespaces.lock();
        if namespaces.get(&side.namespace).is_some_and(|other| std::ptr::eq(other.as_ptr(), side)) {
            namespaces.remove(&side.namespace);
            self.buses.iter().for_each(|bus| bus.remove_namespace(&side.namespace));
        }
    }

    /// A message of this server under its plain name.
    pub(crate) fn message(&self, namespace: &Arc<str>, body: Body) -> Message {
        Message { sender: Some(self.name.plain().clone()), namespace: namespace.clone(), body }
    }

    /// Publishes on every bus what others carry out and nobody answers.
    pub(crate) fn publish(&self, namespace: &Arc<str>, body: Body) {
        let sender = if self.buses.len() > 1 { self.name.numbered() } else { self.name.plain().clone() };
        let message = Message { sender: Some(sender), namespace: namespace.clone(), body };
        self.buses.iter().for_each(|bus| publish_on(bus, &message));
    }

    /// Asks the other servers on every bus whose servers can answer.
    pub(crate) fn ask(self: &Arc<Self>, namespace: &Arc<str>, question: Question) -> Answers {
        let can_answer = |bus: &JoinedBus| match question {
            Question::ServerEvent { .. } => bus.format.abilities().server_events,
            _ => bus.format.abilities().questions,
        };
        self.begin_request(namespace, can_answer, |id| Body::Request { id, question: question.clone() })
    }

    /// Emits to the clients of other servers and asks them for acknowledgements.
    pub(crate) fn ask_clients(
        self: &Arc<Self>,
        namespace: &Arc<str>,
        broadcast: Broadcast,
        timeout: Duration,
    ) -> Answers {
        let timeout_ms = u64::try_from(timeout.as_millis()).ok();
        self.begin_request(
            namespace,
            |bus| matches!(bus.format.abilities().acks, Acks::Counted | Acks::Mixed),
            |id| Body::Broadcast(Broadcast { acks: Some(AckRequest { id, timeout_ms }), ..broadcast.clone() }),
        )
    }

    /// Publishes a request at once, so that it keeps its place among other messages, and counts meanwhile who will answer.
    fn begin_request(
        self: &Arc<Self>,
        namespace: &Arc<str>,
        can_answer: impl Fn(&JoinedBus) -> bool,
        body: impl Fn(RequestId) -> Body,
    ) -> Answers {
        let number = self.request_number.fetch_add(1, Ordering::Relaxed);
        let id: RequestId = format!("{}-{number}", self.name.plain().get(..12).unwrap_or_default()).into();
        let answers = self.requests.begin(id.clone(), self.buses.len());
        let message = self.message(namespace, body(id.clone()));
        for (index, bus) in self.buses.iter().enumerate() {
            if !can_answer(bus) {
                self.requests.expect(&id, index, 0);
                // Those that cannot answer can at least carry it out.
                if matches!(message.body, Body::Broadcast(_)) {
                    bus.publish_or_log(&message);
                }
                continue;
            }
            match bus.publish(&message) {
                Ok(()) => match (&message.body, bus.format.abilities().acks) {
                    (Body::Broadcast(_), Acks::Mixed) => self.look_for_others(index, &id, namespace),
                    _ => self.count_servers(index, &id, namespace),
                },
                Err(error) => {
                    bus.log_unencodable(&error);
                    self.requests.expect(&id, index, 0);
                }
            }
        }
        answers
    }

    /// Counts the servers that will answer a request by a bus.
    fn count_servers(self: &Arc<Self>, index: usize, id: &RequestId, namespace: &Arc<str>) {
        let Some(bus) = self.buses.get(index) else { return };
        let Some(channel) = bus.format.request_channel(namespace) else {
            let servers = bus.servers(namespace).map_or(0, |servers| servers.count(Instant::now()));
            return self.requests.expect(id, index, servers);
        };
        let (requests, id, bus) = (self.requests.clone(), id.clone(), bus.clone());
        self.runtime.spawn(async move {
            match bus.listeners(&channel).await {
                // This server listens, too.
                Some(Some(listeners)) => requests.expect(&id, index, listeners.saturating_sub(1)),
                Some(None) => requests.expect(&id, index, 0),
                // The request ends at its timeout.
                None => {}
            }
        });
    }

    /// Counts the servers that send heartbeats, and keeps a request open if others listen, too, or may do so.
    fn look_for_others(self: &Arc<Self>, index: usize, id: &RequestId, namespace: &Arc<str>) {
        let Some(bus) = self.buses.get(index) else { return };
        let servers = bus.servers(namespace).map_or(0, |servers| servers.count(Instant::now()));
        let channel = bus.format.subscriptions(namespace).into_iter().find_map(Subscription::into_channel);
        let (requests, id, bus) = (self.requests.clone(), id.clone(), bus.clone());
        self.runtime.spawn(async move {
            let listeners = match channel {
                Some(channel) => bus.listeners(&channel).await.flatten(),
                None => None,
            };
            // This server listens, too.
            if listeners.is_none_or(|listeners| listeners > servers + 1) {
                requests.keep_open(&id, index);
            }
            requests.expect(&id, index, servers);
        });
    }

    /// Reads what has arrived by a bus and carries it out. Returns the number of an attachment that is to be fetched.
    fn received(self: &Arc<Self>, index: usize, received: &Received<'_>) -> Option<u64> {
        let bus = self.buses.get(index)?;
        match bus.format.decode(received) {
            Ok(Decoded::Message(message)) => self.carry_out(index, bus, message),
            Ok(Decoded::Attachment(number)) => return Some(number),
            Ok(Decoded::Ignored(reason)) => {
                count(&bus.counters.ignored);
                tracing::debug!(bus = &*bus.name, reason, "ignored a message on a bus");
            }
            Err(error) => {
                count(&bus.counters.malformed);
                log_throttled!(
                    warn,
                    &*bus.name,
                    bus = &*bus.name,
                    error = with_causes(&error),
                    "a message on a bus was not understood and ignored"
                );
            }
        }
        None
    }

    fn carry_out(self: &Arc<Self>, index: usize, bus: &Arc<JoinedBus>, message: Message) {
        let sender = message.sender.clone();
        let sender = sender.as_deref().map(Sender::parse);
        if let Some(sender) = &sender {
            let is_known = sender.passed_on_from.is_some_and(|name| self.buses.iter().any(|bus| *bus.name == *name));
            if *sender.name == **self.name.plain() || is_known || !self.arrived.is_new(sender) {
                return;
            }
        }
        let from = sender.map(|sender| sender.name);
        let heartbeat = match &message.body {
            Body::Heartbeat(heartbeat) => Some(*heartbeat),
            _ => None,
        };
        if let (Some(from), Some(servers)) = (from, bus.servers(&message.namespace))
            && bus.format.abilities().heartbeats
        {
            servers.heard(from, heartbeat, Instant::now());
        }
        let side = self.namespaces.lock().get(&message.namespace).and_then(Weak::upgrade);
        if let Body::Answer { request, to, answer } = message.body {
            let is_for_us = to.is_none_or(|to| *to == **self.name.plain());
            if !is_for_us || !self.requests.answer(&request, index, from, answer) {
                count(&bus.counters.ignored);
            } else {
                count(&bus.counters.received);
            }
            return;
        }
        if self.settings.bridges {
            self.pass_on(index, bus, &message, sender);
        }
        let Some(side) = side else { return count(&bus.counters.ignored) };
        count(&bus.counters.received);
        let asked = |request: RequestId| Asked {
            bus: bus.clone(),
            namespace: message.namespace.clone(),
            request,
            by: from.map(Arc::from),
            name: self.name.plain().clone(),
        };
        let delivery = &side.delivery;
        // A server on the same buses asks by each of them, and counts an answer by each.
        let is_new_request = |id: &str| self.buses.len() < 2 || self.arrived.is_new_request(from, id);
        match message.body {
            Body::Broadcast(Broadcast { event, args, target, acks: None }) => {
                log_emit(bus, delivery.broadcast(&event, &args, &target));
            }
            Body::Broadcast(Broadcast { acks: Some(acks), .. }) if !is_new_request(&acks.id) => {
                asked(acks.id).answer(Answer::AckCount(0));
            }
            Body::Broadcast(Broadcast { event, args, target, acks: Some(acks) }) => {
                let timeout = acks.timeout_ms.map_or(self.settings.request_timeout, Duration::from_millis);
                let timeout = timeout.min(MAX_ACK_TIMEOUT);
                match delivery.broadcast_with_ack(&event, &args, &target, timeout) {
                    Ok(clients) => self.send_acks(asked(acks.id), clients),
                    Err(error) => {
                        log_emit(bus, Err(error));
                        asked(acks.id).answer(Answer::AckCount(0));
                    }
                }
            }
            Body::Join { target, rooms } => delivery.join(&target, &rooms),
            Body::Leave { target, rooms } => delivery.local().leave_all(&target, &rooms),
            Body::Disconnect { target, close: false } => delivery.local().disconnect_all(&target),
            Body::Disconnect { target, close: true } => delivery.local().close_all(&target),
            Body::ServerEvent { event, args } => self.run(bus, &side, ServerEvent { event, args, asked: None }),
            Body::Request { id, question: Question::ServerEvent { .. } } if !is_new_request(&id) => {
                asked(id).answer(Answer::ServerEvent(ArgsBuf::default()));
            }
            Body::Request { id, question } => self.answer(bus, &side, asked(id), question),
            Body::Heartbeat(Heartbeat::Started) => {
                bus.publish_or_log(&self.message(&message.namespace, Body::Heartbeat(Heartbeat::Alive)));
            }
            Body::Heartbeat(_) | Body::Answer { .. } => {}
        }
    }

    /// Publishes on the other buses what came by one, unless its sender is on them, too.
    fn pass_on(&self, index: usize, bus: &JoinedBus, message: &Message, sender: Option<Sender<'_>>) {
        let is_carried_out = match &message.body {
            Body::Broadcast(broadcast) => broadcast.acks.is_none(),
            Body::Join { .. } | Body::Leave { .. } | Body::Disconnect { .. } | Body::ServerEvent { .. } => true,
            _ => false,
        };
        // Servers that number their messages are on several buses themselves.
        if !is_carried_out || sender.is_some_and(|sender| sender.number.is_some()) {
            return;
        }
        let message = Message { sender: Some(self.name.passing_on_from(&bus.name)), ..message.clone() };
        let others = self.buses.iter().enumerate().filter(|(other, _)| *other != index);
        others.for_each(|(_, bus)| publish_on(bus, &message));
    }

    fn answer(&self, bus: &JoinedBus, side: &Side, asked: Asked, question: Question) {
        let local = side.delivery.local();
        let answer = match question {
            Question::Sockets { target } => {
                let sockets = local.sockets(&target);
                let connected = sockets.iter().filter(|socket| socket.is_connected());
                Answer::Sockets(connected.map(RemoteSocketData::of).collect())
            }
            Question::SocketIds { rooms } => {
                let target = Target { rooms, ..Default::default() };
                Answer::SocketIds(local.sockets(&target).iter().map(|socket| socket.id().to_string()).collect())
            }
            Question::Rooms => Answer::Rooms(local.rooms().iter().map(|room| room.to_string()).collect()),
            Question::Count { target } => Answer::Count(u64::try_from(local.count(&target)).unwrap_or(u64::MAX)),
            Question::ServerEvent { event, args } => {
                return self.run(bus, side, ServerEvent { event, args, asked: Some(asked) });
            }
            Question::OfSocket { socket, command } => {
                let Some(socket) = local.socket(&socket) else { return };
                match command {
                    SocketCommand::Join(room) => {
                        if let Err(error) = socket.join(&*room) {
                            let error = with_causes(&error);
                            return log_throttled!(warn, &*bus.name, bus = &*bus.name, error, "a socket cannot join");
                        }
                    }
                    SocketCommand::Leave(room) => socket.leave(&*room),
                    SocketCommand::Disconnect { close: false } => socket.disconnect(),
                    SocketCommand::Disconnect { close: true } => socket.close(),
                }
                Answer::Done
            }
        };
        asked.answer(answer);
    }

    /// Hands an event of a server to the task that runs the handlers.
    fn run(&self, bus: &JoinedBus, side: &Side, event: ServerEvent) {
        if let Err(TrySendError::Full(_)) = side.server_events.try_send(event) {
            count(&bus.counters.ignored);
            log_throttled!(
                warn,
                &*bus.name,
                bus = &*bus.name,
                limit = MAX_SERVER_EVENTS,
                "too many events of servers wait for their handlers; some were ignored"
            );
        }
    }

    /// Answers with the number of clients asked, and then with their acknowledgements.
    fn send_acks(&self, asked: Asked, clients: ClientAcks) {
        asked.answer(Answer::AckCount(u64::try_from(clients.count).unwrap_or(u64::MAX)));
        let mut answers = clients.answers;
        self.runtime.spawn(async move {
            while let Some(ack) = answers.next().await {
                asked.answer(Answer::Ack(ack));
            }
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Asked {
    fn answer(&self, answer: Answer) {
        let body = Body::Answer { request: self.request.clone(), to: self.by.clone(), answer };
        let (sender, namespace) = (Some(self.name.clone()), self.namespace.clone());
        self.bus.publish_or_log(&Message { sender, namespace, body });
    }
}

/// Publishes on a bus what its servers carry out and nobody answers, unless they have no such thing.
fn publish_on(bus: &JoinedBus, message: &Message) {
    if !matches!(message.body, Body::ServerEvent { .. }) || bus.format.abilities().server_events {
        bus.publish_or_log(message);
    }
}

fn log_emit(bus: &JoinedBus, result: Result<(), sockeye::EmitError>) {
    if let Err(error) = result {
        log_throttled!(
            warn,
            &*bus.name,
            bus = &*bus.name,
            error = with_causes(&error),
            "an event of another server cannot be emitted"
        );
    }
}

/// Runs the handlers for events of other servers, one after the other, until the namespace is gone.
async fn run_server_events(delivery: Delivery, mut events: mpsc::Receiver<ServerEvent>) {
    while let Some(ServerEvent { event, args, asked }) = events.recv().await {
        let answer = delivery.server_event(&event, &args).await;
        if let Some(asked) = asked {
            asked.answer(Answer::ServerEvent(answer.unwrap_or_default()));
        }
    }
}

/// Says in every namespace of a bus that this server lives.
async fn send_heartbeats(cluster: Weak<Node>, bus: Arc<JoinedBus>) {
    let mut interval = tokio::time::interval(servers::INTERVAL);
    loop {
        interval.tick().await;
        let Some(cluster) = cluster.upgrade() else { return };
        for namespace in bus.namespaces() {
            bus.publish_or_log(&cluster.message(&namespace, Body::Heartbeat(Heartbeat::Alive)));
        }
    }
}

fn joined(node: &Weak<Node>, name: &ServerId, index: usize, bus: Bus) -> Arc<JoinedBus> {
    let node = node.clone();
    let deliver = move |received: &Received<'_>| node.upgrade().and_then(|node| node.received(index, received));
    Arc::new(JoinedBus::new(bus, name, Box::new(deliver)))
}
