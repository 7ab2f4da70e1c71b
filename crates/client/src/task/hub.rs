use std::{
    error::Error as StdError,
    future::ready,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use serde_json::value::RawValue;
use sockeye_handler::guard;
use sockeye_protocol::socketio::{self, ArgsBuf, Decoder, Limits, Packet, Revision};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    ConnectError, DisconnectReason, EngineVersion, Manager, Parser, Socket,
    config::{Auth, AuthFuture},
    connection::session::Receiver,
    connection::transport::Lost,
    error::{ConnectErrorKind, Refusal},
    handles::ack::Outcome,
    handles::handler::AckId,
    member::inbox::{Inbox, Joining},
    task::backoff::{Backoff, random},
    task::core::{Core, Handle, News, Shared, SocketInner, State},
};

/// Takes the messages of a connection apart and gives them to the sockets they are for.
pub(crate) struct Hub {
    decoder: Decoder,
    limits: Limits,
    sockets: Sockets,
}

/// The sockets of a manager, as its task sees them.
pub(crate) struct Sockets {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
    inboxes: Vec<Inbox>,
    /// The Engine.IO session.
    sid: Arc<str>,
    /// Whether the server has let this connection into the namespace `/` unasked, as revision 3 has it.
    in_root: bool,
    /// The acknowledgements that have come in this turn, and who waits for them.
    answers: Vec<(oneshot::Sender<Outcome>, ArgsBuf)>,
}

impl Hub {
    pub(crate) fn new(shared: Arc<Shared>, handle: Weak<Handle>) -> Self {
        let revision = match shared.config.engine_version {
            EngineVersion::V3 => Revision::V4,
            EngineVersion::V4 => Revision::V5,
        };
        let limits = Limits {
            // A server may send any number; what bounds them is the size of the whole.
            max_attachments: 10_000,
            max_attachment_bytes: shared.config.max_payload,
            revision,
            ..Limits::default()
        };
        let sockets =
            Sockets { shared, handle, inboxes: Vec::new(), sid: "".into(), in_root: false, answers: Vec::new() };
        Self { decoder: Decoder::new(), limits, sockets }
    }

    /// A connection was opened.
    pub(crate) fn opened(&mut self, sid: Arc<str>) {
        self.decoder = Decoder::new();
        self.sockets.sid = sid;
        self.sockets.in_root = false;
    }

    /// The connection is gone.
    pub(crate) fn closed(&mut self) {
        for inbox in &mut self.sockets.inboxes {
            inbox.joining.due = false;
            inbox.joining.asked = false;
            inbox.joining.auth = None;
            inbox.joining.until = None;
            inbox.drop_early();
        }
    }

    /// Whether all handlers are done with everything.
    pub(crate) fn is_idle(&self) -> bool {
        self.sockets.inboxes.iter().all(Inbox::is_idle)
    }

    /// Takes in sockets and news that are new, and lets handlers work.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        let Sockets { shared, handle, inboxes, .. } = &mut self.sockets;
        let mut core = shared.core();
        let new = core.sockets.get(inboxes.len()..).unwrap_or_default();
        inboxes.reserve_exact(new.len());
        for socket in new {
            inboxes.push(Inbox::new(socket.socket.clone()));
        }
        for (socket, inbox) in core.sockets.iter_mut().zip(&mut *inboxes) {
            socket.news.drain(..).for_each(|news| inbox.push_news(news));
        }
        drop(core);
        match handle.upgrade() {
            None => inboxes.iter_mut().for_each(Inbox::clear),
            Some(handle) => {
                let manager = Manager(handle);
                for inbox in inboxes.iter_mut().filter(|inbox| !inbox.is_idle()) {
                    inbox.poll(&Socket::new(manager.clone(), inbox.socket.clone()), cx);
                }
            }
        }
    }

    /// Hands out the acknowledgements that have come. Whoever gets one may run at once, in another thread, and is then
    /// best left alone with what is shared: this is for the end of a turn.
    pub(crate) fn hand_out(&mut self) {
        // Who awaits several does so mostly in their order: woken by the first, handed out last, it finds all of them.
        for (waiter, args) in std::mem::take(&mut self.sockets.answers).into_iter().rev() {
            // Whoever waited may have given up.
            let _gone = waiter.send(Ok(args));
        }
    }

    /// How many acknowledgements have come in this turn.
    pub(crate) fn answers(&self) -> usize {
        self.sockets.answers.len()
    }

    /// Asks the server to let in the sockets that are to be connected and are not.
    pub(crate) fn join(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Sockets { shared, inboxes, in_root, sid, .. } = &mut self.sockets;
        let version = shared.config.engine_version;
        // What makes authentication data is the user's, and may use its socket: nothing is locked when it runs or ends.
        let (mut functions, mut outdated) = (Vec::new(), Vec::new());
        let mut core = shared.core();
        for (index, inbox) in inboxes.iter_mut().enumerate() {
            let Some(socket) = core.sockets.get_mut(index) else { continue };
            if socket.active && socket.state == State::Apart && socket.again.is_none_or(|again| again <= now) {
                socket.state = State::Joining;
                socket.stay += 1;
                socket.again = None;
                inbox.drop_early();
                inbox.joining.until = Some(now + shared.config.timeout);
                inbox.joining.due = true;
                outdated.extend(inbox.joining.auth.take());
            }
            if inbox.joining.due && !inbox.joining.asked && socket.state == State::Joining {
                inbox.joining.due = false;
                let auth = socket.auth.clone();
                if version == EngineVersion::V3 && *inbox.socket.namespace == *"/" {
                    if *in_root {
                        joined(&mut core, inbox, Some(sid.clone()), None);
                    }
                } else {
                    match auth {
                        None => send_connect(shared, &mut core, inbox, None),
                        Some(Auth::Value(auth)) => send_connect(shared, &mut core, inbox, Some(&auth)),
                        Some(Auth::Function(make)) => functions.push((index, make)),
                    }
                }
            }
        }
        drop(core);
        drop(outdated);
        for (index, make) in functions {
            let Some(inbox) = inboxes.get_mut(index) else { continue };
            let panicked = |panic: String| -> AuthFuture { Box::pin(ready(Err(auth_panicked(&inbox.socket, &panic)))) };
            inbox.joining.auth = Some(guard(|| make()).unwrap_or_else(panicked));
        }
        for inbox in inboxes {
            let Some(mut auth) = inbox.joining.auth.take() else { continue };
            let is_joining =
                |core: &Core| core.sockets.get(inbox.socket.index).is_some_and(|socket| socket.state == State::Joining);
            if !is_joining(&shared.core()) {
                continue;
            }
            let made = match guard(|| auth.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {
                    inbox.joining.auth = Some(auth);
                    continue;
                }
                Ok(Poll::Ready(made)) => made,
                Err(panic) => Err(auth_panicked(&inbox.socket, &panic)),
            };
            let mut core = shared.core();
            match made {
                _ if !is_joining(&core) => {}
                Ok(auth) => send_connect(shared, &mut core, inbox, auth.as_deref()),
                Err(error) => {
                    let kind = ConnectErrorKind::Auth { namespace: inbox.socket.namespace.to_string() };
                    put_off(shared, &mut core, inbox, &ConnectError::with_source(kind, error), now);
                }
            }
        }
    }

    /// When [`keep_time`](Self::keep_time) is worth calling next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sockets.inboxes.iter().filter_map(|inbox| inbox.joining.until).min()
    }

    /// Gives up on joins that take too long.
    pub(crate) fn keep_time(&mut self, now: Instant) {
        let Sockets { shared, inboxes, .. } = &mut self.sockets;
        for inbox in inboxes {
            if inbox.joining.until.is_none_or(|until| now < until) {
                continue;
            }
            inbox.joining.until = None;
            inbox.joining.auth = None;
            let mut core = shared.core();
            let joining = core.sockets.get(inbox.socket.index).is_some_and(|socket| socket.state == State::Joining);
            if !joining {
                continue;
            }
            let namespace = inbox.socket.namespace.to_string();
            let timeout = shared.config.timeout;
            let error = ConnectErrorKind::NamespaceTimedOut { namespace, timeout }.into();
            put_off(shared, &mut core, inbox, &error, now);
        }
    }
}

impl Receiver for Hub {
    fn is_ready(&self) -> bool {
        let limit = self.sockets.shared.config.receive_buffer;
        self.sockets.inboxes.iter().all(|inbox| inbox.bytes() <= limit)
    }

    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Lost> {
        let Self { decoder, limits, sockets } = self;
        if sockets.shared.config.parser == Parser::MessagePack {
            let error = "the server sends JSON, but the parser is MessagePack: they must agree";
            return Err(Lost::by(DisconnectReason::ParseError, error));
        }
        let decoded = decoder.decode_text(text, limits);
        sockets.handle(decoded.map_err(not_decoded)?, cx)
    }

    fn binary(&mut self, data: &[u8], cx: &mut Context<'_>) -> Result<(), Lost> {
        let Self { decoder, limits, sockets } = self;
        match sockets.shared.config.parser {
            Parser::Json => {
                let decoded = decoder.decode_binary(data, limits).map_err(not_decoded)?;
                sockets.handle(decoded, cx)?;
                decoder.release();
                Ok(())
            }
            Parser::MessagePack => {
                let decoded = socketio::msgpack::decode(data, limits).map_err(not_decoded)?;
                sockets.handle(decoded, cx)
            }
        }
    }
}

impl Sockets {
    fn handle(&mut self, packet: Option<Packet<'_>>, cx: &mut Context<'_>) -> Result<(), Lost> {
        match packet {
            None => {}
            Some(Packet::Event(event)) => return self.on_event(&event, cx),
            Some(Packet::Ack(ack)) => {
                let Some(inbox) = self.inboxes.iter().find(|inbox| *inbox.socket.namespace == *ack.namespace) else {
                    return Ok(());
                };
                let mut core = self.shared.core();
                let Some(socket) = core.sockets.get_mut(inbox.socket.index) else { return Ok(()) };
                if socket.state == State::Joined {
                    let before = socket.retry.len();
                    socket.retry.acknowledged(ack.id);
                    self.answers.extend(socket.acks.remove(&ack.id).map(|waiter| (waiter, ack.args.to_owned())));
                    // The next event of the queue can go.
                    core.changed |= before > 0;
                }
            }
            Some(Packet::Connect { namespace, payload, .. }) => self.on_connect(namespace, payload.as_deref()),
            Some(Packet::Disconnect { namespace }) => {
                let Some(inbox) = self.inboxes.iter_mut().find(|inbox| *inbox.socket.namespace == *namespace) else {
                    return Ok(());
                };
                let mut core = self.shared.core();
                core.changed = true;
                inbox.joining.asked = false;
                let Some(socket) = core.sockets.get_mut(inbox.socket.index) else { return Ok(()) };
                if socket.state == State::Apart || inbox.is_due(socket.state) {
                    return Ok(());
                }
                inbox.joining.until = None;
                let reason = DisconnectReason::ServerDisconnect;
                socket.end(&|namespace| ConnectErrorKind::Lost { namespace, reason }.into());
                if socket.state == State::Joined {
                    socket.part(reason);
                }
                socket.state = State::Apart;
                socket.reject_acks(true);
                socket.news.drain(..).for_each(|news| inbox.push_news(news));
            }
            Some(Packet::ConnectError { namespace, payload }) => {
                let Some(inbox) = self.inboxes.iter_mut().find(|inbox| *inbox.socket.namespace == *namespace) else {
                    return Ok(());
                };
                let mut core = self.shared.core();
                core.changed = true;
                inbox.joining.asked = false;
                // Otherwise it is for who has left meanwhile.
                if !inbox.joining.due {
                    let error = ConnectErrorKind::Refused(Refusal::parse(namespace, &payload)).into();
                    refuse(&mut core, inbox, &error);
                }
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: &socketio::Event<'_>, cx: &mut Context<'_>) -> Result<(), Lost> {
        let Some(inbox) = self.inboxes.iter_mut().find(|inbox| *inbox.socket.namespace == *event.namespace) else {
            return Ok(());
        };
        let stand = self.shared.core().sockets.get(inbox.socket.index).map(|socket| (socket.state, socket.stay));
        let is_for_it = |state| state != State::Apart && !inbox.is_due(state);
        let Some((state, stay)) = stand.filter(|(state, _)| is_for_it(*state)) else { return Ok(()) };
        let ack = event.ack.map(|number| AckId { number, stay });
        // With connection state recovery the server names each event by one more argument.
        if inbox.joining.pid.is_some()
            && let Some(last) = event.args.len().checked_sub(1)
            && let Ok(offset) = event.args.get(last)
        {
            let Joining { offset: known, early_offset, .. } = &mut inbox.joining;
            *(if state == State::Joining { early_offset } else { known }) = Some(offset);
        }
        if state == State::Joining {
            if inbox.push_early(&event.name, event.args, ack) > self.shared.config.receive_buffer {
                // It would be the same with the next connection, unless that starts anew.
                (inbox.joining.pid, inbox.joining.offset) = (None, None);
                let error = "the server sent more events before CONNECT than `receive_buffer` allows";
                return Err(Lost::by(DisconnectReason::ParseError, error));
            }
        } else if let Some(handle) = self.handle.upgrade() {
            let socket = Socket::new(Manager(handle), inbox.socket.clone());
            inbox.push_event(&socket, &event.name, event.args, ack);
            inbox.poll(&socket, cx);
        }
        Ok(())
    }

    fn on_connect(&mut self, namespace: &str, payload: Option<&RawValue>) {
        #[derive(Default, serde::Deserialize)]
        struct Payload {
            sid: Option<String>,
            pid: Option<String>,
        }
        let payload: Payload = payload.and_then(|payload| serde_json::from_str(payload.get()).ok()).unwrap_or_default();
        self.in_root |= namespace == "/";
        let Some(inbox) = self.inboxes.iter_mut().find(|inbox| *inbox.socket.namespace == *namespace) else { return };
        let mut core = self.shared.core();
        let state = core.sockets.get(inbox.socket.index).map(|socket| socket.state);
        let asked = std::mem::take(&mut inbox.joining.asked);
        if state.is_none_or(|state| state == State::Apart || inbox.is_due(state)) {
            // Who asked has left meanwhile, which the server learns now.
            inbox.drop_early();
            if asked {
                self.shared.say_goodbye(&mut core, inbox.socket.index);
            }
            return;
        }
        // Over revision 3 nobody says the id, but this is how it is made.
        let id = payload.sid.map_or_else(
            || if namespace == "/" { self.sid.clone() } else { format!("{namespace}#{}", self.sid).into() },
            Arc::from,
        );
        joined(&mut core, inbox, Some(id), payload.pid);
    }
}

/// The server has let a socket in.
fn joined(core: &mut Core, inbox: &mut Inbox, id: Option<Arc<str>>, pid: Option<String>) {
    let Some(socket) = core.sockets.get_mut(inbox.socket.index) else { return };
    if socket.state != State::Joining {
        return;
    }
    socket.state = State::Joined;
    socket.was_joined = true;
    socket.id = id;
    socket.recovered = pid.is_some() && pid == inbox.joining.pid;
    if !socket.recovered {
        inbox.joining.offset = None;
    }
    inbox.joining.pid = pid;
    inbox.joining.until = None;
    inbox.joining.backoff = Backoff::default();
    socket.succeed_waiters();
    let buffered = socket.buffer.drain();
    socket.news.push_back(News::Connected);
    socket.news.drain(..).for_each(|news| inbox.push_news(news));
    inbox.release_early();
    buffered.into_iter().for_each(|packet| core.push(packet));
    core.changed = true;
}

/// A socket is not let in, and does not try again by itself.
fn refuse(core: &mut Core, inbox: &mut Inbox, error: &ConnectError) {
    core.changed = true;
    let Some(socket) = core.sockets.get_mut(inbox.socket.index) else { return };
    if socket.state != State::Joining {
        return;
    }
    inbox.joining.until = None;
    inbox.drop_early();
    socket.state = State::Apart;
    socket.end(&|_| error.clone());
    socket.news.push_back(News::ConnectFailed(error.clone()));
    socket.news.drain(..).for_each(|news| inbox.push_news(news));
}

/// A socket is not let in for a reason that may pass. If it was before, it is tried again, like a connection that was
/// lost.
fn put_off(shared: &Shared, core: &mut Core, inbox: &mut Inbox, error: &ConnectError, now: Instant) {
    let config = &shared.config;
    let Some(socket) = core.sockets.get_mut(inbox.socket.index) else { return };
    if socket.state != State::Joining {
        return;
    }
    let is_tried_again = socket.was_joined || config.retry_first;
    let delay = if is_tried_again { inbox.joining.backoff.next(&config.reconnection, random()) } else { None };
    let Some(delay) = delay else { return refuse(core, inbox, error) };
    if inbox.joining.asked {
        // The server must not be asked twice, and may still answer.
        inbox.joining.until = Some(now + config.timeout);
    } else {
        inbox.joining.until = None;
        inbox.drop_early();
        socket.state = State::Apart;
        socket.again = Some(now + delay);
    }
    socket.news.push_back(News::ConnectFailed(error.clone()));
    socket.news.drain(..).for_each(|news| inbox.push_news(news));
    core.changed = true;
}

/// What makes authentication data has panicked, which is as if it had failed.
fn auth_panicked(socket: &SocketInner, panic: &str) -> Box<dyn StdError + Send + Sync> {
    tracing::error!(namespace = &*socket.namespace, panic, "what makes the authentication data panicked");
    format!("it panicked: {panic}").into()
}

fn send_connect(shared: &Shared, core: &mut Core, inbox: &mut Inbox, auth: Option<&RawValue>) {
    let config = &shared.config;
    let namespace = &*inbox.socket.namespace;
    let packet = match (config.engine_version, &inbox.joining.pid) {
        (EngineVersion::V3, _) => config.parser.connect(&with_query(namespace, auth), None),
        (EngineVersion::V4, None) => config.parser.connect(namespace, auth),
        (EngineVersion::V4, Some(pid)) => {
            let mut payload: serde_json::Map<String, serde_json::Value> =
                auth.and_then(|auth| serde_json::from_str(auth.get()).ok()).unwrap_or_default();
            payload.insert("pid".to_owned(), pid.as_str().into());
            if let Some(offset) = &inbox.joining.offset {
                payload.insert("offset".to_owned(), offset.as_str().into());
            }
            match serde_json::value::to_raw_value(&payload) {
                Ok(payload) => config.parser.connect(namespace, Some(&payload)),
                Err(error) => Err(error.into()),
            }
        }
    };
    match packet {
        Ok(packet) => {
            inbox.joining.asked = true;
            core.push(packet);
        }
        Err(error) => {
            let kind = ConnectErrorKind::Auth { namespace: namespace.to_owned() };
            refuse(core, inbox, &ConnectError::with_source(kind, error));
        }
    }
}

/// The namespace with the members of `auth` as its query, which is what servers of revision 3 look at.
fn with_query(namespace: &str, auth: Option<&RawValue>) -> String {
    let members: serde_json::Map<String, serde_json::Value> =
        auth.and_then(|auth| serde_json::from_str(auth.get()).ok()).unwrap_or_default();
    if members.is_empty() {
        return namespace.to_owned();
    }
    let pairs = members.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    });
    let query = reqwest::Url::parse_with_params("http://localhost", pairs).ok();
    format!("{namespace}?{}", query.as_ref().and_then(|url| url.query()).unwrap_or_default())
}

fn not_decoded(error: socketio::DecodeError) -> Lost {
    Lost::by(DisconnectReason::ParseError, error)
}
