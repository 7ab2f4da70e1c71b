//! What servers tell each other, whatever the format: each format encodes these messages and decodes them.
use std::sync::Arc;

use sockeye::{
    ArgsBuf,
    adapter::{RemoteSocketData, RoomNames, Target},
};

/// Identifies a server, or an emitter, in messages.
pub type ServerId = Arc<str>;

/// Identifies a request, so that answers find it. Only the server that asks knows what it means.
pub type RequestId = Arc<str>;

/// One message from one server to the others, in one namespace.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who sends it. Some emitters do not say.
    pub sender: Option<ServerId>,
    /// The namespace's name, with its leading slash.
    pub namespace: Arc<str>,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Body {
    /// Emit an event to clients.
    Broadcast(Broadcast),
    /// Make sockets join rooms.
    Join {
        /// The sockets.
        target: Target,
        /// The rooms.
        rooms: RoomNames,
    },
    /// Make sockets leave rooms.
    Leave {
        /// The sockets.
        target: Target,
        /// The rooms.
        rooms: RoomNames,
    },
    /// Disconnect sockets from the namespace; with `close`, close their connections.
    Disconnect {
        /// The sockets.
        target: Target,
        /// Whether to close their connections, too.
        close: bool,
    },
    /// A question that each server answers.
    Request {
        /// What the answers name.
        id: RequestId,
        /// What is asked.
        question: Question,
    },
    /// An answer to the request of another server.
    Answer {
        /// The request.
        request: RequestId,
        /// The server that asked, if the format addresses it.
        to: Option<ServerId>,
        /// The answer.
        answer: Answer,
    },
    /// Run the handlers for events of servers; nobody waits for an answer.
    ServerEvent {
        /// The name of the event.
        event: Arc<str>,
        /// Its arguments.
        args: ArgsBuf,
    },
    /// The sender is alive.
    Heartbeat(Heartbeat),
}

/// An event for clients.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// The event's name.
    pub event: Arc<str>,
    /// The event's arguments, without the event's name.
    pub args: ArgsBuf,
    /// The sockets that it reaches.
    pub target: Target,
    /// The request that the clients' acknowledgements answer, if they are asked for any.
    pub acks: Option<AckRequest>,
}

/// Asks for the acknowledgements of an event.
#[derive(Debug, Clone)]
pub struct AckRequest {
    /// The request that the answers name.
    pub id: RequestId,
    /// How long the sender waits, in milliseconds, if the format says so.
    pub timeout_ms: Option<u64>,
}

/// What one server asks all others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Question {
    /// Which sockets are there, with handshake, rooms and data?
    Sockets {
        /// The sockets.
        target: Target,
    },
    /// The ids of which sockets are in one of these rooms, or in the namespace if there are no rooms?
    SocketIds {
        /// The rooms.
        rooms: RoomNames,
    },
    /// Which rooms are there?
    Rooms,
    /// How many sockets are there?
    Count {
        /// The sockets.
        target: Target,
    },
    /// What do your handlers answer to this event of a server?
    ServerEvent {
        /// The name of the event.
        event: Arc<str>,
        /// Its arguments.
        args: ArgsBuf,
    },
    /// Carry this out for one socket! Only the server that has the socket answers, with [`Answer::Done`]. Old servers ask so.
    OfSocket {
        /// The socket's id.
        socket: Arc<str>,
        /// What to do.
        command: SocketCommand,
    },
}

/// What old servers ask to be done with one socket.
#[derive(Debug, Clone)]
pub enum SocketCommand {
    /// Make it join this room.
    Join(Arc<str>),
    /// Make it leave this room.
    Leave(Arc<str>),
    /// Disconnect it from the namespace.
    Disconnect {
        /// Whether to close its connection, too.
        close: bool,
    },
}

/// What one server answers another.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Answer {
    /// To [`Question::Sockets`].
    Sockets(Vec<RemoteSocketData>),
    /// To [`Question::SocketIds`].
    SocketIds(Vec<String>),
    /// To [`Question::Rooms`].
    Rooms(Vec<String>),
    /// To [`Question::Count`].
    Count(u64),
    /// To [`Question::ServerEvent`].
    ServerEvent(ArgsBuf),
    /// To [`Broadcast::acks`]: how many clients of this server are asked.
    AckCount(u64),
    /// To [`Broadcast::acks`]: what one client has acknowledged with.
    Ack(ArgsBuf),
    /// To [`Broadcast::acks`]: what one client has acknowledged with, whose server does not tell how many it asks.
    UncountedAck(ArgsBuf),
    /// A command of old servers was carried out; they wait for this.
    Done,
}

/// What a heartbeat means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The sender has just started; the others answer with [`Alive`](Self::Alive).
    Started,
    /// The sender is alive.
    Alive,
    /// The sender stops.
    Stopping,
}
