use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use sockeye_engine::{Batch, log_limit};
use sockeye_protocol::socketio::{Args, Arguments};

use crate::{
    Adapter, Config, EmitError, LimitError, Socket,
    adapter::recovery::Recovery,
    adapter::{Delivery, EncodedPacket, Local, ServerEvents, Target},
    handler::table::Handlers,
    handles::common::Common,
    handles::jobs::Jobs,
    handles::outgoing,
    handles::pending_acks::Answers,
    handles::registry::{Registry, WeakRegistry},
    metrics::Counters,
    wire::packet::{WithoutOffset, check_name},
};

/// A namespace: its handlers, and the sockets that have joined it. Cheap to clone, and usable from any task or thread.
///
/// Its emits and commands reach all its sockets, like those of an [`Operator`](crate::Operator) without any selection.
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    common: Arc<Common>,
    registry: WeakRegistry,
    local: Arc<Local>,
    adapter: Arc<dyn Adapter>,
    /// Adding a handler replaces the whole table, so that events never wait for a lock.
    handlers: ArcSwap<Handlers>,
    observers: ArcSwap<Vec<Observer>>,
    is_observed: AtomicBool,
    server_events: Arc<ServerEvents>,
    jobs: Jobs,
    recovery: Option<Recovery>,
    /// Whether its parent namespace created it for a client.
    is_made_for_client: bool,
    /// The number under which the registry noted that the namespace is empty, or 0. The registry's lock protects it.
    emptied: AtomicU64,
}

pub(crate) type Observer = Arc<dyn Fn(&Socket, &str, Args<'_>) + Send + Sync>;

impl Namespace {
    /// Makes a namespace. The child of a parent namespace gets the handlers, observers and jobs of the parent.
    pub(crate) fn new(
        name: Arc<str>,
        registry: &Arc<Registry>,
        parent: Option<&Self>,
        is_made_for_client: bool,
    ) -> Self {
        let local = Arc::new(Local::new(name.clone()));
        let server_events = Arc::new(ServerEvents::default());
        let jobs = Jobs::default();
        let observers = parent.map(|parent| parent.0.observers.load_full()).unwrap_or_default();
        if let Some(Self(parent)) = parent {
            local.inherit(&parent.local);
            server_events.inherit(&parent.server_events);
            jobs.inherit(&parent.jobs);
        }
        let config = &registry.common.config;
        let recovery = config.recovery.clone().map(|recovery| {
            Recovery::new(recovery, config.engine.ping_interval.saturating_add(config.engine.ping_timeout))
        });
        Self(Arc::new_cyclic(|inner: &Weak<Inner>| Inner {
            adapter: registry.make_adapter(Delivery::new(
                local.clone(),
                server_events.clone(),
                Arc::new(WeakNamespace(inner.clone())),
            )),
            name,
            common: registry.common.clone(),
            registry: Arc::downgrade(registry),
            local,
            handlers: parent.map(|parent| ArcSwap::new(parent.0.handlers.load_full())).unwrap_or_default(),
            is_observed: AtomicBool::new(!observers.is_empty()),
            observers: ArcSwap::new(observers),
            server_events,
            jobs,
            recovery,
            is_made_for_client,
            emptied: AtomicU64::new(0),
        }))
    }

    /// The name, with its leading slash.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The sockets of the namespace on this server, and their rooms.
    pub fn local(&self) -> &Arc<Local> {
        &self.0.local
    }

    /// The adapter, which delivers broadcasts and commands to the sockets.
    pub fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.0.adapter
    }

    /// The socket with this id, if it is connected to this server.
    pub fn socket(&self, id: &str) -> Option<Socket> {
        self.0.local.socket(id)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.common.config
    }

    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.0.recovery.as_ref()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_made_for_client(&self) -> bool {
        self.0.is_made_for_client
    }

    /// Keeps the number under which the registry has noted that the namespace is empty.
    pub(crate) fn set_emptied(&self, number: u64) {
        self.0.emptied.store(number, Ordering::Relaxed);
    }

    /// Takes the number under which the registry has noted that the namespace is empty; 0 if it has not.
    pub(crate) fn take_emptied(&self) -> u64 {
        self.0.emptied.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn common(&self) -> &Arc<Common> {
        &self.0.common
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.common.counters
    }

    /// The id of the next event that asks for an acknowledgement.
    pub(crate) fn next_ack_id(&self) -> u64 {
        self.0.common.ack_ids.next()
    }

    /// The server's namespaces and state, unless the server has been dropped.
    pub(crate) fn registry(&self) -> Option<Arc<Registry>> {
        self.0.registry.upgrade()
    }

    /// A weak reference to the namespace.
    pub(crate) fn downgrade(&self) -> WeakNamespace {
        WeakNamespace(Arc::downgrade(&self.0))
    }

    /// The namespace that keeps the handlers: this one.
    pub(crate) fn template(&self) -> &Self {
        self
    }

    /// The handlers of events that other servers emit.
    pub(crate) fn server_events(&self) -> &ServerEvents {
        &self.0.server_events
    }

    /// Adds an observer of the events that are sent to sockets.
    pub(crate) fn add_observer(&self, observer: Observer) {
        self.0.observers.rcu(|observers| {
            let mut observers = Vec::clone(observers);
            observers.push(observer.clone());
            observers
        });
        self.0.is_observed.store(true, Ordering::Release);
    }

    /// Adds a job, and starts it if the namespace has sockets.
    pub(crate) fn add_job<F>(&self, interval: Duration, run: impl FnOnce(Self) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.jobs.add(interval, run);
        if !self.0.local.is_empty() {
            self.0.jobs.start(self);
        }
    }

    pub(crate) fn handlers(&self) -> arc_swap::Guard<Arc<Handlers>> {
        self.0.handlers.load()
    }

    /// If some handlers run once for this event: removes them from the table, and returns the table as it was before.
    /// Otherwise none.
    pub(crate) fn take_once(&self, table: &Handlers, event: &str) -> Option<Arc<Handlers>> {
        if !table.events.runs_once(event) {
            return None;
        }
        Some(self.0.handlers.rcu(|handlers| {
            let mut handlers = Handlers::clone(handlers);
            drop(handlers.events.take(event));
            handlers
        }))
    }

    /// Starts the jobs, because a socket was admitted.
    pub(crate) fn entered(&self) {
        self.0.jobs.start(self);
    }

    pub(crate) fn broadcast(&self, event: &str, args: &impl Arguments, target: &Target) -> Result<(), EmitError> {
        let keep = self.0.adapter.wants_arguments();
        self.publish(event, args, target, keep, |packet| self.0.adapter.broadcast(packet, target))
    }

    /// Encodes an event, numbers it for recovery, and passes it to `deliver`. With `keep`, the packet keeps its arguments
    /// even if nobody observes the namespace.
    pub(crate) fn publish(
        &self,
        event: &str,
        args: &impl Arguments,
        target: &Target,
        keep: bool,
        deliver: impl FnOnce(&EncodedPacket),
    ) -> Result<(), EmitError> {
        check_name(event)?;
        self.log_emit(event, target);
        let keep = keep || self.is_observed();
        let parser = &self.config().parser;
        match &self.0.recovery {
            Some(recovery) => {
                // Serialising the arguments runs user code, which may emit, so that it happens before the lock is
                // taken.
                let packet = WithoutOffset::new(parser, self.name(), event, args, keep)?;
                outgoing::after(|| recovery.publish(target, |offset| packet.add_offset(offset), deliver))
            }
            None => {
                let packet = EncodedPacket::event(parser, self.name(), None, event, args, keep)?;
                deliver(&packet);
                Ok(())
            }
        }
    }

    /// Emits to the target's sockets on this server and returns them. They send their acknowledgements to `answers`.
    pub(crate) fn ask(
        &self,
        event: &str,
        id: u64,
        args: &impl Arguments,
        target: &Target,
        answers: &Answers,
    ) -> Result<Vec<Socket>, EmitError> {
        check_name(event)?;
        self.log_emit(event, target);
        let keep = self.is_observed();
        let packet = EncodedPacket::event(&self.config().parser, self.name(), Some(id), event, args, keep)?;
        let mut sockets = self.0.local.sockets(target);
        sockets.retain(|socket| socket.is_connected() && (!target.volatile || socket.is_writable()));
        let _batch = Batch::open();
        for socket in &sockets {
            if socket.expect_broadcast_ack(id, answers) {
                socket.deliver(&packet, false);
            }
        }
        Ok(sockets)
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.0.is_observed.load(Ordering::Acquire)
    }

    pub(crate) fn observe(&self, socket: &Socket, event: &str, args: Args<'_>) {
        for observer in self.0.observers.load().iter() {
            observer(socket, event, args);
        }
    }

    pub(crate) fn join_rooms(&self, socket: &Socket, rooms: &[Arc<str>]) -> Result<(), LimitError> {
        self.0.local.join(socket, rooms, self.config().max_rooms).map_err(|limit| self.limit_hit(limit))
    }

    pub(crate) fn leave_rooms(&self, socket: &Socket, rooms: &[Arc<str>]) {
        self.0.local.leave(socket, rooms);
    }

    /// Counts and logs a limit that was reached.
    pub(crate) fn limit_hit(&self, limit: LimitError) -> LimitError {
        self.counters().limit_hit(limit);
        log_limit(self.name(), limit.setting(), limit.value(), "a socket of this namespace reached a limit");
        limit
    }

    /// Logs a broadcast if `log_events` is set.
    fn log_emit(&self, event: &str, target: &Target) {
        if self.config().log_events {
            let rooms = target.rooms.iter().map(|room| self.shown(room)).collect::<Vec<_>>();
            tracing::info!(target: "sockeye::events", namespace = self.name(), event, ?rooms, "emit");
        }
    }

    /// A room's name for the log. A room named after a socket's id is shortened, because in Socket.IO 2 the socket's id
    /// contains the secret id of its session.
    fn shown(&self, room: &str) -> String {
        match self.socket(room) {
            Some(socket) => socket.id().short().to_owned(),
            None => room.to_owned(),
        }
    }

    /// Changes a copy of the table of handlers and puts it in place of the former table.
    pub(crate) fn change(&self, change: impl Fn(&mut Handlers)) {
        self.0.handlers.rcu(|handlers| {
            let mut handlers = Handlers::clone(handlers);
            change(&mut handlers);
            handlers
        });
    }
}

/// A weak reference to a namespace.
pub(crate) struct WeakNamespace(Weak<Inner>);

impl WeakNamespace {
    pub(crate) fn upgrade(&self) -> Option<Namespace> {
        self.0.upgrade().map(Namespace)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[tokio::test]
    async fn a_handler_that_runs_once_copies_the_table_only_at_its_own_event() {
        let server = Server::new();
        let root = server.of("/");
        root.once("once", async || ()).on("other", async || ());
        let mut client = server.test_client().connect().await.unwrap();
        let waiting = root.handlers().clone();
        client.emit("other", ()).await.unwrap();
        assert!(Arc::ptr_eq(&waiting, &root.handlers()), "copied by another event");
        client.emit("once", ()).await.unwrap();
        let through = root.handlers().clone();
        assert!(!Arc::ptr_eq(&waiting, &through), "it would run again");
        for event in ["once", "other"] {
            client.emit(event, ()).await.unwrap();
            assert!(Arc::ptr_eq(&through, &root.handlers()), "copied by `{event}` after it has run");
        }
    }
}
