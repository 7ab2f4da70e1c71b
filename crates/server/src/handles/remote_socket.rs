use std::sync::Arc;

use sockeye_engine::Sid;
use sockeye_protocol::socketio::{Arguments, Value};

use crate::{
    EmitError, IntoRooms, Namespace, Operator,
    adapter::{AdapterError, RemoteHandshake, RemoteSocketData},
};

/// A socket of this server or of another server of the cluster.
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

    /// The rooms that the socket was in when it was fetched.
    pub fn rooms(&self) -> &[String] {
        &self.data.rooms
    }

    /// The data set by [`Socket::set_data`](crate::Socket::set_data).
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

    /// Makes the socket join rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.operator().sockets_join(rooms);
    }

    /// Makes the socket leave rooms.
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

impl Operator {
    /// Fetches descriptions of the selected sockets of every server.
    ///
    /// # Errors
    /// If another server does not answer in time.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AdapterError> {
        let mut sockets = Vec::new();
        for namespace in self.namespaces().iter() {
            let fetched = namespace.adapter().fetch_sockets(&self.target).await?;
            sockets.extend(fetched.into_iter().map(|data| RemoteSocket::new(namespace.clone(), data)));
        }
        Ok(sockets)
    }

    /// Counts the selected sockets of every server.
    ///
    /// # Errors
    /// If another server does not answer in time.
    pub async fn count(&self) -> Result<usize, AdapterError> {
        let mut count = 0;
        for namespace in self.namespaces().iter() {
            count += namespace.adapter().count(&self.target).await?;
        }
        Ok(count)
    }
}

impl Namespace {
    /// The names of all rooms that have members, on this server and on the others. The rooms named after socket ids are
    /// not among them, unless a server of another kind reports them.
    ///
    /// # Errors
    /// If another server does not answer in time.
    pub async fn all_rooms(&self) -> Result<Vec<Arc<str>>, AdapterError> {
        self.adapter().rooms().await
    }
}
