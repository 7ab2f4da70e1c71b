use std::{
    fmt,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use hashbrown::{HashMap, hash_map::Entry};
use http::request::Parts;
use parking_lot::RwLock;
use sockeye_protocol::engineio::OpenPacket;
use tokio::time::Instant;

use crate::{
    CloseReason, Config, EngineService, Refusal, Session, Sid,
    metrics::Counters,
    outgoing::outbox::Outbox,
    session::driver::{Driver, Lease},
    session::flusher::Flusher,
    session::opening::Opening,
    session::seats::{Seat, Seats},
    session::state::Channel,
    transport::{polling::Polling, websocket::WebSocket},
};

/// What travels over the sessions: it is told of every new one and gives it a handler.
pub trait Application: Send + Sync + 'static {
    /// The handler of one session.
    type Handler: SessionHandler;

    /// A session has opened; its open packet is sent already.
    fn open(&self, session: &Arc<Session>) -> Self::Handler;
}

/// One message of a client, borrowed from the connection's read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// The application's side of one session. All its methods are called by the session's own task, one at a time, in the
/// order things happened.
pub trait SessionHandler: Send + Unpin + 'static {
    /// A message has come. To end the session, close it; what comes after is not delivered any more.
    ///
    /// Work that the message begins may be polled with `cx` at once; [`poll`](Self::poll) is called afterwards anyway.
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>);

    /// Advances whatever earlier messages began. `Ready` means that nothing is under way.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Whether another message may come now. While it may not, nothing more is read from the peer, and the rest of a POST's
    /// body waits.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether its own work is what keeps it from being [ready](Self::is_ready). As long as that is so, a peer is not
    /// taken for dead because of a pong that nobody has read, and afterwards it has the whole ping timeout again.
    fn is_behind(&self) -> bool {
        false
    }

    /// When [`timeout`](Self::timeout) is to be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The session has ended. [`poll`](Self::poll) is called on until it is ready.
    fn closed(&mut self, reason: CloseReason);
}

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
            config,
            sessions: RwLock::default(),
            flusher: Flusher::default(),
            counters: Counters::default(),
            seats: Arc::default(),
            draining: RwLock::new(false),
        };
        let shared = Arc::new(shared);
        Self { owner: Arc::new(Owner { application, shared: shared.clone() }), shared }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
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
        self.shared.sessions.read().len()
    }

    /// The tower and hyper service that answers the requests of this engine's path.
    pub fn service(&self) -> EngineService<A> {
        EngineService::new(self.clone())
    }

    /// Opens no more sessions, until the engine is [served](Self::serve) again, and closes those that are open, so that
    /// their clients reconnect elsewhere.
    pub fn close(&self) {
        self.shared.close(CloseReason::ServerShuttingDown);
    }

    /// Tells whom it concerns that a request was refused.
    pub(crate) fn refused(&self, request: &Parts, refusal: &Refusal) {
        tracing::debug!(code = refusal.code(), context = refusal.context(), %refusal, path = request.uri.path(), "refused a request");
        self.shared.counters.refused(refusal);
        self.shared.config.hooks.refused(request, refusal);
    }

    /// Asks the hooks whether a request may open a session, and under which identifier.
    pub(crate) async fn admit(&self, request: &Parts) -> Result<Sid, Refusal> {
        let id = self.shared.config.hooks.admit(request).await?;
        if self.shared.session(&id).is_some() {
            tracing::error!(id = id.short(), "the generated session id is in use");
            return Err(ID_IN_USE);
        }
        Ok(id)
    }

    /// Takes a place for the session that this request is about to open.
    pub(crate) fn take_seat(&self, request: &Parts) -> Result<Seat, Refusal> {
        self.shared.seats.take(request, &self.shared.config)
    }

    /// Opens a session that polls, and returns it with its open packet still in the outbox.
    pub(crate) fn open_polling(&self, opening: Opening) -> Result<Arc<Session>, Refusal> {
        let upgrades: &[&str] = match self.shared.config {
            Config { allow_upgrades: true, transports, .. } if transports.websocket => &["websocket"],
            _ => &[],
        };
        let channel = Channel::Polling(Box::new(Polling::of(&opening.handshake)));
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
        let Opening { id, seat, revision, base64, handshake } = opening;
        let session = Session::new(id, revision, handshake, self.shared.clone(), base64, channel);
        if !answer.is_empty() {
            session.core().lock().outbox = Outbox::beginning_with(answer);
        }
        self.shared.flusher.start();
        // The lock is held until the session is in the table, so that a shutdown either sees it or is seen by it.
        let draining = self.shared.draining.read();
        match self.shared.sessions.write().entry(session.id().clone()) {
            Entry::Vacant(entry) => drop(entry.insert(session.clone())),
            Entry::Occupied(_) => {
                return Err(ID_IN_USE);
            }
        }
        let lease = Lease::new(session.clone(), seat);
        if *draining {
            session.close_for(CloseReason::ServerShuttingDown);
        }
        drop(draining);
        self.shared.counters.opened.increment();
        let open = open_packet(&session, upgrades, &self.shared.config);
        // A session that closes before it has opened is found out by its task.
        let _closed = session.send_text(&open);
        if let Some(packet) = &self.shared.config.initial_packet {
            let _closed = session.send(packet.clone());
        }
        let handler = self.owner.application.open(&session);
        let driver = Driver::new(session.clone(), lease, handler, websocket);
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
        f.debug_struct("Engine").field("path", &self.shared.config.path).finish_non_exhaustive()
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

/// What all sessions of an engine have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) sessions: RwLock<HashMap<Sid, Arc<Session>>>,
    pub(crate) flusher: Flusher,
    pub(crate) counters: Counters,
    pub(crate) seats: Arc<Seats>,
    draining: RwLock<bool>,
}

impl Shared {
    pub(crate) fn session(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.read().get(id).cloned()
    }

    /// Takes a session out of the table, so that requests of its id are answered as unknown.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.write();
        // By now the identifier may be another session's, if the application gives them out twice.
        let Entry::Occupied(entry) = sessions.entry(session.id().clone()) else { return };
        if !Arc::ptr_eq(entry.get(), session) {
            return;
        }
        entry.remove();
        self.counters.keep(session.traffic());
    }

    /// Admits sessions again after a shutdown.
    pub(crate) fn reopen(&self) {
        *self.draining.write() = false;
    }

    fn close(&self, reason: CloseReason) {
        *self.draining.write() = true;
        let sessions: Vec<_> = self.sessions.read().values().cloned().collect();
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
