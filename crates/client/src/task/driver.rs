use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use sockeye_handler::with_causes;
use tokio::time::{Sleep, sleep_until, timeout};

use super::dispatch::Dispatcher;
use crate::{
    ConnectError, DisconnectReason, Manager,
    connection::{
        http::Requests,
        queue::Queue,
        session::{Change, Connection, Link},
        transport::{Lost, Opened, open},
    },
    error::{AckErrorKind, ConnectErrorKind},
    random::random_share,
    settings::reconnection::Backoff,
    state::{
        lifecycle::ManagerEvent,
        retry::Step,
        shared::{Core, Handle, Shared},
    },
};

/// Makes sure that the manager's task runs and looks at what has changed.
pub(crate) fn start(manager: &Manager) {
    let shared = manager.shared();
    let mut core = shared.core();
    if core.running {
        core.wake();
        return;
    }
    core.running = true;
    drop(core);
    tokio::spawn(Driver::new(shared.clone(), manager.downgrade()).run());
}

/// The task of a manager: connects, reads, runs handlers, writes, and reconnects.
struct Driver {
    shared: Arc<Shared>,
    dispatcher: Dispatcher,
    phase: Phase,
    backoff: Backoff,
    /// Whether the server has let a socket in since this task began.
    was_connected: bool,
    /// One timer for all deadlines. It may fire early, never late.
    timer: Pin<Box<Sleep>>,
    /// Until when the task looks at the outbox without being woken for it.
    attentive: Option<Instant>,
}

enum Phase {
    /// Nothing is connected.
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Result<Opened, ConnectError>> + Send>>),
    /// Open; the connection itself has nothing to do before this time.
    Open(Link, Instant),
    /// A lost connection is tried again at this time.
    Waiting(Instant),
    /// The last packets are on their way; the connection itself has nothing to do before this time.
    Closing(Link, Instant),
}

/// How long after an acknowledgement the task expects the next event that asks for one.
const ATTENTION: Duration = Duration::from_millis(1);

/// How often one turn looks for changes before others get their turn.
const ROUNDS_A_TURN: usize = 16;

/// The timer's time when there is nothing to wait for.
const FAR: Duration = Duration::from_hours(24);

impl Driver {
    fn new(shared: Arc<Shared>, handle: Weak<Handle>) -> Self {
        let dispatcher = Dispatcher::new(shared.clone(), handle);
        let timer = Box::pin(sleep_until((Instant::now() + FAR).into()));
        Self {
            shared,
            dispatcher,
            phase: Phase::Idle,
            backoff: Backoff::default(),
            was_connected: false,
            timer,
            attentive: None,
        }
    }

    async fn run(mut self) {
        poll_fn(|cx| self.turn(cx)).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.rounds(cx);
        self.dispatcher.hand_out();
        turn
    }

    fn rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_A_TURN {
            {
                let mut core = self.shared.core();
                core.waker = None;
                core.changed = false;
                core.attentive = false;
            }
            self.dispatcher.poll(cx);
            let moved = self.step(cx);
            let shared = self.shared.clone();
            let mut core = shared.core();
            if moved || core.changed {
                continue;
            }
            if matches!(self.phase, Phase::Idle) && self.dispatcher.is_idle() {
                core.running = false;
                core.flushed.clear();
                return Poll::Ready(());
            }
            self.tell_flushed(&mut core);
            self.attend(&mut core);
            let deadline = self.deadline(&core);
            core.waker = Some(cx.waker().clone());
            drop(core);
            if deadline != self.timer.deadline().into_std() {
                self.timer.as_mut().reset(deadline.into());
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves the current phase on. Returns whether there may be more to do at once.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let wanted = {
            let mut core = self.shared.core();
            let wanted = core.is_wanted();
            if wanted && !matches!(self.phase, Phase::Closing(..)) {
                // A socket is to be connected again, so the connection stays and those who wait for its end wait in vain.
                core.closed.clear();
            }
            wanted
        };
        match &mut self.phase {
            Phase::Idle if wanted => self.connect(),
            Phase::Idle => {
                self.shared.core().closed.clear();
                return false;
            }
            Phase::Connecting(_) | Phase::Waiting(_) if !wanted => self.phase = Phase::Idle,
            Phase::Waiting(at) => {
                if now < *at {
                    return false;
                }
                self.connect();
            }
            Phase::Connecting(connecting) => match connecting.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(opened)) => self.opened(opened, now),
                Poll::Ready(Err(error)) => self.not_opened(&error, now),
            },
            Phase::Open(..) if !wanted => self.close(now),
            Phase::Open(link, due) => {
                let mut connection = link.lock();
                let change = poll_open(&mut connection, &mut self.dispatcher, &self.shared, now, cx);
                *due = connection.deadline().unwrap_or(now + FAR);
                match change {
                    None => return false,
                    Some(Change::Closed(lost)) => {
                        drop(connection);
                        self.lost(&lost, now);
                    }
                    Some(Change::Upgraded) => {
                        let mut core = self.shared.core();
                        core.upgraded();
                        core.tell(|| ManagerEvent::Upgraded);
                    }
                    Some(Change::UpgradeFailed) => self.shared.core().tell(|| ManagerEvent::UpgradeFailed),
                    // An open session ends only after it is closed.
                    Some(Change::Ended) => {}
                }
            }
            Phase::Closing(link, due) => {
                let mut connection = link.lock();
                let change = connection.poll(cx, now, &mut self.dispatcher);
                *due = connection.deadline().unwrap_or(now + FAR);
                drop(connection);
                match change {
                    Poll::Pending => return false,
                    Poll::Ready(Change::Ended) => self.closed(),
                    Poll::Ready(_) => {}
                }
            }
        }
        true
    }

    fn connect(&mut self) {
        self.shared.core().tell(|| ManagerEvent::Connecting);
        let config = self.shared.config.clone();
        // The future is dropped once the connection is open, and its memory with it.
        self.phase = Phase::Connecting(Box::pin(async move {
            let client =
                config.http.client().map_err(|error| ConnectError::with_source(ConnectErrorKind::Build, error))?;
            let limit = config.timeout;
            let url = config.url.origin().ascii_serialization();
            let opening = open(Requests::new(client, config));
            timeout(limit, opening)
                .await
                .unwrap_or_else(|_| Err(ConnectErrorKind::TimedOut { url, timeout: limit }.into()))
        }));
    }

    fn opened(&mut self, opened: Opened, now: Instant) {
        let connection = Connection::new(opened, self.shared.config.clone(), now);
        let transport = connection.transport();
        let attempts = self.backoff.attempts();
        tracing::debug!(sid = connection.short_sid(), %transport, attempts, "connected");
        self.backoff.opened();
        self.dispatcher.connection_opened(connection.sid.clone());
        let link = Arc::new(Mutex::new(connection));
        {
            let connection = link.lock();
            let mut core = self.shared.core();
            core.connection_opened(&link, &connection);
            core.tell(|| ManagerEvent::Open { transport, attempts });
        }
        self.phase = Phase::Open(link, now);
    }

    fn not_opened(&mut self, error: &ConnectError, now: Instant) {
        tracing::debug!(error = with_causes(error), "cannot connect");
        {
            let mut core = self.shared.core();
            core.connection_failed(&|_| error.clone());
            core.tell(|| ManagerEvent::ConnectFailed(error.clone()));
        }
        self.retry(now, &|_| error.clone());
    }

    fn lost(&mut self, lost: &Lost, now: Instant) {
        let Phase::Open(link, _) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        self.backoff.lost(&self.shared.config.reconnection, now - link.lock().opened);
        self.was_connected |= self.shared.core().sockets.iter().any(|socket| socket.membership.is_connected());
        self.forget(&link, lost);
        let reason = lost.reason;
        let error = |namespace| ConnectErrorKind::Lost { namespace, reason }.into();
        if !self.is_tried_again() {
            self.shared.core().connection_failed(&error);
        }
        self.retry(now, &error);
    }

    /// Whether the client tries to connect again. If the server has let no socket in yet, it does so only with
    /// `retry_first`; otherwise the caller of `connect` would never get an error.
    fn is_tried_again(&self) -> bool {
        self.was_connected || self.shared.config.retry_first
    }

    /// Tries again after a while, or gives up.
    fn retry(&mut self, now: Instant, error: &dyn Fn(String) -> ConnectError) {
        let again = self.is_tried_again();
        let delay = if again { self.backoff.next(&self.shared.config.reconnection, random_share()) } else { None };
        let mut core = self.shared.core();
        match delay {
            Some(delay) => {
                let attempt = self.backoff.attempts();
                core.tell(|| ManagerEvent::Reconnecting { attempt, delay });
                self.phase = Phase::Waiting(now + delay);
            }
            None => {
                if again && self.shared.config.reconnection.enabled {
                    core.tell(|| ManagerEvent::ReconnectFailed);
                }
                core.give_up(error);
                self.phase = Phase::Idle;
            }
        }
    }

    fn close(&mut self, now: Instant) {
        let Phase::Open(link, _) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let mut connection = link.lock();
        {
            let mut core = self.shared.core();
            connection.send_all(&mut core.outbox);
        }
        connection.close(now);
        drop(connection);
        self.phase = Phase::Closing(link, now);
    }

    fn closed(&mut self) {
        let Phase::Closing(link, _) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        self.forget(&link, &Lost::new(DisconnectReason::ClientDisconnect));
    }

    fn forget(&mut self, link: &Link, lost: &Lost) {
        let mut connection = link.lock();
        let (reason, detail) = (lost.reason, lost.error.as_ref().map(|error| with_causes(&**error)));
        tracing::debug!(sid = connection.short_sid(), %reason, detail, "disconnected");
        let mut core = self.shared.core();
        core.connection_lost(lost, connection.take_unsent());
        core.tell(|| ManagerEvent::Closed { reason, detail });
    }

    /// After an acknowledgement, another event that asks for one is likely to follow soon. Its emitter need not wake this
    /// task, which looks at the outbox once the time is over. With one such event at a time, the emitter writes the next
    /// one itself, and no timer runs, which would keep a core from sleeping.
    fn attend(&mut self, core: &mut Core) {
        let answers = self.dispatcher.answers();
        if core.link().is_none() {
            self.attentive = None;
        } else if answers > 1 || answers == 1 && core.sockets.iter().any(|socket| !socket.acks.is_empty()) {
            self.attentive = Some(Instant::now() + ATTENTION);
        } else if self.attentive.is_some_and(|until| until <= Instant::now()) {
            self.attentive = None;
        }
        core.attentive = self.attentive.is_some();
    }

    fn tell_flushed(&self, core: &mut MutexGuard<'_, Core>) {
        if core.flushed.is_empty() || core.waiting_bytes() > 0 {
            return;
        }
        if !core.sockets.iter().any(|socket| socket.buffered() > 0 && !socket.has_ended()) {
            core.flushed.clear();
        }
    }

    fn deadline(&self, core: &Core) -> Instant {
        let far = Instant::now() + FAR;
        match &self.phase {
            Phase::Idle | Phase::Connecting(_) => self.timer.deadline().into_std().max(far - FAR / 2),
            Phase::Waiting(at) | Phase::Closing(_, at) => *at,
            Phase::Open(_, due) => {
                let sockets = core.sockets.iter();
                let times = sockets.flat_map(|socket| [socket.membership.poll_timeout(), socket.retry.deadline()]);
                times.flatten().chain(self.attentive).fold(*due, Instant::min)
            }
        }
    }
}

impl Drop for Driver {
    /// Tells those who wait if the task is ended from outside, for example because its runtime shuts down.
    fn drop(&mut self) {
        let mut core = self.shared.core();
        if !core.running {
            return;
        }
        core.running = false;
        core.connection_lost(&Lost::new(DisconnectReason::ClientDisconnect), Default::default());
        core.disconnect_all();
        core.closed.clear();
        core.flushed.clear();
    }
}

/// Moves an open connection on and returns what happened on it.
fn poll_open(
    connection: &mut Connection,
    dispatcher: &mut Dispatcher,
    shared: &Shared,
    now: Instant,
    cx: &mut Context<'_>,
) -> Option<Change> {
    dispatcher.poll_memberships(cx, now);
    {
        let mut core = shared.core();
        if let Some(policy) = &shared.config.retries {
            step_retries(&mut core, policy, now, connection);
        }
        let mut outbox = Queue::default();
        std::mem::swap(&mut outbox, &mut core.outbox);
        drop(core);
        connection.send_all(&mut outbox);
    }
    let change = connection.poll(cx, now, dispatcher);
    shared.core().backlog = connection.backlog();
    match change {
        Poll::Ready(change) => Some(change),
        Poll::Pending => None,
    }
}

/// Sends the events whose retry is due, and gives up those that were tried often enough.
fn step_retries(core: &mut Core, policy: &crate::Retries, now: Instant, connection: &mut Connection) {
    let mut given_up = Vec::new();
    for socket in core.sockets.iter_mut().filter(|socket| socket.membership.is_connected()) {
        while let Some(step) = socket.retry.step(policy, now) {
            match step {
                Step::Send(packet) => connection.send(packet),
                Step::GiveUp(ack) => {
                    socket.resolve_ack(ack, Err(AckErrorKind::RetriesExhausted));
                    given_up.push(socket.shared.namespace.to_string());
                }
            }
        }
    }
    for namespace in given_up {
        tracing::warn!(namespace, "an event was given up: the server did not acknowledge it after all retries");
        core.tell(|| ManagerEvent::DeliveryFailed { namespace });
    }
}
