use std::{sync::Arc, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sockeye_engine::Sid;
use sockeye_protocol::socketio::{Arguments, Map, Value};

use crate::{EmitError, IntoRooms, Namespace, Operator, Socket};

/// What servers tell each other of a socket, in the form of the JavaScript reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteSocketData {
    /// The socket's id.
    pub id: String,
    /// The request that opened the connection.
    pub handshake: RemoteHandshake,
    /// The rooms the socket is in, its own first.
    pub rooms: Vec<String>,
    /// What [`Socket::set_data`] has set.
    pub data: Value,
}

/// What servers tell each other of the request that opened a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteHandshake {
    /// The headers as an object, names in lower case; the last one of a name counts.
    pub headers: Value,
    /// When the connection was opened, as text.
    pub time: String,
    /// The client's address.
    pub address: String,
    /// Whether a web page of another origin opened it.
    pub xdomain: bool,
    /// Whether it is encrypted.
    pub secure: bool,
    /// When the connection was opened, in milliseconds since the Unix epoch.
    pub issued: u64,
    /// The request target.
    pub url: String,
    /// The query's parameters as an object.
    pub query: Value,
    /// What the client sent along with CONNECT.
    pub auth: Value,
}

impl RemoteSocketData {
    /// What there is to tell of a socket of this server.
    pub fn of(socket: &Socket) -> Self {
        let handshake = socket.handshake();
        let auth = socket.auth().and_then(|auth| serde_json::from_str(auth.get()).ok());
        let issued = handshake.issued().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: socket.id().to_string(),
            handshake: RemoteHandshake {
                headers: Value::Object(
                    handshake.headers().map(|(name, value)| (name.to_owned(), value.into())).collect(),
                ),
                time: format!("{:.3}", issued.as_secs_f64()),
                address: handshake.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default(),
                xdomain: handshake.is_cross_domain(),
                secure: handshake.is_secure(),
                issued: issued.as_millis().try_into().unwrap_or(u64::MAX),
                url: handshake.url().to_owned(),
                query: Value::Object(
                    handshake.query().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect(),
                ),
                auth: auth.unwrap_or_else(|| Value::Object(Map::new())),
            },
            rooms: socket.rooms().iter().map(|room| room.to_string()).collect(),
            data: socket.data(),
        }
    }
}

/// A socket of this server or of another one of the cluster.
#[derive(Debug, Clone)]
pub struct RemoteSocket {
    namespace: Namespace,
    id: Sid,
    data: Arc<RemoteSocketData>,
}

impl RemoteSocket {
    pub(crate) fn new(namespace: Namespace, data: RemoteSocketData) -> Self {
        Self { namespace, id: data.id.as_str().into(), data: Arc::new(data) }
    }

    /// The socket's id.
    pub fn id(&self) -> &Sid {
        &self.id
    }

    /// The request that opened the connection.
    pub fn handshake(&self) -> &RemoteHandshake {
        &self.data.handshake
    }

    /// The rooms the socket was in when it was asked.
    pub fn rooms(&self) -> &[String] {
        &self.data.rooms
    }

    /// The data that was set on the socket.
    pub fn data(&self) -> &Value {
        &self.data.data
    }

    /// Emits an event to the socket.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the name is reserved.
    pub fn emit(&self, event: &str, args: impl Arguments) -> Result<(), EmitError> {
        self.operator().emit(event, args)
    }

    /// Has the socket join rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.operator().sockets_join(rooms);
    }

    /// Has the socket leave rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        self.operator().sockets_leave(rooms);
    }

    /// Takes the socket out of the namespace.
    pub fn disconnect(&self) {
        self.operator().disconnect_sockets();
    }

    /// Closes the socket's connection.
    pub fn close(&self) {
        self.operator().close_sockets();
    }

    fn operator(&self) -> Operator {
        self.namespace.to(&self.id)
    }
}
