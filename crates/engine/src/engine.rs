use std::{
    fmt,
    sync::{Arc, Weak},
};

use http::request::Parts;
use parking_lot::{Mutex, RwLock};
use sockeye_protocol::engineio::OpenPacket;
use tokio::task::JoinHandle;

use crate::{
    Application, CloseReason, Config, Handshake, Refusal, RemoteAddr, Session, Sid,
    counters::Counters,
    handshake,
    log_throttle::log_limit,
    log_throttled,
    memory::{Memory, MemoryCharge},
    outgoing::outbox::Outbox,
    session::{
        context::Context,
        driver::Driver,
        eviction::keep_below_limit,
        opening::Opening,
        permits::{ConnectionPermit, ConnectionPermits, PermitError, PermitLimits, client_address},
        table::{SessionGuard, SessionTable},
    },
    transport::{
        channel::{Channel, PollingChannel},
        payload,
        websocket::WebSocket,
    },
};

/// The sessions of one path, and the settings they share. Cheap to clone.
///
/// When the last clone and the last [service](Self::service) are dropped, the sessions are closed, as by
/// [`close`](Self::close).
pub struct Engine<A> {
    pub(crate) shared: Arc<Shared>,
    owner: Arc<Owner<A>>,
}

/// An [`Engine`] that does not keep its sessions open, for an application that needs the engine it is part of.
pub struct WeakEngine<A>(Weak<Owner<A>>);

/// What the clones of an engine own together.
struct Owner<A> {
    application: A,
    shared: Arc<Shared>,
}

impl<A: Application> Engine<A> {
    /// An engine with these settings for this application.
    pub fn new(config: Config, application: A) -> Self {
        let shared = Shared {
            context: Arc::new(Context {
                memory: Arc::new(Memory::new(config.max_memory)),
                config,
                counters: Counters::default(),
                flusher: Arc::default(),
            }),
            sessions: Arc::default(),
            permits: Arc::default(),
            connections: Arc::default(),
            draining: RwLock::new(false),
            eviction: Mutex::default(),
        };
        let shared = Arc::new(shared);
        Self { owner: Arc::new(Owner { application, shared: shared.clone() }), shared }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.context.config
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.owner.application
    }

    /// A handle that does not keep the sessions open.
    pub fn downgrade(&self) -> WeakEngine<A> {
        WeakEngine(Arc::downgrade(&self.owner))
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.shared.sessions.lock().len()
    }

    /// Counts a client of another protocol towards `max_memory`; `None` if nine tenths of it are in use, so that the client
    /// is to be refused. To be called on a runtime.
    pub fn charge_memory(&self) -> Option<MemoryCharge> {
        let Context { memory, counters, .. } = &*self.shared.context;
        if memory.is_full() {
            counters.over_max_memory.increment();
            return None;
        }
        self.shared.start_eviction();
        Some(MemoryCharge::new(memory.clone()))
    }

    /// Opens no more sessions, until the engine is [served](Self::serve) again, and closes those that are open, so that
    /// their clients reconnect elsewhere.
    pub fn close(&self) {
        self.shared.close(CloseReason::ServerShuttingDown);
    }

    /// Logs, counts and reports to the hook that a request was refused.
    pub(crate) fn refused(&self, request: &Parts, refusal: &Refusal) {
        log_refusal(request, refusal, &self.shared.context.config);
        self.shared.context.counters.refused(refusal);
        self.shared.context.config.hooks.refused(request, refusal);
    }

    /// Asks the hooks whether a request may open a session, and under which identifier.
    pub(crate) async fn admit(&self, request: &Parts) -> Result<Sid, Refusal> {
        let id = self.shared.context.config.hooks.admit(request).await?;
        if self.shared.sessions.find(&id).is_some() {
            log_throttled!(error, "", id = id.short(), "the generated session id is in use");
            return Err(ID_IN_USE);
        }
        Ok(id)
    }

    /// Takes a permit for the session that this request opens, if what the session keeps of the request is not too long.
    pub(crate) fn take_permit(&self, request: &Parts) -> Result<ConnectionPermit, Refusal> {
        let config = self.config();
        if handshake::target(request).len() > config.handshake_bytes {
            return Err(Refusal::BadRequest("the request target is longer than `handshake_bytes` allows"));
        }
        if self.shared.context.memory.is_full() {
            return Err(Refusal::OutOfMemory);
        }
        let address = client_address(&request.headers, &request.extensions, config.trust_forwarded);
        let limits = PermitLimits {
            max: config.max_sessions,
            max_per_address: config.max_sessions_per_address,
            rate: config.max_session_rate,
            rate_per_address: config.max_session_rate_per_address,
        };
        self.shared.permits.take(address, &limits).map_err(|error| match error {
            PermitError::All => Refusal::TooManySessions,
            PermitError::Address => Refusal::TooManySessionsOfAddress,
            PermitError::Rate => Refusal::TooManySessionsPerSecond,
            PermitError::AddressRate => Refusal::TooManySessionsOfAddressPerSecond,
        })
    }

    /// Copies what a session keeps of the request that opens it. Headers beyond the limit are counted and logged.
    pub(crate) fn handshake(&self, request: &Parts) -> Handshake {
        let limit = self.config().handshake_bytes;
        let (handshake, left_out) = Handshake::from_parts(request, self.config());
        if left_out > 0 {
            self.shared.context.counters.shortened_handshakes.increment();
            log_limit(&client_of(request), "handshake_bytes", limit, "did not keep all headers of a handshake");
        }
        handshake
    }

    /// Opens a session that polls, and returns it with its open packet still in the outbox.
    pub(crate) fn open_polling(&self, opening: Opening) -> Result<Arc<Session>, Refusal> {
        let upgrades: &[&str] = match self.shared.context.config {
            Config { allow_upgrades: true, transports, .. } if transports.websocket => &["websocket"],
            _ => &[],
        };
        let channel = Channel::Polling(Box::new(PollingChannel::new(payload::max_packets(&opening.handshake))));
        let (session, driver) = self.open(opening, upgrades, channel, Vec::new(), None)?;
        tokio::spawn(driver);
        Ok(session)
    }

    /// Opens a session on a WebSocket, whose task is returned. `answer` is what is still to be written of the answer to
    /// its handshake.
    pub(crate) fn open_websocket(
        &self,
        opening: Opening,
        channel: Channel,
        websocket: WebSocket,
        answer: Vec<u8>,
    ) -> Result<Driver<A::Handler>, Refusal> {
        self.open(opening, &[], channel, answer, Some(websocket)).map(|(_, driver)| driver)
    }

    fn open(
        &self,
        opening: Opening,
        upgrades: &[&str],
        channel: Channel,
        answer: Vec<u8>,
        websocket: Option<WebSocket>,
    ) -> Result<(Arc<Session>, Driver<A::Handler>), Refusal> {
        let Opening { id, permit, revision, base64, handshake } = opening;
        let session = Session::new(id, revision, handshake, self.shared.context.clone(), base64, channel);
        if !answer.is_empty() {
            session.core().lock().outbox = Outbox::beginning_with(answer);
        }
        self.shared.context.flusher.start();
        self.shared.start_eviction();
        // The lock is held until the session is in the table, so that a shutdown either sees it or is seen by it.
        let draining = self.shared.draining.read();
        if !self.shared.sessions.insert(&session) {
            return Err(ID_IN_USE);
        }
        let guard = SessionGuard::new(session.clone(), self.shared.sessions.clone(), permit);
        if *draining {
            session.close_for(CloseReason::ServerShuttingDown);
        }
        drop(draining);
        self.shared.context.counters.opened.increment();
        let open = open_packet(&session, upgrades, &self.shared.context.config);
        // A session that closes before it has opened is found out by its task.
        let _closed = session.send_text(&open);
        if let Some(packet) = &self.shared.context.config.initial_packet {
            let _closed = session.send(packet.clone());
        }
        let handler = self.owner.application.open(&session);
        let driver = Driver::new(guard, handler, websocket);
        Ok((session, driver))
    }
}

impl<A> Clone for Engine<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), owner: self.owner.clone() }
    }
}

impl<A> fmt::Debug for Engine<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("path", &self.shared.context.config.path).finish_non_exhaustive()
    }
}

impl<A> WeakEngine<A> {
    /// The engine, unless its last clone and its last service have been dropped.
    pub fn upgrade(&self) -> Option<Engine<A>> {
        let owner = self.0.upgrade()?;
        Some(Engine { shared: owner.shared.clone(), owner })
    }
}

impl<A> fmt::Debug for WeakEngine<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakEngine").finish_non_exhaustive()
    }
}

impl<A> Drop for Owner<A> {
    fn drop(&mut self) {
        self.shared.close(CloseReason::ServerShuttingDown);
    }
}

const ID_IN_USE: Refusal = Refusal::BadRequest("another session has the generated identifier already");

/// What all clones of an engine share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) context: Arc<Context>,
    pub(crate) sessions: Arc<SessionTable>,
    pub(crate) permits: Arc<ConnectionPermits>,
    /// Permits for connections that serve HTTP.
    pub(crate) connections: Arc<ConnectionPermits>,
    draining: RwLock<bool>,
    /// The task that keeps the engine below `max_memory`.
    eviction: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    /// Admits sessions again after a shutdown.
    pub(crate) fn reopen(&self) {
        *self.draining.write() = false;
    }

    /// Starts the task that closes sessions when too much is held, unless it runs.
    fn start_eviction(&self) {
        let memory = &self.context.memory;
        if !memory.is_limited() {
            return;
        }
        let mut eviction = self.eviction.lock();
        // It ends with its runtime, though others may still drive sessions.
        if eviction.as_ref().is_none_or(JoinHandle::is_finished) {
            let (context, sessions) = (Arc::downgrade(&self.context), Arc::downgrade(&self.sessions));
            let task = keep_below_limit(memory.clone(), context, sessions);
            *eviction = Some(tokio::spawn(task));
        }
    }

    fn close(&self, reason: CloseReason) {
        *self.draining.write() = true;
        let sessions: Vec<_> = self.sessions.lock().iter().cloned().collect();
        for session in sessions {
            session.close_for(reason);
        }
    }
}

fn open_packet(session: &Session, upgrades: &[&str], config: &Config) -> Vec<u8> {
    let packet = OpenPacket {
        sid: session.id(),
        upgrades,
        ping_interval: config.ping_interval.as_millis().try_into().unwrap_or(u64::MAX),
        ping_timeout: config.ping_timeout.as_millis().try_into().unwrap_or(u64::MAX),
        max_payload: config.max_payload as u64,
    };
    let mut text = Vec::new();
    packet.encode(&mut text);
    text
}

/// Logs the refusal of a request: as a warning once an hour for each cause, else at level debug.
fn log_refusal(request: &Parts, refusal: &Refusal, config: &Config) {
    let path = request.uri.path();
    let (code, context) = (refusal.code(), refusal.context());
    let client = client_of(request);
    let log_limit = |setting, limit: usize, consequence| log_limit(&client, setting, limit, consequence);
    match refusal {
        Refusal::PayloadTooLarge => log_limit("max_payload", config.max_payload, "refused a POST with a larger body"),
        Refusal::TooManySessions => {
            log_limit("max_sessions", config.max_sessions, "refused a client because so many are connected");
        }
        Refusal::TooManySessionsOfAddress => log_limit(
            "max_sessions_per_address",
            config.max_sessions_per_address,
            "refused a client because so many of its address are connected (behind a proxy, set `trust_forwarded`)",
        ),
        Refusal::TooManySessionsPerSecond => {
            log_limit("max_session_rate", config.max_session_rate as usize, "refused a client because so many connect");
        }
        Refusal::TooManySessionsOfAddressPerSecond => log_limit(
            "max_session_rate_per_address",
            config.max_session_rate_per_address as usize,
            "refused a client because so many of its address connect (behind a proxy, set `trust_forwarded`)",
        ),
        Refusal::OutOfMemory => {
            log_limit("max_memory", config.max_memory, "refused a client because nine tenths of it are in use");
        }
        // Origins and revisions are logged where they are checked, and the application knows what it refuses itself.
        Refusal::Forbidden(_) | Refusal::UnsupportedVersion | Refusal::ShuttingDown => {
            tracing::debug!(code, path, "refused a request: {refusal}");
        }
        _ => log_throttled!(warn, context, code, path, "refused a request: {refusal}: {context}"),
    }
}

/// The client's address, for the log.
fn client_of(request: &Parts) -> String {
    let remote = request.extensions.get::<RemoteAddr>();
    remote.map_or_else(|| "unknown".to_owned(), |remote| remote.0.to_string())
}
