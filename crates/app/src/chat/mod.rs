//! The chat: its events on the namespaces `/` and `/imchat`, and the delivery of messages to a user's devices.
//!
//! Every event is acknowledged with `{"ok": true, …}`, or with `{"ok": false, "error": why}` if it fails.
mod devices;
mod extent;
mod looks;
mod outbox;
mod presence;
mod room;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use sockeye::{
    ConnectRefusal, Data, EventName, IntoReply, Namespace, Reply, Server, Socket, State, Value,
    handler::{EventContext, FromContext, Rejection},
    log_throttled,
};

use crate::{
    identity::{IdentityKind, NameError, Token, User},
    names::looks,
    settings::Settings,
};
pub(crate) use devices::{Group, PlainDevices, Registration};
pub(crate) use outbox::{Outbox, Overflowed};

use extent::{Extent, bytes_of_text};
use presence::{LooksLike, Online, Presence, Sharing};
use room::{Room, RoomError, private_room};

/// The namespaces of the chat. Each has its own rooms and users.
pub(crate) const NAMESPACES: [&str; 2] = ["/", PLAIN_NAMESPACE];

/// The namespace that users on plain WebSocket send messages to.
pub(crate) const PLAIN_NAMESPACE: &str = "/imchat";

/// The state that the handlers share.
#[derive(Debug)]
pub(crate) struct Chat {
    identity: IdentityKind,
    plain: Arc<PlainDevices>,
    presence: Arc<Presence>,
    limits: Limits,
}

#[derive(Debug)]
struct Limits {
    message_bytes: usize,
    payload: usize,
    depth: usize,
    rooms: usize,
    room_name: usize,
}

/// A message from one user to another, as the recipient gets it.
#[derive(Debug, Serialize)]
pub(crate) struct Direct<'a> {
    from: &'a User,
    message: Value,
    sendtime: f64,
    #[serde(rename = "type")]
    kind: String,
}

impl<'a> Direct<'a> {
    /// A message of kind `text`, sent now.
    pub(crate) fn new(from: &'a User, message: Value) -> Self {
        Self { from, message, sendtime: now(), kind: default_kind() }
    }
}

impl Chat {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            identity: settings.identity,
            plain: Arc::default(),
            presence: Presence::new(settings.max_online_names),
            limits: Limits {
                message_bytes: settings.max_message_bytes,
                payload: settings.max_payload,
                depth: settings.max_depth,
                rooms: settings.max_rooms,
                room_name: settings.max_room_name,
            },
        }
    }

    /// Registers the handlers on a server. Its state must be the `Arc<Chat>`.
    pub(crate) fn attach(server: &Server) {
        for name in NAMESPACES {
            server
                .of(name)
                .on_connect(connect)
                .on_disconnect(disconnect)
                .on("chat", chat)
                .on("enter_room", enter_room)
                .on("leave_room", leave_room)
                .on("message", message)
                .on("action", message)
                .on("who", who);
        }
    }

    /// How the server finds out who a client is.
    pub(crate) fn identity(&self) -> IdentityKind {
        self.identity
    }

    /// The plain WebSocket connections.
    pub(crate) fn plain(&self) -> &Arc<PlainDevices> {
        &self.plain
    }

    /// The user as a namespace knows it, who is to be given one more device.
    ///
    /// # Errors
    /// If the name is kept for the lobby.
    pub(crate) fn known(&self, namespace: &str, user: User) -> Result<User, UserError> {
        let lobby = looks(LOBBY);
        if looks(user.as_str()).iter().any(|look| lobby.contains(look)) {
            return Err(UserError::Lobby);
        }
        Ok(self.presence.known(namespace, user))
    }

    /// Updates whether a user is online in a namespace, after a device has connected, and tells the devices if there are
    /// several. `socket` is the device, if it speaks Socket.IO.
    ///
    /// # Errors
    /// If the user's name looks like that of another user who is online.
    pub(crate) fn device_connected(
        &self,
        namespace: &Namespace,
        user: &User,
        socket: Option<&Socket>,
    ) -> Result<(), UserError> {
        let tell = |sharing| self.tell_sharing(namespace, user, sharing, socket);
        Ok(self.presence.refresh(namespace, user, || self.devices(namespace, user), tell)?)
    }

    /// Updates whether a user is online in a namespace, after a device has disconnected, and tells the last device.
    pub(crate) fn device_disconnected(&self, namespace: &Namespace, user: &User) {
        let tell = |sharing| self.tell_sharing(namespace, user, sharing, None);
        // Somebody who leaves cannot look like somebody else.
        let _left = self.presence.refresh(namespace, user, || self.devices(namespace, user), tell);
    }

    fn devices(&self, namespace: &Namespace, user: &User) -> usize {
        namespace.local().room_len(&private_room(user)) + self.plain.count(&Group::User(user.clone()))
    }

    /// Tells a user's Socket.IO devices whether there are others. Without proof of identity, these may be somebody else's.
    /// If there were several before, only `newcomer` is told: telling all for each one would cost as much as their square.
    fn tell_sharing(&self, namespace: &Namespace, user: &User, sharing: Sharing, newcomer: Option<&Socket>) {
        if self.identity.has_proof() {
            return;
        }
        let event = json!({ "user": user, "shared": sharing != Sharing::Ends });
        let told = match (sharing, newcomer) {
            (Sharing::Continues, Some(socket)) => socket.emit("shared_name", &event),
            (Sharing::Continues, None) => Ok(()),
            (Sharing::Begins | Sharing::Ends, _) => namespace.to(private_room(user)).emit("shared_name", &event),
        };
        if let Err(error) = told {
            log_throttled!(error, &error.to_string(), %error, "cannot tell devices of one another");
        }
    }

    /// Delivers a message to a user's Socket.IO devices in a namespace and returns how many those are.
    pub(crate) fn deliver_to_sockets(&self, namespace: &Namespace, to: &User, message: &Direct<'_>) -> usize {
        let room = private_room(to);
        let devices = namespace.local().room_len(&room);
        match namespace.to(&room).emit("chat", message) {
            Ok(()) => devices,
            Err(error) => {
                log_throttled!(error, &error.to_string(), %error, "cannot deliver a chat message");
                0
            }
        }
    }

    /// Checks a client's message as it is sent on: in an object with texts of the server and of the client, which is the
    /// argument of an event. A recipient has the same limits as this server and would disconnect over a larger message.
    ///
    /// # Errors
    /// If it is larger than `max_message_bytes`, or with these texts than `max_payload`, or nests more deeply than
    /// `max_depth`.
    pub(crate) fn check(&self, message: &Value, texts: &[&str]) -> Result<(), ChatError> {
        let Extent { bytes, depth } = Extent::of(message);
        let envelope = ENVELOPE + texts.iter().map(|text| bytes_of_text(text)).sum::<usize>();
        let limit = self.limits.message_bytes.min(self.limits.payload.saturating_sub(envelope));
        if bytes > limit {
            return Err(ChatError::TooLarge(limit));
        }
        if depth + ENVELOPE_DEPTH > self.limits.depth {
            return Err(ChatError::TooDeep(self.limits.depth.saturating_sub(ENVELOPE_DEPTH)));
        }
        Ok(())
    }

    /// Delivers a message to a user's plain WebSocket devices and returns how many those are: none if the message has
    /// binary data, which JSON cannot hold.
    fn deliver_to_plain(&self, to: &User, message: &Direct<'_>) -> usize {
        let group = Group::User(to.clone());
        if self.plain.count(&group) == 0 {
            return 0;
        }
        let Ok(text) = serde_json::Value::try_from(message.message.clone()) else { return 0 };
        let Direct { from, sendtime, kind, .. } = message;
        let value = json!({ "from": from, "message": text, "to_user": to, "sendtime": sendtime, "type": kind });
        self.plain.send(&group, &tokio_tungstenite::tungstenite::Message::text(value.to_string()))
    }

    fn send(&self, socket: &Socket, request: ChatRequest) -> Result<Delivered, ChatError> {
        let from = user_of(socket)?;
        let to = User::parse(&name_of(&request.to, "to")?).map_err(ChatError::Recipient)?;
        self.check(&Value::from(request.kind.as_str()), &[])?;
        self.check(&request.message, &[from.as_str(), to.as_str(), &request.kind])?;
        let message = Direct { from: &from, message: request.message, sendtime: now(), kind: request.kind };
        let delivered =
            self.deliver_to_sockets(socket.namespace(), &to, &message) + self.deliver_to_plain(&to, &message);
        Ok(Delivered { delivered, sendtime: message.sendtime })
    }

    fn enter(&self, socket: &Socket, request: RoomRequest) -> Result<Entered, ChatError> {
        let (name, room) = self.room(socket, &request.room)?;
        if room.is_to_join(socket, self.limits.rooms)? {
            let joined = self.presence.join_room(socket.namespace(), &name, || socket.join(room.as_str()));
            joined.ok_or(RoomError::Private)?.map_err(RoomError::from)?;
        }
        emit(socket, "message", &json!({ "msg": "进入房间成功", "room": name }));
        Ok(Entered { room: name })
    }

    fn leave(&self, socket: &Socket, request: RoomRequest) -> Result<Entered, ChatError> {
        let (name, room) = self.room(socket, &request.room)?;
        room.leave(socket)?;
        Ok(Entered { room: name })
    }

    /// Sends an event to all members of a room, of which the sender must be one. Without a room it goes to the lobby, or
    /// to nobody if the sender is not in the lobby.
    fn say(&self, socket: &Socket, event: &str, data: &Value) -> Result<Said, ChatError> {
        let from = user_of(socket)?;
        let sendtime = now();
        let named = data.get("room").filter(|room| **room != Value::Null);
        let (name, room) = self.room(socket, named.unwrap_or(&LOBBY.into()))?;
        let message = match data.get("message") {
            Some(message) => message,
            None if named.is_some() => return Err(ChatError::Missing("message")),
            None => data,
        };
        self.check(message, &[from.as_str(), &name])?;
        if !room.has(socket) {
            return if named.is_some() { Err(RoomError::NotIn(name).into()) } else { Ok(Said { sendtime: None }) };
        }
        let said = Message { from: &from, room: &name, message, sendtime };
        socket.namespace().to(room.as_str()).emit(event, &said).map_err(|error| {
            log_throttled!(error, &error.to_string(), %error, "cannot send a message to a room");
            ChatError::Internal
        })?;
        Ok(Said { sendtime: Some(sendtime) })
    }

    fn room(&self, socket: &Socket, name: &Value) -> Result<(String, Room), ChatError> {
        let name = name_of(name, "room")?;
        let user = user_of(socket)?;
        let room = Room::parse(&name, &user, self.limits.room_name)?;
        Ok((name, room))
    }
}

/// The room of messages without a room.
const LOBBY: &str = "lobby";

/// The bytes of an event around a message, without the texts in it: names of members and of the event, and the time.
const ENVELOPE: usize = 256;

/// The levels around a message: the arguments of the event, and the object.
const ENVELOPE_DEPTH: usize = 2;

/// Why a user cannot be online in a namespace. The text is sent to the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("this name looks like that of the room `{LOBBY}`; choose another one")]
    Lobby,
    #[error(transparent)]
    LooksLike(#[from] LooksLike),
}

/// Why an event failed. The text is sent to the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChatError {
    #[error("{0}")]
    Data(#[from] Rejection),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` must be text")]
    NotText(&'static str),
    #[error("`to` is not a user name: {0}")]
    Recipient(NameError),
    #[error("the message is larger than {0} bytes; send less")]
    TooLarge(usize),
    #[error("the message nests more deeply than {0} levels; send a flatter one")]
    TooDeep(usize),
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("the server failed; its log says why")]
    Internal,
}

async fn connect(socket: Socket, chat: State<Arc<Chat>>) -> Result<(), ConnectRefusal> {
    let namespace = socket.namespace();
    let refuse = |error: &dyn std::error::Error| {
        let error = error.to_string();
        log_throttled!(info, &error, error, namespace = namespace.name(), "refused a client");
        ConnectRefusal::new(error)
    };
    let auth = socket.auth();
    let auth = auth.as_deref().map(|auth| auth.get());
    let token = Token::find(auth, socket.handshake().header("token")).map_err(|error| refuse(&error))?;
    let user = chat.identity.authenticate(token).await.map_err(|error| refuse(&error))?;
    let user = chat.known(namespace.name(), user).map_err(|error| refuse(&error))?;
    socket.insert(user.clone());
    socket.join(private_room(&user)).map_err(|limit| ConnectRefusal::new(limit.to_string()))?;
    emit(&socket, "message", &json!({ "message": "登陆成功", "user": user }));
    chat.device_connected(namespace, &user, Some(&socket)).map_err(|error| refuse(&error))?;
    chat.presence.greet(&socket);
    Ok(())
}

async fn disconnect(socket: Socket, chat: State<Arc<Chat>>) {
    if let Some(user) = socket.extension::<User>() {
        chat.device_disconnected(socket.namespace(), &user);
    }
}

async fn chat(socket: Socket, chat: State<Arc<Chat>>, Input(request): Input<ChatRequest>) -> Answer<Delivered> {
    Answer(request.and_then(|request| chat.send(&socket, request)))
}

async fn enter_room(socket: Socket, chat: State<Arc<Chat>>, Input(request): Input<RoomRequest>) -> Answer<Entered> {
    Answer(request.and_then(|request| chat.enter(&socket, request)))
}

async fn leave_room(socket: Socket, chat: State<Arc<Chat>>, Input(request): Input<RoomRequest>) -> Answer<Entered> {
    Answer(request.and_then(|request| chat.leave(&socket, request)))
}

async fn message(socket: Socket, chat: State<Arc<Chat>>, event: EventName, Input(data): Input<Value>) -> Answer<Said> {
    Answer(data.and_then(|data| chat.say(&socket, &event.0, &data)))
}

async fn who(socket: Socket, chat: State<Arc<Chat>>) -> Answer<Online> {
    Answer(Ok(chat.presence.online(socket.namespace().name())))
}

#[derive(Debug, Deserialize)]
struct ChatRequest {
    to: Value,
    message: Value,
    #[serde(default = "default_kind", rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct RoomRequest {
    room: Value,
}

#[derive(Debug, Serialize)]
struct Delivered {
    /// To how many devices.
    delivered: usize,
    sendtime: f64,
}

#[derive(Debug, Serialize)]
struct Entered {
    room: String,
}

#[derive(Debug, Serialize)]
struct Said {
    /// `None` if the message went to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    sendtime: Option<f64>,
}

/// A message to a room, as its members get it.
#[derive(Debug, Serialize)]
struct Message<'a> {
    from: &'a User,
    room: &'a str,
    message: &'a Value,
    sendtime: f64,
}

/// An event's first argument, or why it cannot be read. The handler runs in either case, so that it can answer.
struct Input<T>(Result<T, ChatError>);

impl<T: DeserializeOwned> FromContext<EventContext<'_>> for Input<T> {
    fn from_context(context: &mut EventContext<'_>) -> Result<Self, Rejection> {
        Ok(Self(Data::from_context(context).map(|Data(data)| data).map_err(ChatError::from)))
    }
}

/// The acknowledgement of an event.
struct Answer<T>(Result<T, ChatError>);

impl<T: Serialize> IntoReply for Answer<T> {
    fn into_reply(self) -> Reply {
        #[derive(Serialize)]
        struct Success<T> {
            ok: bool,
            #[serde(flatten)]
            result: T,
        }
        match self.0 {
            Ok(result) => Reply::of(&Success { ok: true, result }),
            Err(error) => Reply::of(json!({ "ok": false, "error": error.to_string() })),
        }
    }
}

/// The user that the connect handler has stored.
fn user_of(socket: &Socket) -> Result<Arc<User>, ChatError> {
    socket.extension::<User>().ok_or_else(|| {
        log_throttled!(error, "", sid = socket.id().short(), "a socket without a user has sent an event");
        ChatError::Internal
    })
}

/// A name, which clients may also send as a number.
fn name_of(value: &Value, field: &'static str) -> Result<String, ChatError> {
    match value {
        Value::String(name) => Ok(name.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(ChatError::NotText(field)),
    }
}

/// Emits to a socket. A failure is only logged, because the client may have left at this moment.
fn emit(socket: &Socket, event: &str, data: &impl Serialize) {
    if let Err(error) = socket.emit(event, data) {
        tracing::debug!(sid = socket.id().short(), event, %error, "cannot emit an event");
    }
}

fn default_kind() -> String {
    "text".into()
}

/// Seconds since the Unix epoch, like Python's `time.time()`.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
